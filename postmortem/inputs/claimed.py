"""How long a dump can be at most, by its own headers: no more of a compressed one is unpacked.

A megabyte of zstd can hold 8 GB of zeroes. What lies behind the end that the headers
know of is no part of the dump.
"""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.dump import elf, kdump
from postmortem.inputs.flattened import HEADER_BYTES, SIGNATURE, FlattenedFile
from postmortem.inputs.source import Source

_PIECE = 1 << 20
_FIRST_LOOK = 4 << 20
_FLATTENED_EXTRA = 64 << 20
"""Headers of records, and what makedumpfile writes twice, beside an eighth of the dump."""
_SLACK = 1 << 20


def claimed_bytes(source: Source) -> int | None:
    """Where the dump that begins like this ends at the latest.

    :param source: The dump as far as it was unpacked.
    :return: ``None`` if the headers are not whole yet, or are none that we know.
    """
    head = source.pread(max(len(SIGNATURE), 8), 0)
    try:
        if head.startswith(SIGNATURE):
            return _flattened(source)
        if head.startswith(kdump.SIGNATURE):
            return _kdump(source)
        return _elf(source) if head.startswith(b"\x7fELF") else None
    except (elf.BadElfError, kdump.BadKdumpError):
        return None


def _flattened(source: Source) -> int | None:
    flat = FlattenedFile(source, stop_after=source.size)
    if flat.ended:
        return source.size
    if flat.pread(len(SIGNATURE), 0) == SIGNATURE:
        return HEADER_BYTES  # one inside the other: that is no dump
    inner = claimed_bytes(flat)
    return None if inner is None else inner + inner // 8 + _FLATTENED_EXTRA


def _kdump(source: Source) -> int | None:
    """The table has an entry for each page that the bitmap tells, and each has a page at most."""
    header = kdump.read_header(source)
    if source.size < header.descriptors_offset:
        return None
    saved = sum(piece.bit_count() for piece in _numbers(source, *header.saved_bitmap))
    blobs = (
        (header.vmcoreinfo_offset, header.vmcoreinfo_size),
        (header.note_offset, header.note_size),
        (header.erase_offset, header.erase_size),
    )
    pages = header.descriptors_offset + saved * (kdump.DESCRIPTOR.size + header.block_size)
    return max(pages, *(offset + size for offset, size in blobs)) + _SLACK


def _numbers(source: Source, start: int, size: int) -> Iterator[int]:
    for at in range(start, start + size, _PIECE):
        yield int.from_bytes(source.pread(min(_PIECE, start + size - at), at), "little")


def _elf(source: Source) -> int | None:
    header = elf.read_elf(source)
    if header.lost_segments:
        return None
    ends = [segment.offset + segment.filesz for segment in header.segments]
    return max([header.shoff + header.shnum * header.shentsize, *ends]) + _SLACK


class Claim:
    """Watches a dump grow, and looks into its headers now and then."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._next_look = _FIRST_LOOK
        self._limit: int | None = None

    def exceeded(self, size: int) -> bool:
        """Whether the dump, of which there are so many bytes now, must have ended before."""
        if self._limit is None and size >= self._next_look:
            self._limit = claimed_bytes(self._source)
            self._next_look = 2 * size
        return self._limit is not None and size > self._limit
