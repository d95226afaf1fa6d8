"""Saved memory in bulk: ranges, chunks, search."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.dump import memory as bulk
from postmortem.dump.elf import PT_LOAD, Segment
from postmortem.dump.memory import ElfMemory, Memory, PhysicalRange

from .test_elf import Bytes


def load(offset: int, paddr: int, filesz: int, memsz: int | None = None) -> Segment:
    return Segment(PT_LOAD, offset, 0, paddr, filesz, filesz if memsz is None else memsz, 0)


def ranges(memory: Memory) -> list[tuple[int, int]]:
    return [(r.start, r.end) for r in memory.ranges()]


def test_segments_give_ranges() -> None:
    memory = ElfMemory(Bytes(bytes(100)), [load(50, 0x2000, 50), load(0, 0x1000, 50)])
    assert ranges(memory) == [(0x1000, 0x1032), (0x2000, 0x2032)]
    assert (memory.saved_bytes, memory.memory_bytes, memory.end) == (100, 100, 0x2032)


def test_the_kernel_text_is_not_counted_twice() -> None:
    source = Bytes(bytes(range(200)))
    memory = ElfMemory(source, [load(0, 0, 100), load(100, 20, 30), load(130, 90, 40)])
    assert ranges(memory) == [(0, 100), (100, 130)]
    assert memory.read(100, 5) == bytes(range(140, 145))


def test_what_is_not_in_the_file_is_counted() -> None:
    memory = ElfMemory(Bytes(bytes(100)), [load(0, 0, 40, 4096), load(60, 8192, 100)])
    assert memory.zero_filled_bytes == 4096 - 40
    assert memory.truncated_bytes == 60
    assert ranges(memory) == [(0, 40), (8192, 8232)]


@pytest.mark.parametrize(
    "segment",
    [load(0, (1 << 64) - 1, 10), load(1 << 63, 0, 10), load(0, 1 << 60, 10), load(200, 0, 10)],
)
def test_segments_that_lie_hold_nothing(segment: Segment) -> None:
    memory = ElfMemory(Bytes(bytes(100)), [segment])
    assert ranges(memory) == []
    assert memory.read(0, 10) == b""


class Sparse(Memory):
    """Ranges with pages that can't be read."""

    def __init__(self, parts: list[tuple[int, bytes]], bad: frozenset[int] = frozenset()) -> None:
        self.parts, self.bad = parts, bad

    def ranges(self) -> Iterator[PhysicalRange]:
        for start, data in self.parts:
            yield PhysicalRange(start, start + len(data))

    def read(self, address: int, size: int) -> bytes:
        if any(address < page + 4096 and page < address + size for page in self.bad):
            return b""
        for start, data in self.parts:
            if start <= address < start + len(data):
                return data[address - start : address - start + size]
        return b""


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 8192)


@pytest.mark.usefixtures("small_chunks")
def test_a_needle_across_a_border_is_found_once() -> None:
    data = bytearray(40_000)
    data[8190:8196] = b"needle"
    data[20_000:20_006] = b"needle"
    memory = Sparse([(0x1000, bytes(data))])
    assert [at for at, _ in memory.search(b"needle")] == [0x1000 + 8190, 0x1000 + 20_000]


@pytest.mark.usefixtures("small_chunks")
def test_ranges_that_touch_are_one_memory() -> None:
    memory = Sparse([(0, bytes(4093) + b"nee"), (4096, b"dle" + bytes(100))])
    assert [at for at, _ in memory.search(b"needle")] == [4093]


def test_ranges_that_do_not_touch_are_not() -> None:
    memory = Sparse([(0, bytes(4093) + b"nee"), (8192, b"dle" + bytes(100))])
    assert list(memory.search(b"needle")) == []


def test_a_page_that_can_not_be_read_hides_only_itself() -> None:
    data = bytearray(5 * 4096)
    for page in range(5):
        data[page * 4096 : page * 4096 + 3] = b"hit"
    memory = Sparse([(0, bytes(data))], frozenset({2 * 4096}))
    assert [at // 4096 for at, _ in memory.search(b"hit")] == [0, 1, 3, 4]


def test_alignment_and_limit() -> None:
    memory = Sparse([(0, b".hit" * 100)])
    assert [at for at, _ in memory.search(b"hit", alignment=5)][:3] == [5, 25, 45]
    assert len(list(memory.search(b"hit", limit=7))) == 7


@given(st.binary(min_size=1, max_size=300), st.integers(0, 3), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_search_finds_what_bytes_find(data: bytes, letter: int, length: int) -> None:
    data = bytes(byte % 3 for byte in data)
    needle = bytes([letter % 3]) * length
    expected = [at for at in range(len(data)) if data.startswith(needle, at)]
    before = bulk.CHUNK_BYTES
    bulk.CHUNK_BYTES = 16
    try:
        memory = ElfMemory(Bytes(data), [load(0, 0, len(data))])
        assert [at for at, _ in memory.search(needle)] == expected
    finally:
        bulk.CHUNK_BYTES = before
