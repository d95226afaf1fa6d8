"""Strings of the kernel's read-only data."""

from __future__ import annotations

from postmortem.kernel.rodata import Format, Rodata

DATA = b"\0\x016pid:%d\n\0\x01cnext\0plain %s\n\0TASK\0SUBTASK\0unfinished"


def test_a_format_and_its_level() -> None:
    strings = Rodata(DATA)
    assert strings.containing("pid:") == [Format("pid:%d\n", 6)]
    assert strings.starting("next") == Format("next", None)
    assert strings.format("plain", "%s") == Format("plain %s\n", None)


def test_what_is_not_there_or_has_no_end() -> None:
    strings = Rodata(DATA)
    assert strings.format("plain", "pid") is None
    assert strings.containing("unfinished") == []
    assert strings.has("TASK")
    assert not strings.has("ASK")


def test_the_end_of_a_longer_string_is_the_string_too() -> None:
    strings = Rodata(DATA, start=0x1000)
    assert strings.string_at(0x1000 + DATA.index(b"SUBTASK")) == "SUBTASK"
    assert strings.string_at(0x1000 + DATA.index(b"SUBTASK") + 3) == "TASK"
    assert strings.string_at(0x1000 + DATA.index(b"unfinished")) is None
    assert strings.string_at(0xFFF) is None
