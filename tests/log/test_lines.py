"""Every prefix in front of the same message gives the same message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.log.lines import MAX_LINE, plain_record, records_of_line

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


@pytest.mark.parametrize("line", [
    "[    1.000002] acme: ready", "[    1.000002]  acme_read+0x1/0x2 [acme]\r", "[ 1.002][  C3] x",
    "[1.002]", "[    1.000002] ",
])  # fmt: skip
def test_what_the_kernel_prints_is_read_at_once(line: str) -> None:
    found = plain_record(b"-" + line.encode() + b"-", 1, 1 + len(line), 7)
    assert [found] == records_of_line(line.encode(), 7)


@pytest.mark.parametrize("line", [
    "acme: ready", "[    1.000002] a[    1.000003] b", "[    1.000002] [   T7] acme",
    "[    1.000002] host kernel: acme", "<4>[    1.000002] acme", "[    1.000002] acme\x1b[0m",
    "[    1.000002] a &lt;b&gt;", "[    1.000002] \xe9", "[[    1.000002] acme",
    "[    1.000002] " + "a" * 1000,
])  # fmt: skip
def test_what_may_hold_more_is_looked_at(line: str) -> None:
    assert plain_record(line.encode(), 0, len(line.encode()), 7) is None


@given(st.lists(st.sampled_from([
    "[    1.000002]", "[  T12]", "[C1]", " ", "  ", "[", "]", "<4>", "acme", "host kernel: ", "\r",
    "[   12.345678]", "\t", "&amp;", "é", "May  1 10:00:00 ",
]), max_size=8))  # fmt: skip
def test_both_ways_of_reading_agree(parts: list[str]) -> None:
    line = "".join(parts).encode()
    found = plain_record(line, 0, len(line), 3)
    assert found is None or [found] == records_of_line(line, 3)


def test_logcat_s_prefix_is_not_part_of_the_message() -> None:
    for tag in ("kernel  ", "        "):
        line = f"10-26 04:42:00.500     0     0 E {tag}: BUG: KFENCE: acme".encode()
        assert records_of_line(line, 1)[0].text == "BUG: KFENCE: acme"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("acme-hc 1a2b000.hc: no answer", "acme-hc 1a2b000.hc: no answer"),
        ("sd 0    : 0:0:0: [sda] offlined", "sd 0:0:0:0: [sda] offlined"),
        ("init    : received signal 7", "init: received signal 7"),
        ("F2FS-fs (dm-44): stopped", "F2FS-fs (dm-44): stopped"),
    ],
)
def test_logcat_s_tag_is_the_message_s_beginning(shown: str, text: str) -> None:
    line = f"10-26 04:42:00.500     0     0 E {shown}".encode()
    assert records_of_line(line, 1)[0].text == text


def test_dmesg_d_s_difference_is_not_part_of_the_message() -> None:
    (record,) = records_of_line(b"[  600.200000 <  599.900000>] BUG: acme", 1)
    assert (record.time, record.text) == (600.2, "BUG: acme")


def test_a_vendor_s_caller_may_have_a_colon_in_its_name() -> None:
    (record,) = records_of_line(b"[   90.100000] [3:   kworker/u16:2:  211] BUG: acme", 1)
    assert (record.caller, record.text) == ("T211", "BUG: acme")
