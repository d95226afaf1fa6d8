"""The events of all CPUs of a buffer in the order of time, with constant memory.

A page of each CPU is held at a time. What lies before the end of the earliest of them is sorted
and given; ties go to the lower CPU, as ``__find_next_entry()`` does.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from postmortem.trace.buffers import Buffer, CpuBuffer
from postmortem.trace.pages import Place

HEADER = struct.Struct("<HHi")
"""``struct trace_entry``: type, flags and preempt count together, pid."""
_HEADER_BYTES = 8
_TAIL_PAGES = 4
_TIME = itemgetter(0)


class Event(NamedTuple):
    """One event as it lies on its page."""

    time: int
    cpu: int
    type: int
    flags: int
    """``flags`` in the lower byte, ``preempt_count`` in the upper one."""
    pid: int
    data: bytes
    """The whole entry, common fields included."""


@dataclass(frozen=True)
class Wanted:
    """Which events; ``None`` is all."""

    cpus: Container[int] | None = None
    pids: Container[int] | None = None
    types: Container[int] | None = None
    since: int | None = None
    """Time stamp of the first."""


_ALL = Wanted()
_Raw = tuple[int, int, int, int, bytes]
"""Time, offset, bytes, CPU and the data of the page."""


def merged(cpus: Iterable[CpuBuffer], time_start: int = 0) -> Iterator[list[_Raw]]:
    """Batches of events by time."""
    sources = [_Source(cpu, time_start) for cpu in cpus]
    sources = [one for one in sources if one.fill()]
    while sources:
        # Up to here nothing can come from a page that is not read yet: a later page of the CPU
        # that ends first may begin at the same time, and goes before those of higher CPUs.
        bound, first = min((one.last, one.cpu) for one in sources)
        batch: list[_Raw] = []
        for one in sources:
            one.take(bound if one.cpu <= first else bound - 1, batch)
        if len(sources) > 1:
            batch.sort(key=_TIME)
        yield batch
        sources = [one for one in sources if one.pending or one.fill()]


class _Source:
    """The page that one CPU has come to."""

    def __init__(self, cpu: CpuBuffer, time_start: int) -> None:
        self.cpu = cpu.cpu
        self._pages = _since(cpu.batches(), time_start)
        self.pending: list[_Raw] = []
        self.last = 0

    def fill(self) -> bool:
        """Take the next page; whether there is one."""
        for data, places in self._pages:
            cpu, latest = self.cpu, self.last
            found = []
            for time, offset, size in places:
                # Where a clock went back, the kernel gives the event behind its predecessor.
                if time < latest:
                    found.append((latest, offset, size, cpu, data))
                else:
                    latest = time
                    found.append((time, offset, size, cpu, data))
            if found:
                self.pending, self.last = found, latest
                return True
        return False

    def take(self, bound: int, batch: list[_Raw]) -> None:
        """Move what is not later than ``bound``."""
        if self.last <= bound:
            batch.extend(self.pending)
            self.pending = []
            return
        low, high = 0, len(self.pending)
        while low < high:
            middle = (low + high) // 2
            if self.pending[middle][0] <= bound:
                low = middle + 1
            else:
                high = middle
        batch.extend(self.pending[:low])
        del self.pending[:low]


def _since(
    pages: Iterator[tuple[bytes, list[Place]]], start: int
) -> Iterator[tuple[bytes, list[Place]]]:
    """Leave out what is from before the buffer was started: ``skipped_entries``."""
    for data, places in pages:
        if start and places[0][0] < start:
            at = next((n for n, place in enumerate(places) if place[0] >= start), None)
            if at is None:
                continue
            places = places[at:]
        start = 0
        yield data, places


def skipped(cpu: CpuBuffer, start: int) -> int:
    """How many entries are from before the buffer was started."""
    count = 0
    if not start:
        return 0
    for _, places in cpu.batches():
        for time, _, _ in places:
            if time >= start:
                return count
            count += 1
    return count


def events(buffer: Buffer, wanted: Wanted = _ALL) -> Iterator[Event]:
    """The events of a buffer that are wanted, by time."""
    cpus = [one for one in buffer.cpus if wanted.cpus is None or one.cpu in wanted.cpus]
    pids, types, since = wanted.pids, wanted.types, wanted.since
    plain = pids is None and types is None and since is None
    unpack, make = HEADER.unpack_from, Event._make
    for batch in merged(cpus, buffer.time_start):
        if since is not None and batch[-1][0] < since:
            continue
        for time, offset, size, cpu, page in batch:
            if size < _HEADER_BYTES:
                continue
            number, flags, pid = unpack(page, offset)
            if plain or (
                (pids is None or pid in pids)
                and (types is None or number in types)
                and (since is None or time >= since)
            ):
                yield make((time, cpu, number, flags, pid, page[offset : offset + size]))


def last_time(buffer: Buffer) -> int:
    """When the last event of any CPU was written; 0 if there is none."""
    latest = 0
    for cpu in buffer.cpus:
        for _, places in cpu.batches(tail=_TAIL_PAGES):
            latest = max(latest, places[-1][0])
    return latest
