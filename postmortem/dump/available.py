"""Memory as far as it is in the dump: what is not there becomes zeroes, and is known as such."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property

import drgn

_PAGE = 4096


@dataclass(frozen=True)
class Available:
    """A piece of memory with holes."""

    data: bytes
    holes: tuple[tuple[int, int], ...] = ()
    """``(start, end)`` of what is missing, as offsets in ascending order, none adjacent."""

    @cached_property
    def _ends(self) -> list[int]:
        return [end for _, end in self.holes]

    @property
    def missing_bytes(self) -> int:
        return sum(end - start for start, end in self.holes)

    def hole_from(self, start: int) -> tuple[int, int]:
        """The first hole that ends behind ``start``; an empty one at the end if there is none."""
        size = len(self.data)
        if not self.holes:
            return size, size
        number = bisect.bisect_right(self._ends, start)
        return self.holes[number] if number < len(self.holes) else (size, size)

    def has(self, start: int, end: int) -> bool:
        """Whether all bytes from ``start`` to ``end`` are there."""
        return 0 <= start <= end <= len(self.data) and self.hole_from(start)[0] >= end


def available(prog: drgn.Program, start: int, size: int) -> Available:
    """Read memory, page by page where it can't be read as a whole."""
    try:
        return Available(prog.read(start, size))
    except drgn.FaultError:
        pass
    parts = []
    holes: list[tuple[int, int]] = []
    at = start
    while at < start + size:
        length = min(_PAGE - at % _PAGE, start + size - at)
        try:
            parts.append(prog.read(at, length))
        except drgn.FaultError:
            parts.append(bytes(length))
            first = at - start
            if holes and holes[-1][1] == first:
                first = holes.pop()[0]
            holes.append((first, at - start + length))
        at += length
    return Available(b"".join(parts), tuple(holes))


def read_available(prog: drgn.Program, start: int, size: int) -> tuple[bytes, int]:
    """The bytes of :func:`available`, and how many of them are missing."""
    found = available(prog, start, size)
    return found.data, found.missing_bytes
