"""Find values in memory, chunk by chunk: also in dumps that drgn's own search can't read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.dump.damage import damage, tolerated
from postmortem.kernel.vmalloc import vmap_areas

CHUNK_BYTES = 1 << 20
_MAX_AREAS = 1 << 20
_PAGE = 4096


@dataclass(frozen=True)
class Range:
    """Memory to search: ``[start, end)``, and what it is."""

    start: int
    end: int
    kind: str
    """``direct map``, ``kernel`` (its image), ``vmalloc`` or what was asked for."""


def kernel_ranges(prog: drgn.Program) -> list[Range]:
    """The kernel's memory: the direct map of all of RAM, the image, vmalloc with the modules."""
    found: list[Range] = []
    with tolerated():
        start = _direct_map(prog)
        found.append(Range(start, start + int(prog["max_pfn"].value_()) * _PAGE, "direct map"))
    with tolerated():
        found.append(Range(prog.symbol("_text").address, prog.symbol("_end").address, "kernel"))
    with tolerated():
        found += _vmalloc(prog)
    return found


def _direct_map(prog: drgn.Program) -> int:
    """Where all of RAM is mapped: a variable where that place is random."""
    try:
        return int(prog["page_offset_base"].value_())
    except KeyError:
        return int(prog["PAGE_OFFSET"].value_())


def _vmalloc(prog: drgn.Program) -> Iterator[Range]:
    for area in islice(vmap_areas(prog), _MAX_AREAS):
        yield Range(int(area.va_start), int(area.va_end), "vmalloc")


def word_pattern(values: Iterable[int], size: int, mask: int = 0) -> re.Pattern[bytes]:
    """Matches the little-endian bytes of any of the values; bits of ``mask`` may be either.

    :param size: Bytes of a value: 2, 4 or 8.
    """
    return re.compile(b"|".join(_bytes(value, size, mask) for value in values), re.DOTALL)


def _bytes(value: int, size: int, mask: int) -> bytes:
    result = b""
    for have, free in zip(value.to_bytes(size, "little"), mask.to_bytes(size, "little"),
                          strict=True):  # fmt: skip
        if free == 0xFF:
            result += b"."
        elif free:
            fits = (byte for byte in range(256) if byte & ~free == have & ~free)
            result += b"[" + b"".join(re.escape(bytes([byte])) for byte in fits) + b"]"
        else:
            result += re.escape(bytes([have]))
    return result


def search(
    prog: drgn.Program,
    ranges: Sequence[Range],
    pattern: re.Pattern[bytes],
    *,
    unit: int,
    longest: int,
    read: Callable[[int, int], bytes] | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Address and bytes of every match in the ranges that lies on a multiple of ``unit``.

    Pages that are not in the dump are passed over.

    :param longest: Bytes of the longest match: so much of two chunks is looked at together.
    :param read: Reads memory; by default virtual.
    """
    read = read or prog.read
    for piece in ranges:
        tail = b""
        for start, data in _chunks(read, piece):
            if data is None:
                tail = b""
                continue
            base = start - len(tail)
            yield from _matches(pattern, tail + data, base, unit)
            tail = data[-(longest - 1) :] if longest > 1 else b""


def _matches(
    pattern: re.Pattern[bytes], data: bytes, base: int, unit: int
) -> Iterator[tuple[int, bytes]]:
    at = 0
    while found := pattern.search(data, at):
        at = found.start()
        if (base + at) % unit:
            at += 1
            continue
        yield base + at, found.group()
        at += unit


def _chunks(read: Callable[[int, int], bytes], piece: Range) -> Iterator[tuple[int, bytes | None]]:
    """The memory of a range; ``None`` where some of it is missing."""
    for start in range(piece.start, piece.end, CHUNK_BYTES):
        size = min(CHUNK_BYTES, piece.end - start)
        try:
            yield start, read(start, size)
            continue
        except damage():
            pass
        yield from _pages(read, start, size)


def _pages(
    read: Callable[[int, int], bytes], start: int, size: int
) -> Iterator[tuple[int, bytes | None]]:
    end = start + size
    while start < end:
        part = min(_PAGE - start % _PAGE, end - start)
        try:
            yield start, read(start, part)
        except damage():
            yield start, None
        start += part
