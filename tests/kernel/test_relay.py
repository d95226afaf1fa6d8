"""relay's ring of sub-buffers, laid out by hand after kernel/relay.c."""

from __future__ import annotations

import struct
from typing import Any

import drgn
import pytest

from postmortem.kernel.relay import (
    BLKTRACE_MAGIC,
    _buffer,
    contents,
    first_blktrace,
    first_line,
    relay_channels,
)
from tests.conftest import Machine
from tests.kernel.fabricated import BASE, Memory
from tests.kernel.locking.test_waiters import fresh

SIZE, COUNT = 64, 3


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory(fresh("6.12-null-chain"))


class Written:
    """A buffer into which pieces are written as ``relay_write()`` writes them."""

    def __init__(self, memory: Memory, *, overwrite: bool) -> None:
        self.memory, self.overwrite = memory, overwrite
        self.start, self.padding = memory.allocate(SIZE * COUNT), memory.allocate(8 * COUNT)
        self.offset = self.produced = self.consumed = self.partly = 0

    def write(self, data: bytes) -> None:
        if self.offset + len(data) > SIZE:
            if self.offset != SIZE + 1:
                self.memory.write(self.padding + 8 * (self.produced % COUNT), SIZE - self.offset)
                self.produced += 1
            if not self.overwrite and self.produced - self.consumed >= COUNT:
                self.offset = SIZE + 1
                return
            self.memory.write(self.padding + 8 * (self.produced % COUNT), 0)
            self.offset = 0
        at = self.start + self.produced % COUNT * SIZE + self.offset - BASE
        self.memory.data[at : at + len(data)] = data
        self.offset += len(data)

    def read(self) -> Any:
        kind = self.memory.prog.type("struct rchan_buf")
        address = self.memory.allocate(drgn.sizeof(kind))
        for name, value in (
            ("start", self.start), ("offset", self.offset), ("padding", self.padding),
            ("subbufs_produced", self.produced), ("subbufs_consumed", self.consumed),
            ("bytes_consumed", self.partly),
        ):  # fmt: skip
            self.memory.write(address + int(drgn.offsetof(kind, name)), value)
        return _buffer(self.memory.prog, address, 1, SIZE, COUNT)


def lines(first: int, last: int) -> list[bytes]:
    return [f"line {number:04}, twenty.\n".encode() for number in range(first, last)]


def test_a_buffer_that_was_not_filled(memory: Memory) -> None:
    written = Written(memory, overwrite=False)
    for line in lines(0, 5):
        written.write(line)
    found = written.read()
    assert contents(memory.prog, found) == (b"".join(lines(0, 5)), [])
    assert (found.produced, found.full, found.torn) == (1, False, None)


def test_without_room_the_newest_are_not_written(memory: Memory) -> None:
    written = Written(memory, overwrite=False)
    for line in lines(0, 20):
        written.write(line)
    found = written.read()
    assert found.full
    assert contents(memory.prog, found)[0] == b"".join(lines(0, 9))


def test_an_overwritten_ring_begins_with_the_oldest_whole_one(memory: Memory) -> None:
    written = Written(memory, overwrite=True)
    for line in lines(0, 13):
        written.write(line)
    found = written.read()
    # Three lines fit: 12 is in the fifth sub-buffer, over 3; 4 and 5 are left of the second.
    assert contents(memory.prog, found)[0] == b"".join(lines(6, 13))
    torn = contents(memory.prog, found, first_line)[0]
    assert torn.startswith(lines(5, 6)[0]) and torn.endswith(b"".join(lines(6, 13)))


def test_what_was_read_can_be_left_out(memory: Memory) -> None:
    written = Written(memory, overwrite=False)
    for line in lines(0, 8):
        written.write(line)
    written.consumed, written.partly = 1, len(lines(0, 1)[0])
    found = written.read()
    assert contents(memory.prog, found, unread=True)[0] == b"".join(lines(4, 8))
    assert contents(memory.prog, found)[0] == b"".join(lines(0, 8))


def test_a_missing_sub_buffer_is_said_and_the_rest_given(memory: Memory) -> None:
    written = Written(memory, overwrite=False)
    for line in lines(0, 5):
        written.write(line)
    memory.holes.add(written.start + 5)
    data, problems = contents(memory.prog, written.read())
    memory.holes.clear()
    assert data == b"".join(lines(3, 5))
    assert [problem.why for problem in problems if "sub-buffer 0" in problem.why]


def test_a_torn_trace_of_a_disk_begins_at_a_record_from_which_all_are_whole() -> None:
    def record(sequence: int, more: bytes) -> bytes:
        head = b"\x07" + BLKTRACE_MAGIC + struct.pack("<I", sequence)
        return head.ljust(46, b"\0") + struct.pack("<H", len(more)) + more

    whole = record(5, b"abc") + record(6, b"")
    # Inside of a torn record bytes may look like the magic.
    torn = b"xx" + BLKTRACE_MAGIC + b"y" * 30
    assert first_blktrace(torn + whole) == len(torn)
    assert first_blktrace(torn) is None


def test_a_machine_without_channels(machine: Machine) -> None:
    assert relay_channels(machine.prog) == ()
