"""The printk ring buffer, laid out by hand as kernel/printk/printk_ringbuffer.c does."""

from __future__ import annotations

import struct
from typing import ClassVar

import pytest

from postmortem.kernel.printk import _Buffer

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
    ) -> None:
        slot = number % COUNT
        struct.pack_into("<QQQ", self.descs, slot * 24, state << 62 | number, begin, end)
        struct.pack_into("<QQ", self.infos, slot * 88, number, number * 1_000_000)
        struct.pack_into("<HBBI", self.infos, slot * 88 + 16, len(text), 0, flags, caller)
        start = begin % SIZE if at is None else at
        block = struct.pack("<Q", number) + text
        self.data[start : start + len(block)] = block

    def texts(self, tail: int, head: int) -> list[str]:
        return [record.text for record in self.buffer().records(tail, head, COUNT)]

    def buffer(self) -> _Buffer:
        return _Buffer(bytes(self.data), bytes(self.descs), bytes(self.infos), Layout())  # type: ignore[arg-type]


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


def test_slot_that_holds_another_record_is_left_out() -> None:
    ring = Ring()
    ring.add(1 + COUNT, 0, 16, b"newer")
    assert ring.texts(1, 1) == []


def test_length_beyond_the_block_is_cut() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"12345678")
    struct.pack_into("<H", ring.infos, 88 + 16, 60000)
    assert ring.texts(1, 1) == ["12345678"]


def test_head_that_never_comes_ends_after_one_round() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"one")
    assert ring.texts(1, 1 << 40) == ["one"]


def test_level_and_caller_are_unpacked() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"x", flags=3 << 5, caller=1 << 31 | 2)
    ring.add(2, 16, 32, b"y", flags=6 << 5, caller=42)
    first, second = ring.buffer().records(1, 2, COUNT)
    assert (first.level, first.caller) == (3, "C2")
    assert (second.level, second.caller) == (6, "T42")
    assert second.time_ns == 2_000_000


def test_invalid_utf8_is_replaced() -> None:
    ring = Ring()
    ring.add(1, 0, 16, b"\xff\xfeok")
    assert ring.texts(1, 1) == ["\ufffd\ufffdok"]
