"""The kdump-compressed format: headers, page bitmaps and page descriptors.

The format is makedumpfile's (``diskdump_mod.h``): one block with ``struct
disk_dump_header``, ``sub_hdr_size`` blocks with ``struct kdump_sub_header``,
notes and VMCOREINFO, two page bitmaps (pages that exist, pages that were
saved), one ``struct page_desc`` per saved page, and the page data.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from postmortem.inputs.source import Source

SIGNATURE = b"KDUMP   "

FLAG_ZLIB, FLAG_LZO, FLAG_SNAPPY, FLAG_INCOMPLETE = 0x1, 0x2, 0x4, 0x8
FLAG_EXCLUDED_VMEMMAP, FLAG_ZSTD = 0x10, 0x20

DESCRIPTOR = struct.Struct("<QIIQ")
"""``struct page_desc``: offset, size, flags, page_flags."""

MAX_BLOCK_SIZE = 1 << 18
MAX_NOTES_BYTES = 64 << 20
MAX_VMCOREINFO_BYTES = 1 << 20
MAX_CHECKED_PAGES = 1 << 24
"""Descriptors that are all checked: those of 64 GiB, in half a second. Behind them only the
last ones of each block, by which a file that was cut off is known."""
_LAST = 64
_DESCRIPTORS_PER_READ = 1 << 16
_CHUNK = 1 << 20


class BadKdumpError(Exception):
    """The headers contradict themselves or the size of the file."""


class Utsname(NamedTuple):
    """``struct new_utsname`` of the kernel that died."""

    sysname: str
    nodename: str
    release: str
    version: str
    machine: str
    domainname: str


class KdumpHeader(NamedTuple):
    """Both headers. Sizes and offsets in bytes, pfn ranges half open."""

    version: int
    utsname: Utsname
    timestamp: float | None
    """Seconds since the epoch when the dump was written; ``None`` when not recorded."""
    status: int
    block_size: int
    sub_header_blocks: int
    bitmap_blocks: int
    max_pfn: int
    nr_cpus: int
    is_64bit: bool
    order: str
    phys_base: int
    dump_level: int | None
    split: bool
    start_pfn: int
    end_pfn: int
    vmcoreinfo_offset: int
    vmcoreinfo_size: int
    note_offset: int
    note_size: int
    erase_offset: int
    erase_size: int

    @property
    def compression(self) -> str:
        """How pages are compressed."""
        for flag, name in (
            (FLAG_ZLIB, "zlib"),
            (FLAG_LZO, "lzo"),
            (FLAG_SNAPPY, "snappy"),
            (FLAG_ZSTD, "zstd"),
        ):
            if self.status & flag:
                return name
        return "none"

    @property
    def incomplete(self) -> bool:
        """makedumpfile ran out of space and said so."""
        return bool(self.status & FLAG_INCOMPLETE)

    @property
    def bitmap_offset(self) -> int:
        return (1 + self.sub_header_blocks) * self.block_size

    @property
    def bitmap_size(self) -> int:
        """Bytes of both bitmaps."""
        return self.bitmap_blocks * self.block_size

    @property
    def has_two_bitmaps(self) -> bool:
        """Whether the first half tells which pages exist, the second which were saved."""
        return self.max_pfn <= self.bitmap_size * 8 // 2

    @property
    def first_pfn(self) -> int:
        """The first page that can lie in this file."""
        return self.start_pfn if self.split else 0

    @property
    def last_pfn(self) -> int:
        """One past the last page that can lie in this file."""
        return min(self.end_pfn, self.max_pfn) if self.split else self.max_pfn

    @property
    def saved_bitmap(self) -> tuple[int, int]:
        """Offset and size of the bitmap of saved pages."""
        if self.has_two_bitmaps:
            half = self.bitmap_blocks // 2 * self.block_size
            return self.bitmap_offset + half, half
        return self.bitmap_offset, self.bitmap_size

    @property
    def descriptors_offset(self) -> int:
        return self.bitmap_offset + self.bitmap_size


def read_header(source: Source) -> KdumpHeader:
    """Read and check the two headers; raises :class:`BadKdumpError`."""
    head = source.pread(464, 0)
    if not head.startswith(SIGNATURE):
        raise BadKdumpError("it has no kdump signature")
    for order, wide in (("<", True), (">", True), ("<", False), (">", False)):
        at = 424 if wide else 412
        if len(head) < at + 40:
            continue
        fields = struct.unpack_from(order + "IiiIIIIIIi", head, at)
        status, block_size, sub_blocks, bitmap_blocks, max_pfn = fields[:5]
        (version,) = struct.unpack_from(order + "i", head, 8)
        if (
            0 <= version < 64
            and 512 <= block_size <= MAX_BLOCK_SIZE
            and block_size & (block_size - 1) == 0
            and 0 < sub_blocks < (1 << 20)
            and 0 < bitmap_blocks < (1 << 28)
        ):
            break
    else:
        raise BadKdumpError(
            "it ends inside the header" if len(head) < 464 else "its header makes no sense"
        )
    time_at = 408 if wide else 404
    seconds, micros = struct.unpack_from(order + ("qq" if wide else "ii"), head, time_at)
    sub = _read_sub_header(source, order, wide, version, block_size)
    wide_pfn = version >= 6
    max_pfn = sub.max_pfn if wide_pfn and sub.max_pfn else max_pfn
    if max_pfn > bitmap_blocks * block_size * 8:
        raise BadKdumpError("its page bitmap is too small for the memory it claims to hold")
    return KdumpHeader(
        version=version,
        utsname=_utsname(head[12:402]),
        timestamp=seconds + micros / 1e6 if 0 < seconds < 1 << 34 else None,
        status=status,
        block_size=block_size,
        sub_header_blocks=sub_blocks,
        bitmap_blocks=bitmap_blocks,
        max_pfn=max_pfn,
        nr_cpus=max(fields[9], 0),
        is_64bit=wide,
        order=order,
        phys_base=sub.phys_base,
        dump_level=sub.dump_level if version >= 1 else None,
        split=version >= 2 and bool(sub.split),
        start_pfn=sub.start_pfn,
        end_pfn=sub.end_pfn,
        vmcoreinfo_offset=sub.vmcoreinfo_offset if version >= 3 else 0,
        vmcoreinfo_size=sub.vmcoreinfo_size if version >= 3 else 0,
        note_offset=sub.note_offset if version >= 4 else 0,
        note_size=sub.note_size if version >= 4 else 0,
        erase_offset=sub.erase_offset if version >= 4 else 0,
        erase_size=sub.erase_size if version >= 4 else 0,
    )


class _SubHeader(NamedTuple):
    phys_base: int
    dump_level: int
    split: int
    start_pfn: int
    end_pfn: int
    vmcoreinfo_offset: int
    vmcoreinfo_size: int
    note_offset: int
    note_size: int
    erase_offset: int
    erase_size: int
    max_pfn: int


def _read_sub_header(
    source: Source, order: str, wide: bool, version: int, block_size: int
) -> _SubHeader:
    # 32-bit kernels align the 64-bit members to 4 bytes (i386) or 8 (arm);
    # neither is analysed, so i386's layout only has to name the dump.
    layout = struct.Struct(order + ("QiiQQQQQQQQQQQ" if wide else "IiiIIQIQIQIQQQ"))
    data = source.pread(layout.size, block_size)
    if len(data) < layout.size:
        raise BadKdumpError("it ends inside the header")
    (
        phys_base,
        dump_level,
        split,
        start_pfn,
        end_pfn,
        vmcoreinfo_offset,
        vmcoreinfo_size,
        note_offset,
        note_size,
        erase_offset,
        erase_size,
        start_pfn_64,
        end_pfn_64,
        max_pfn_64,
    ) = layout.unpack(data)
    if version >= 6:
        start_pfn, end_pfn = start_pfn_64, end_pfn_64
    return _SubHeader(
        phys_base,
        dump_level,
        split,
        start_pfn,
        end_pfn,
        vmcoreinfo_offset,
        vmcoreinfo_size,
        note_offset,
        note_size,
        erase_offset,
        erase_size,
        max_pfn_64,
    )


def _utsname(data: bytes) -> Utsname:
    parts = [data[i : i + 65].split(b"\0", 1)[0] for i in range(0, 390, 65)]
    found = Utsname(*(part.decode("utf-8", "replace") for part in parts))
    # QEMU since 8.2 (dump/dump.c) writes this word for what it does not know.
    return found._replace(machine="") if found.machine == "Unknown" else found


def read_blob(source: Source, offset: int, size: int, limit: int) -> bytes:
    """Notes or VMCOREINFO; empty when the header points outside the file or size is absurd."""
    if not 0 < size <= limit or offset <= 0 or offset + size > source.size:
        return b""
    return source.pread(size, offset)


def count_pages(source: Source, offset: int, first_pfn: int, end_pfn: int) -> int:
    """Set bits for ``[first_pfn, end_pfn)`` in the page bitmap at ``offset``."""
    if end_pfn <= first_pfn:
        return 0
    first, last = first_pfn // 8, (end_pfn - 1) // 8
    total = 0
    for at in range(first, last + 1, _CHUNK):
        data = bytearray(source.pread(min(_CHUNK, last + 1 - at), offset + at))
        if not data:
            break
        if at == first:
            data[0] &= 0xFF << first_pfn % 8 & 0xFF
        if at + len(data) == last + 1:
            data[-1] &= 0xFF >> (7 - (end_pfn - 1) % 8)
        total += int.from_bytes(data, "little").bit_count()
    return total


def saved_pages(source: Source, header: KdumpHeader) -> int:
    """Pages that this file holds, by its bitmap."""
    offset, size = header.saved_bitmap
    return count_pages(source, offset, header.first_pfn, min(header.last_pfn, size * 8))


def existing_pages(source: Source, header: KdumpHeader) -> int | None:
    """Pages of memory that the machine had; ``None`` when there is no bitmap for it."""
    if not header.has_two_bitmaps:
        return None
    half = header.bitmap_size // 2
    return count_pages(source, header.bitmap_offset, 0, min(header.max_pfn, half * 8))


class PageCheck(NamedTuple):
    """What the page descriptors say, against the size of the file."""

    pages: int
    """Pages that this file holds, by its bitmap."""
    lost_bytes: int
    """How far page data reaches behind the end of the file."""
    empty_pages: int
    """Pages that were never written (a dump that ran out of space)."""
    bad_pages: tuple[tuple[int, int], ...]
    """Half-open pfn ranges of pages whose data can't be where their descriptors say."""


