"""The printk ring buffer, laid out by hand as kernel/printk/printk_ringbuffer.c does."""

from __future__ import annotations

import struct
import tracemalloc
from typing import ClassVar

import drgn
import pytest

from postmortem.kernel.printk import _Buffer, _lines, _Piece, _read, read_ring

FINALIZED, RESERVED, REUSABLE = 2, 0, 3
SIZE = 128
"""Bytes of the text ring."""
COUNT = 8
"""Descriptors."""


class Layout:
    """struct prb_desc {u64 state; u64 begin, next;}, struct printk_info as since v5.10."""

    offsets: ClassVar = {
        ("prb_desc", "state_var"): 0,
        ("prb_desc", "text_blk_lpos"): 8,
        ("printk_info", "seq"): 0,
        ("printk_info", "ts_nsec"): 8,
        ("printk_info", "text_len"): 16,
        ("printk_info", "caller_id"): 20,
    }

    def offset(self, struct_name: str, member: str) -> int:
        return self.offsets[struct_name, member]

    def size(self, struct_name: str) -> int:
        return {"prb_desc": 24, "printk_info": 88}[struct_name]


class Ring:
    """A ring buffer under construction."""

    def __init__(self) -> None:
        self.data = bytearray(SIZE)
        self.descs = bytearray(24 * COUNT)
        self.infos = bytearray(88 * COUNT)
        self.missing: dict[str, tuple[tuple[int, int], ...]] = {}

    def add(
        self,
        number: int,
        begin: int,
        end: int,
        text: bytes,
        *,
        state: int = FINALIZED,
        at: int | None = None,
        flags: int = 0,
        caller: int = 7,
        facility: int = 0,
    ) -> None:
        slot = number % COUNT
        held = state << 62 | number & (1 << 62) - 1
        struct.pack_into("<QQQ", self.descs, slot * 24, held, begin, end)
        struct.pack_into("<QQ", self.infos, slot * 88, number + 100, (number + 100) * 1_000_000)
        struct.pack_into("<HBBI", self.infos, slot * 88 + 16, len(text), facility, flags, caller)
        start = begin % SIZE if at is None else at
        block = struct.pack("<Q", number & (1 << 62) - 1) + text
        self.data[start : start + len(block)] = block

    def texts(self, tail: int, head: int) -> list[str]:
        return [record.text for record in self.buffer().records(tail, head, COUNT).records]

    def problems(self, tail: int, head: int) -> list[str]:
        return [problem.why for problem in self.buffer().records(tail, head, COUNT).problems]

    def buffer(self) -> _Buffer:
        pieces = (
            _Piece(bytes(part), self.missing.get(name, ()))
            for name, part in (("data", self.data), ("descs", self.descs), ("infos", self.infos))
        )
        return _Buffer(*pieces, Layout())  # type: ignore[call-arg, arg-type]


def test_records_come_in_order() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"one")
    ring.add(2, 16, 32, b"two")
    assert ring.texts(1, 2) == ["one", "two"]


def test_block_that_would_wrap_lies_at_the_start_whole() -> None:
    ring = Ring()
    ring.add(1, SIZE - 8, SIZE + 24, b"wrapped text", at=0)
    assert ring.texts(1, 1) == ["wrapped text"]


def test_block_that_ends_with_the_ring_does_not_wrap() -> None:
    ring = Ring()
    ring.add(1, SIZE - 16, SIZE, b"the end")
    assert ring.texts(1, 1) == ["the end"]


def test_record_without_text_is_empty() -> None:
    ring = Ring()
    ring.add(1, 1, 1, b"", at=64)
    assert ring.texts(1, 1) == [""]


@pytest.mark.parametrize("state", [RESERVED, REUSABLE])
def test_unfinished_record_is_left_out(state: int) -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"one")
    ring.add(2, 16, 32, b"half", state=state)
    assert ring.texts(1, 2) == ["one"]


def test_length_beyond_the_block_is_cut() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"12345678")
    struct.pack_into("<H", ring.infos, 88 + 16, 60000)
    assert ring.texts(1, 1) == ["12345678"]


@pytest.mark.parametrize(("tail", "head"), [(1, 1 << 40), (3, 2), (9, 10), (1 << 60, 2)])
def test_ends_that_do_not_fit_are_found_anew(tail: int, head: int) -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"one")
    ring.add(2, 16, 32, b"two")
    assert ring.texts(tail, head) == ["one", "two"]
    assert "do not fit" in ring.problems(tail, head)[0]


def filled() -> Ring:
    ring = Ring()
    for number in range(1, 8):
        ring.add(number, (number - 1) * 16, number * 16, f"text {number}".encode())
    return ring


def test_whole_ring_has_no_problem() -> None:
    assert filled().problems(1, 7) == []


def test_missing_descriptors_are_a_hole() -> None:
    ring = filled()
    ring.missing["descs"] = ((24 * 3, 24 * 5),)
    assert ring.texts(1, 7) == ["text 1", "text 2", "text 5", "text 6", "text 7"]
    assert ring.problems(1, 7) == [
        "records 103-104 are not in the dump",
        "5 of 7 records could be read",
    ]


