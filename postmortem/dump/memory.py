"""The physical memory that a dump holds, in bulk: which ranges, their bytes, what is where.

Reads bypass the Program's address translation, are bounded in size and skip
what can't be read, so that whole dumps can be searched whatever their format.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postmortem.dump import kdump
from postmortem.dump.elf import Segment
from postmortem.inputs.source import Source

if TYPE_CHECKING:
    import drgn

CHUNK_BYTES = 1 << 20
MAX_PHYSICAL = 1 << 52
"""x86-64's physical addresses end here."""


@dataclass(frozen=True)
class PhysicalRange:
    """Saved physical memory ``[start, end)``."""

    start: int
    end: int


class Memory:
    """Saved physical memory of one dump."""

    memory_bytes = 0
    """What the machine had, as far as the dump tells."""
    saved_bytes = 0
    """What is in the dump."""

    def ranges(self) -> Iterator[PhysicalRange]:
        """Ascending, not overlapping; neighbours may touch."""
        raise NotImplementedError

    def read(self, address: int, size: int) -> bytes:
        """Bytes of one range; short (or empty) where they can't be read."""
        raise NotImplementedError

    def chunks(self, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
        """All of it as ``(physical address, bytes)``, about 1 MiB at a time.

        Where memory is contiguous a chunk repeats the ``overlap`` bytes before
        it: whatever is no longer than that lies whole in one chunk.
        """
        tail, tail_end = b"", -1
        for wanted in self.ranges():
            for start in range(wanted.start, wanted.end, CHUNK_BYTES):
                size = min(CHUNK_BYTES, wanted.end - start)
                for address, data in self._pieces(start, size):
                    if tail_end != address:
                        tail = b""
                    yield address - len(tail), tail + data
                    tail_end = address + len(data)
                    if overlap:
                        tail = (tail + data)[-overlap:]

    def _pieces(self, start: int, size: int) -> Iterator[tuple[int, bytes]]:
        """The readable parts of ``[start, start + size)``, page by page if need be."""
        data = self.read(start, size)
        if len(data) == size:
            yield start, data
            return
        for page in range(start, start + size, 4096):
            data = self.read(page, min(4096, start + size - page))
            if data:
                yield page, data

    def search(
        self, *needles: bytes, alignment: int = 1, limit: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """``(physical address, needle)`` wherever one of the needles is.

        Works for every format; drgn's own search ends at the first page that
        a kdump file does not have. Hits come ascending within a chunk per
        needle, not over all needles.
        """
        found, end = 0, -1
        for base, data in self.chunks(overlap=max(map(len, needles), default=1) - 1):
            for needle in needles:
                at = data.find(needle)
                while at >= 0:
                    # What lies in the repeated bytes as a whole was seen before.
                    if base + at + len(needle) > end and (base + at) % alignment == 0:
                        yield base + at, needle
                        found += 1
                        if limit is not None and found >= limit:
                            return
                    at = data.find(needle, at + 1)
            end = base + len(data)


class ElfMemory(Memory):
    """PT_LOAD segments; a segment may lie behind the end of the file."""

    def __init__(self, source: Source, loads: Iterable[Segment]) -> None:
        self.source = source
        self.truncated_bytes = 0
        """Bytes of segments behind the end of the file."""
        self.zero_filled_bytes = 0
        self.pieces: list[tuple[int, int, int]] = []
        """``(physical address, bytes, file offset)``, ascending, not overlapping."""
        position = 0
        for load in sorted(loads, key=lambda load: (load.paddr, -load.memsz)):
            if load.paddr + load.memsz > MAX_PHYSICAL:
                # /proc/kcore gives what has no one physical address (vmalloc) -1.
                continue
            size = min(load.filesz, load.memsz)
            kept = max(0, min(size, source.size - load.offset))
            self.truncated_bytes += size - kept
            # /proc/vmcore has the kernel's text twice: as such and in the direct map.
            skip = max(0, position - load.paddr)
            if skip >= load.memsz:
                continue
            self.memory_bytes += load.memsz - skip
            self.zero_filled_bytes += load.memsz - max(size, skip)
            if skip < kept:
                self.pieces.append((load.paddr + skip, kept - skip, load.offset + skip))
                self.saved_bytes += kept - skip
            position = load.paddr + load.memsz
        self.end = position

    def ranges(self) -> Iterator[PhysicalRange]:
        for address, size, _ in self.pieces:
            yield PhysicalRange(address, address + size)

    def read(self, address: int, size: int) -> bytes:
        index = bisect_right(self.pieces, (address, 1 << 64, 0)) - 1
        if index < 0:
            return b""
        start, length, offset = self.pieces[index]
        if address >= start + length:
            return b""
        return self.source.pread(min(size, start + length - address), offset + address - start)


class KdumpMemory(Memory):
    """Pages of a kdump-compressed file, decompressed by libkdumpfile."""

    def __init__(
        self, program: drgn.Program, images: Iterable[tuple[Source, kdump.KdumpHeader]]
    ) -> None:
        self.program = program
        self.images = tuple(images)
        for source, header in self.images:
            self.saved_bytes += kdump.saved_pages(source, header) * header.block_size
        source, header = self.images[0]
        existing = kdump.existing_pages(source, header)
        self.memory_bytes = self.saved_bytes if existing is None else existing * header.block_size

    def ranges(self) -> Iterator[PhysicalRange]:
        for source, header in self.images:
            block = header.block_size
            offset, size = header.saved_bitmap
            for start, end in kdump.bitmap_runs(
                source, offset, size, header.first_pfn, header.last_pfn
            ):
                yield PhysicalRange(start * block, end * block)

    def read(self, address: int, size: int) -> bytes:
        import drgn

        try:
            data: bytes = self.program.read(address, size, physical=True)
            return data
        except (drgn.FaultError, ValueError, OverflowError):
            return b""