def check_pages(source: Source, header: KdumpHeader) -> PageCheck:
    """Check every page descriptor: libkdumpfile maps the file and trusts them.

    A page that crosses the end of the file would kill the process (SIGBUS),
    one that claims 4 GiB would get them allocated, one that lies among the headers
    would pass those off as memory.
    """
    pages = saved_pages(source, header)
    start = header.descriptors_offset
    data_start = start + pages * DESCRIPTOR.size
    if data_start > source.size:
        raise BadKdumpError("it is cut off before its first page")
    lost = empty = 0
    bad: list[int] = []
    for first in range(0, pages, _DESCRIPTORS_PER_READ):
        count = min(_DESCRIPTORS_PER_READ, pages - first)
        at = start + first * DESCRIPTOR.size
        if first >= MAX_CHECKED_PAGES and _ends_well(source, at, count):
            continue
        raw = source.pread(count * DESCRIPTOR.size, at)
        if not any(raw):
            empty += count
            continue
        words = _words(raw)
        if min(words[0::3]) >= data_start and _are_inside(words, source.size):
            continue
        for index, (offset, size) in enumerate(zip(words[0::3], words[1::3], strict=True)):
            size &= 0xFFFFFFFF
            end = offset + size
            if not offset and not size:
                empty += 1
            elif end > source.size or size > header.block_size or offset < data_start:
                bad.append(first + index)
                if size <= header.block_size:
                    lost = max(lost, end - source.size)
    return PageCheck(pages, lost, empty, _pfns_of(source, header, bad))


