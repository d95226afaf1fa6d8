"""A private copy of a dump: every change is journalled and undone."""

from __future__ import annotations

import collections
import lzma
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

PAGE = 4096
_DESCRIPTOR = struct.Struct("<QIIQ")
"""``struct page_desc``: offset, size, flags, page_flags (makedumpfile's diskdump_mod.h)."""
_ZLIB, _ZSTD, _OTHERS = 1, 0x20, 6

Extent = tuple[int, int, int]
"""Virtual address, physical address, size."""


@dataclass
class Image:
    """A dump that may be written; ``peek`` and ``poke`` go by physical address."""

    path: Path
    targets: dict[str, list[Extent]] = field(default_factory=dict)
    """What is worth damaging, by group."""
    live: list[tuple[int, bytes | None]] = field(default_factory=list)
    """What changes while it is read: offset in the file and data, ``None`` to cut there."""
    extra: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._journal: list[tuple[int, bytes | None]] = []
        self._pristine = self.path.with_suffix(".pristine")
        shutil.copyfile(self.path, self._pristine)
        self._fd = os.open(self.path, os.O_RDWR)
        self.size = os.fstat(self._fd).st_size
        head = self.read(8, 0)
        self.is_elf = head.startswith(b"\x7fELF")
        self.is_kdump = head.startswith(b"KDUMP")
        self.segments: list[Extent] = []
        """Physical address, size, offset in the file of an ELF dump's memory."""
        self.descriptors: dict[int, int] = {}
        """Offset in the file of a kdump's page descriptors, by page frame."""
        if self.is_elf:
            self._parse_elf()
        elif self.is_kdump:
            self._parse_kdump()
        else:
            raise SystemExit(f"{self.path} is neither ELF nor kdump-compressed")
        self.paths = [self.path]

    def _parse_elf(self) -> None:
        self.headers = struct.unpack("<Q", self.read(8, 32))[0]
        self.header_count = struct.unpack("<H", self.read(2, 56))[0]
        for number in range(self.header_count):
            raw = self.read(56, self.headers + number * 56)
            kind, _, offset, _, physical, size, _, _ = struct.unpack("<IIQQQQQQ", raw)
            if kind == 1:
                self.segments.append((physical, size, offset))
            else:
                self.notes = (offset, size)
        self.pages = [
            page
            for physical, size, _ in self.segments
            for page in range(physical // PAGE, (physical + size) // PAGE)
        ]

    def _parse_kdump(self) -> None:
        self.block, sub, bitmaps = struct.unpack("<3I", self.read(12, 428))
        self.notes = struct.unpack("<QQ", self.read(16, self.block + 48))
        self.bitmap = ((1 + sub) * self.block, bitmaps * self.block)
        self.table = sum(self.bitmap)
        half = self.bitmap[1] // 2
        bits = self.read(half, self.bitmap[0] + half)
        self.pages = [
            8 * at + bit
            for at, byte in enumerate(bits)
            if byte
            for bit in range(8)
            if byte >> bit & 1
        ]
        self.descriptors = {page: self.table + 24 * i for i, page in enumerate(self.pages)}
        table = self.read(24 * len(self.pages), self.table)
        self._uses = collections.Counter(d[0] for d in _DESCRIPTOR.iter_unpack(table))

    # --- by offset in the file

    def read(self, count: int, at: int) -> bytes:
        return os.pread(self._fd, count, at)

    def write(self, at: int, data: bytes) -> None:
        self._journal.append((at, self.read(len(data), at)))
        os.pwrite(self._fd, data, at)

    def append(self, data: bytes) -> int:
        """Put data behind the end, where :meth:`restore` cuts it off; its offset in the file."""
        at = -(-os.fstat(self._fd).st_size // 8) * 8
        os.pwrite(self._fd, data, at)
        return at

    def truncate(self, size: int) -> None:
        self._journal.append((size, None))
        os.ftruncate(self._fd, size)

    def plan(self, at: int, data: bytes | None) -> None:
        """Change this while the dump is read."""
        self._journal.append((at, None if data is None else self.read(len(data), at)))
        self.live.append((at, data))

    def change_now(self, at: int, data: bytes | None) -> None:
        """Do what was planned, in the process that reads."""
        if data is None:
            os.ftruncate(self._fd, at)
        else:
            os.pwrite(self._fd, data, at)

    def restore(self) -> None:
        """Undo all damage."""
        for at, old in reversed(self._journal):
            if old is not None:
                os.pwrite(self._fd, old, at)
            elif at < self.size:
                with self._pristine.open("rb") as file:
                    file.seek(at)
                    os.pwrite(self._fd, file.read(), at)
        os.ftruncate(self._fd, self.size)
        for path in self.extra:
            path.unlink(missing_ok=True)
        self._journal, self.live, self.extra, self.paths = [], [], [], [self.path]

    def close(self) -> None:
        os.close(self._fd)
        self.path.unlink()
        self._pristine.unlink()

    def file(self, name: str, data: bytes) -> Path:
        """A file beside the dump, removed by :meth:`restore`."""
        path = self.path.with_name(f"{self.path.name}-{name}")
        path.write_bytes(data)
        self.extra.append(path)
        return path

    # --- by physical address

    def where(self, physical: int) -> int | None:
        """Offset in the file of a byte of memory, in a page with data of its own."""
        for start, size, offset in self.segments:
            if start <= physical < start + size:
                return offset + physical - start
        place = self.descriptors.get(physical // PAGE)
        if place is None:
            return None
        offset, size, flags, more = _DESCRIPTOR.unpack(self.read(24, place))
        if not self.table <= offset < 2 * self.size:
            return None  # damaged before
        if flags & (_ZLIB | _ZSTD | _OTHERS) or self._uses[offset] > 1:
            data = _unpacked(self.read(size, offset), flags)
            if data is None:
                return None
            offset = self.append(data)
            self.write(place, _DESCRIPTOR.pack(offset, PAGE, 0, more))
        return offset + physical % PAGE

    def peek(self, physical: int, count: int) -> bytes:
        """Memory up to the end of its page; nothing if it is not in the dump."""
        at = self.where(physical)
        return b"" if at is None else self.read(min(count, PAGE - physical % PAGE), at)

    def word(self, physical: int) -> int | None:
        data = self.peek(physical, 8)
        return int.from_bytes(data, "little") if len(data) == 8 else None

    def poke(self, physical: int, data: bytes) -> None:
        while data:
            count = min(len(data), PAGE - physical % PAGE)
            at = self.where(physical)
            if at is not None:
                self.write(at, data[:count])
            physical, data = physical + count, data[count:]

    def lose(self, physical: int) -> None:
        """Take a page out of the dump; from an ELF dump, where it can only become zero."""
        place = self.descriptors.get(physical // PAGE)
        if place is not None:
            self.write(place, _DESCRIPTOR.pack(0, PAGE, 0, 0))
        else:
            self.poke(physical & -PAGE, bytes(PAGE))


def _unpacked(data: bytes, flags: int) -> bytes | None:
    try:
        if flags & _ZLIB:
            return zlib.decompress(data)
        if flags & _ZSTD:
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 16)
    except (zlib.error, zstandard.ZstdError):
        return None
    return None if flags & _OTHERS else data


def unpack(source: Path, path: Path) -> None:
    """Copy a dump, out of zst or xz if it is in one."""
    openers: dict[str, Callable[..., object]] = {".zst": zstandard.open, ".xz": lzma.open}
    opener = openers.get(source.suffix)
    if opener is None:
        shutil.copyfile(source, path)
        return
    with opener(source, "rb") as packed, path.open("wb") as file:  # type: ignore[attr-defined]
        shutil.copyfileobj(packed, file, 1 << 20)