def test_missing_text_is_a_hole() -> None:
    ring = filled()
    ring.missing["data"] = ((16, 32), (40, 48))
    assert ring.texts(1, 7) == ["text 1", "text 4", "text 5", "text 6", "text 7"]
    assert ring.problems(1, 7)[0] == "records 102-103 are not in the dump"


def test_cut_off_at_the_end_is_a_hole() -> None:
    ring = filled()
    ring.missing["descs"] = ((24 * 6, 24 * COUNT),)
    assert ring.texts(1, 7)[-1] == "text 5"
    assert ring.problems(1, 7)[0] == "records 106-107 are not in the dump"


def test_text_of_another_record_is_not_shown() -> None:
    ring = filled()
    struct.pack_into("<Q", ring.data, 32, 77)
    assert "text 3" not in ring.texts(1, 7)
    assert ring.problems(1, 7)[0] == "record 103 is damaged"


def test_damaged_descriptor_is_a_hole() -> None:
    ring = filled()
    struct.pack_into("<Q", ring.descs, 24 * 4, 1 << 40)
    assert "text 4" not in ring.texts(1, 7)
    assert ring.problems(1, 7)[0] == "record 104 is damaged"


def test_text_without_its_description_is_kept() -> None:
    ring = filled()
    struct.pack_into("<Q", ring.infos, 88 * 2, 5)
    record = ring.buffer().records(1, 7, COUNT).records[1]
    assert (record.text, record.sequence, record.time_ns) == ("text 2", 102, None)


def test_empty_ring_is_said() -> None:
    assert Ring().problems(1, 0)[-1] == "the ring buffer holds no record"


def test_ids_wrap_around_soon_after_boot() -> None:
    ring = Ring()
    ring.add(-1, 0, 16, b"before")
    ring.add(0, 16, 32, b"at zero")
    ring.add(1, 32, 48, b"after")
    assert ring.texts(-1, 1) == ["before", "at zero", "after"]
    assert ring.problems(-1, 1) == []


def test_lines_of_user_space_are_known() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"kernel")
    ring.add(2, 16, 32, b"forged", facility=1)
    lines, user = _lines(ring.buffer().records(1, 2, COUNT).records)
    assert [line.text for line in lines if line.line in user] == ["forged"]


def test_level_and_caller_are_unpacked() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"x", flags=3 << 5, caller=1 << 31 | 2)
    ring.add(2, 16, 32, b"y", flags=6 << 5, caller=42)
    first, second = ring.buffer().records(1, 2, COUNT).records
    assert (first.level, first.caller) == (3, "C2")
    assert (second.level, second.caller) == (6, "T42")
    assert second.time_ns == 102_000_000


def test_invalid_utf8_is_replaced() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"\xff\xfeok")
    assert ring.texts(1, 1) == ["\ufffd\ufffdok"]


def test_a_time_far_from_those_beside_it_is_none() -> None:
    ring = filled()
    struct.pack_into("<Q", ring.infos, 88 * 3 + 8, 1 << 60)
    times = [record.time_ns for record in ring.buffer().records(1, 7, COUNT).records]
    assert times == [101_000_000, 102_000_000, None, *range(104_000_000, 108_000_000, 1_000_000)]


def memory(**pages: bytes) -> drgn.Program:
    """A program of these pieces of memory, by addresses in hex."""
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    for address, data in pages.items():
        prog.add_memory_segment(
            int(address.strip("_"), 16),
            len(data),
            lambda _at, size, offset, _physical, data=data: data[offset : offset + size],
        )
    return prog


def test_what_is_not_there_takes_memory_once() -> None:
    size = 16 << 20
    tracemalloc.start()
    piece = _read(memory(_1000=b"\1" * 4096), 0x1000, size)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (piece.whole(0, 4096), piece.whole(4096, 4097)) == (True, False)
    assert peak < 1.5 * size


def test_nothing_is_kept_of_what_is_not_there_at_all() -> None:
    piece = _read(memory(_1000=b"\1" * 4096), 0x8000, 16 << 20)
    assert (piece.data, piece.missing) == (b"", ((0, 16 << 20),))
    with pytest.raises(LookupError, match="is not in the dump"):
        piece.require_some()


def test_a_ring_has_no_room_for_a_thousand_times_more_text_than_records() -> None:
    """``struct printk_ringbuffer`` in short: count_bits at 0, size_bits at 8; prb leads there."""
    lines = {
        "SYMBOL(prb)": "1000",
        **{f"OFFSET(printk_ringbuffer.{name})": at for name, at in
           (("desc_ring", "0"), ("text_data_ring", "8"))},
        "OFFSET(prb_desc_ring.count_bits)": "0",
        "OFFSET(prb_data_ring.size_bits)": "0",
    }  # fmt: skip
    ring = memory(_1000=struct.pack("<Q", 0x2000), _2000=struct.pack("<QQ", 13, 28))
    with pytest.raises(LookupError, match="would have 2\\^13 records, 2\\^28 bytes"):
        read_ring(ring, lines)