def _words(data: bytes) -> array[int]:
    words = array("Q", data)
    if sys.byteorder != "little":
        words.byteswap()
    return words


def _are_inside(words: array[int], file_size: int) -> bool:
    """Whether no descriptor of these, three words each, reaches behind the end of the file."""
    # Bytes 2 and 3 of all sizes are zero: none has more than 64 KiB.
    data = words.tobytes()
    small = not any(data[10::24]) and not any(data[11::24])
    return small and max(words[0::3], default=0) + 0xFFFF <= file_size


def _ends_well(source: Source, at: int, count: int) -> bool:
    """Whether the last of so many descriptors lie in the file: data lies in their order."""
    last = min(count, _LAST)
    data = source.pread(last * DESCRIPTOR.size, at + (count - last) * DESCRIPTOR.size)
    return _are_inside(_words(data), source.size)


def _pfns_of(
    source: Source, header: KdumpHeader, indexes: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The pfn ranges of descriptors, by their ascending indexes in the table."""
    ranges: list[tuple[int, int]] = []
    position = 0
    wanted = iter(indexes)
    index = next(wanted, None)
    offset, size = header.saved_bitmap
    for start, end in bitmap_runs(source, offset, size, header.first_pfn, header.last_pfn):
        while index is not None and index < position + end - start:
            pfn = start + index - position
            if ranges and ranges[-1][1] == pfn:
                ranges[-1] = (ranges[-1][0], pfn + 1)
            else:
                ranges.append((pfn, pfn + 1))
            index = next(wanted, None)
        if index is None:
            break
        position += end - start
    return tuple(ranges)


def bitmap_runs(
    source: Source, offset: int, size: int, first_pfn: int, end_pfn: int
) -> Iterator[tuple[int, int]]:
    """Half-open pfn ranges of set bits in ``[first_pfn, end_pfn)``, ascending."""
    start = stop = -1
    end_pfn = min(end_pfn, size * 8)
    for at in range(first_pfn // 8, (end_pfn + 7) // 8, _CHUNK):
        data = source.pread(min(_CHUNK, size - at), offset + at)
        if not data:
            break
        for run_start, run_end in _byte_runs(data, at * 8):
            low, high = max(run_start, first_pfn), min(run_end, end_pfn)
            if low >= high:
                continue
            if low == stop:
                stop = high
                continue
            if stop > start:
                yield start, stop
            start, stop = low, high
    if stop > start:
        yield start, stop


def _byte_runs(data: bytes, base: int) -> Iterator[tuple[int, int]]:
    """Runs of set bits (bit 0 of byte 0 is page ``base``); neighbours may touch."""
    position, length = 0, len(data)
    while position < length:
        byte = data[position]
        if byte == 0 or byte == 0xFF:
            end = position + 1
            while data[end : end + 4096] == data[position : position + 1] * 4096:
                end += 4096
            while end < length and data[end] == byte:
                end += 1
            if byte:
                yield base + position * 8, base + end * 8
            position = end
            continue
        for low, high in _BIT_RUNS[byte]:
            yield base + position * 8 + low, base + position * 8 + high
        position += 1


def _bit_runs(byte: int) -> tuple[tuple[int, int], ...]:
    runs: list[tuple[int, int]] = []
    for bit in range(8):
        if byte >> bit & 1:
            if runs and runs[-1][1] == bit:
                runs[-1] = (runs[-1][0], bit + 1)
            else:
                runs.append((bit, bit + 1))
    return tuple(runs)


_BIT_RUNS = tuple(_bit_runs(byte) for byte in range(256))
