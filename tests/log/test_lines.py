"""Every prefix in front of the same message gives the same message."""

from __future__ import annotations

import pytest

from postmortem.log.lines import MAX_LINE, records_of_line

PREFIXES = [
    ("", None),
    ("[   12.345678] ", 12.345678),
    ("[12.345678] ", 12.345678),
    ("<4>[   12.345678] ", 12.345678),
    ("<12>[   12.345678] ", 12.345678),
    ("[   12.345678][  T123] ", 12.345678),
    ("[   12.345678] [  T123] ", 12.345678),
    ("[   12.345678] [4:  system_server: 3344] ", 12.345678),
    ("[Thu Oct 19 02:11:44 2017] ", None),
    ("[  +0.018390] ", None),
    ("[Oct19 02:11] ", None),
    ("kern  :warn  : [   12.345678] ", 12.345678),
    ("2024-05-01T10:00:00,123456+00:00 ", None),
    ("May  1 10:00:00 host kernel: [   12.345678] ", 12.345678),
    ("May  1 10:00:00 host kernel: ", None),
    ("2024-05-01T10:00:00+0000 host kernel: ", None),
    ("2024-05-01T10:00:00.123456+02:00 host kernel: [   12.345678] ", 12.345678),
    ("[   12.345678] host kernel: ", 12.345678),
    ("<4>1 2024-05-01T10:00:00.1Z host kernel - - - ", None),
    ("2024-05-01T10:00:00.1234567Z [   12.345678] ", 12.345678),
    ("[10:00:00] [   12.345678] ", 12.345678),
    ("> > [   12.345678] ", 12.345678),
    ("(XEN) ", None),
    ("\x1b[33m[   12.345678] \x1b[0m", 12.345678),
    ("\x00\x00[   12.345678] ", 12.345678),
    ("c   12.345678! ", 12.345678),
]


@pytest.mark.parametrize(("prefix", "time"), PREFIXES, ids=[repr(p[0]) for p in PREFIXES])
def test_prefix_is_understood(prefix: str, time: float | None) -> None:
    (record,) = records_of_line((prefix + "BUG: it broke\r").encode(), 7)
    assert (record.text, record.time, record.line) == ("BUG: it broke", time, 7)


@pytest.mark.parametrize(
    ("prefix", "caller"),
    [
        ("[   12.345678][  T123] ", "T123"),
        ("[   12.345678][    C1] ", "C1"),
        ("[   12.345678] [  T123] ", "T123"),
        ("[   12.345678][T12@C4] ", "T12"),
        ("[   12.345678] [4:  system_server: 3344] ", "T3344"),
        ("[   12.345678] ", None),
    ],
)
def test_who_printed_it(prefix: str, caller: str | None) -> None:
    (record,) = records_of_line((prefix + "text").encode(), 1)
    assert record.caller == caller


@pytest.mark.parametrize(
    ("prefix", "level"),
    [
        ("<4>[    1.000000] ", 4),
        ("<30>[    1.000000] ", 6),
        ("kern  :err   : [    1.000000] ", 3),
        ("", None),
    ],
)
def test_level(prefix: str, level: int | None) -> None:
    (record,) = records_of_line((prefix + "text").encode(), 1)
    assert record.level == level


@pytest.mark.parametrize(
    ("prefix", "user"),
    [
        ("<7>[    1.000000] ", False),
        ("<8>[    1.000000] ", True),
        ("<30>[    1.000000] ", True),
        ("kern  :err   : [    1.000000] ", False),
        ("daemon:info  : [    1.000000] ", True),
        ("<13>May  1 10:00:00 box kernel: [    1.000000] ", False),  # logger's own facility
        ("", False),
    ],
)
def test_whether_user_space_wrote_it(prefix: str, user: bool) -> None:
    (record,) = records_of_line((prefix + "text").encode(), 1)
    assert record.user is user


def test_leading_space_of_a_message_stays() -> None:
    (record,) = records_of_line(b"[    1.000000]  func+0x1/0x2", 1)
    assert record.text == " func+0x1/0x2"


def test_two_messages_on_one_line_are_two_records() -> None:
    records = records_of_line(b"host login: [   36.852785][ T3615] BUG: one[   36.852790] two", 1)
    assert [(r.text, r.caller) for r in records] == [
        ("host login: ", None),
        ("BUG: one", "T3615"),
        ("two", None),
    ]


def test_html_entities_of_a_wiki_are_undone() -> None:
    (record,) = records_of_line(b"[    1.000000]  &lt;TASK&gt;", 1)
    assert record.text == " <TASK>"


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    (record,) = records_of_line(b"[    1.000000] \xff\xfe", 1)
    assert record.text == "\ufffd\ufffd"


def test_endless_line_is_cut() -> None:
    (record,) = records_of_line(b"x" * 1_000_000, 1)
    assert len(record.text) == MAX_LINE
