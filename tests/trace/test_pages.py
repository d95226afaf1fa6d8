"""Pages written by hand, word by word, as kernel/trace/ring_buffer.c lays them out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.trace.pages import decode
from postmortem.trace.repack import PAGE, pages

PADDING, EXTEND, STAMP = 29, 30, 31


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def decoded(data: bytes, stamp: int = 1000) -> list[tuple[int, int, int]]:
    found = decode(data, len(data), stamp)
    assert found.torn is None
    return found.events


def test_small_events_carry_their_length_in_words() -> None:
    data = words(2 | 5 << 5, 0xA, 0xB, 1 | 7 << 5, 0xC)
    assert decoded(data) == [(1005, 4, 8), (1012, 16, 4)]


def test_a_long_event_has_its_length_behind_it() -> None:
    # The length counts its own word: 120 bytes of data.
    data = words(0 | 3 << 5, 124) + bytes(120)
    assert decoded(data) == [(1003, 8, 120)]


def test_a_time_extend_is_added_and_an_absolute_stamp_replaces() -> None:
    data = words(EXTEND | 1 << 5, 2, 1, 0xA, STAMP | 9 << 5, 3, 1, 0xB)
    assert decoded(data) == [(1001 + (2 << 27), 12, 4), (9 + (3 << 27), 28, 4)]


def test_an_absolute_stamp_has_the_upper_bits_of_the_time_before_it() -> None:
    before = 0x0800_0000_0000_0005
    data = words(STAMP | 9 << 5, 0, 1, 0xB)
    assert decoded(data, before) == [(0x0800_0000_0000_0009, 12, 4)]


def test_discarded_events_are_skipped_without_their_time() -> None:
    data = words(PADDING | 1 << 5, 8, 0, 1 | 2 << 5, 0xA)
    assert decoded(data) == [(1002, 16, 4)]


def test_padding_without_time_ends_the_page() -> None:
    assert decoded(words(1 | 2 << 5, 0xA, PADDING, 0, 1, 0xB)) == [(1002, 4, 4)]


def test_what_nobody_committed_is_not_there() -> None:
    data = words(1 | 2 << 5, 0xA, 1 | 2 << 5, 0xB)
    assert decode(data, 8, 0).events == [(2, 4, 4)]


def test_reading_goes_on_where_somebody_stopped() -> None:
    data = words(1 | 2 << 5, 0xA, 1 | 3 << 5, 0xB)
    assert decode(data, 16, 500, head=8).events == [(503, 12, 4)]


@pytest.mark.parametrize(
    "data",
    [
        words(5 | 1 << 5, 0xA),  # longer than the page
        words(0 | 1 << 5, 4000, 0xA),
        words(0 | 1 << 5, 0, 0xA),  # no length at all
        words(EXTEND | 1 << 5),
        words(0),
    ],
)
def test_a_torn_page_gives_what_is_before_and_a_reason(data: bytes) -> None:
    whole = words(1 | 2 << 5, 0xA) + data
    found = decode(whole, len(whole), 0)
    assert found.events == [(2, 4, 4)]
    assert found.torn


@given(st.binary(max_size=400), st.integers(0, 1 << 64), st.integers(0, 500))
def test_any_bytes_end(data: bytes, stamp: int, commit: int) -> None:
    for _, offset, size in decode(data, commit, stamp).events:
        assert 0 <= offset <= offset + size <= len(data) + 3


@given(
    st.lists(st.tuples(st.integers(0, 1 << 40), st.binary(min_size=8, max_size=600)), max_size=40)
)
def test_what_is_written_again_reads_the_same(parts: list[tuple[int, bytes]]) -> None:
    now, wanted = 0, []
    for delta, data in parts:
        now += delta
        wanted.append((now, data.ljust((len(data) + 3) & ~3, b"\0")))
    found = []
    for page in pages(wanted):
        assert len(page) == PAGE
        stamp, commit = struct.unpack_from("<QQ", page)
        for time, offset, size in decoded(page[16 : 16 + commit], stamp):
            found.append((time, page[16 + offset : 16 + offset + size]))
    assert found == wanted
