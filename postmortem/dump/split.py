"""``makedumpfile --split``: one dump in several files, each with a range of pages.

Every part carries the same headers, notes and bitmaps; ``start_pfn`` and
``end_pfn`` in the sub header say which pages lie in it. The parts have no
number: their order, and what is missing, follows from the ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postmortem.dump import kdump
from postmortem.errors import UsageError
from postmortem.inputs.flattened import SIGNATURE as FLATTENED_SIGNATURE
from postmortem.inputs.flattened import FlattenedFile
from postmortem.inputs.source import PlainFile, Source, shown

MAX_NEIGHBOURS = 4096
"""Files of a directory that are looked at for the other parts."""


@dataclass(frozen=True)
class Part:
    """One file of a set."""

    path: Path
    header: kdump.KdumpHeader
    notes: bytes
    """Digest of the CPUs' registers and VMCOREINFO."""

    def same_dump(self, other: Part) -> bool:
        """Parts of one dump differ in nothing but the range of pages.

        The registers that the CPUs died with are in every part, and are
        never the same twice.
        """
        mine, others = self.header, other.header
        return (
            self.notes == other.notes
            and mine.timestamp == others.timestamp
            and mine.utsname == others.utsname
            and mine.dump_level == others.dump_level
            and mine.compression == others.compression
            and mine.max_pfn == others.max_pfn
            and mine.block_size == others.block_size
            and mine.bitmap_blocks == others.bitmap_blocks
            and mine.phys_base == others.phys_base
        )

    def overlaps(self, other: Part) -> bool:
        """Whether both claim the same pages."""
        mine, others = self.header, other.header
        return mine.start_pfn < others.end_pfn and others.start_pfn < mine.end_pfn


def read_part(path: Path) -> Part | None:
    """The part that this file is; ``None`` when it is none."""
    try:
        source = PlainFile(path)
    except OSError:
        return None
    try:
        image: Source = source
        head = source.pread(len(FLATTENED_SIGNATURE), 0)
        if head == FLATTENED_SIGNATURE:
            image = FlattenedFile(source, stop_after=1 << 16)
            if kdump.read_header(image).split:
                image = FlattenedFile(source)
        elif not head.startswith(kdump.SIGNATURE):
            return None
        header = kdump.read_header(image)
        if not header.split:
            return None
        notes = _digest(image, header)
    except (kdump.BadKdumpError, OSError):
        return None
    finally:
        source.close()
    return Part(path, header, notes)


def _digest(image: Source, header: kdump.KdumpHeader) -> bytes:
    from hashlib import sha256

    notes = kdump.read_blob(image, header.note_offset, header.note_size, kdump.MAX_NOTES_BYTES)
    text = kdump.read_blob(
        image, header.vmcoreinfo_offset, header.vmcoreinfo_size, kdump.MAX_VMCOREINFO_BYTES
    )
    return sha256(notes + text).digest()


def find_neighbours(part: Part) -> list[Part]:
    """The parts of the same dump beside this file (any name, same directory).

    What overlaps a part that is already there belongs to another copy.
    """
    found: list[Part] = []
    try:
        paths = sorted(part.path.parent.iterdir())[:MAX_NEIGHBOURS]
    except OSError:
        return []
    for path in paths:
        try:
            if path.name == part.path.name or not path.is_file():
                continue
        except OSError:
            continue
        other = read_part(path)
        if (
            other is not None
            and part.same_dump(other)
            and not any(other.overlaps(known) for known in (part, *found))
        ):
            found.append(other)
    return found


def order_parts(parts: Sequence[Part]) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The parts in the order of memory, and a sentence for each hole between them."""
    ordered = sorted(parts, key=lambda part: (part.header.start_pfn, part.header.end_pfn))
    unique: list[Part] = []
    for part in ordered:
        if unique and part.header.start_pfn == unique[-1].header.start_pfn:
            # A second copy, or after an empty part (small dumps have those) the next one.
            unique.pop()
        unique.append(part)
    missing = []
    block = unique[0].header.block_size
    position = 0
    for part in unique:
        start, end = part.header.start_pfn, part.header.end_pfn
        if end < start:
            raise UsageError(
                f"{shown(part.path)} claims an impossible range of pages:"
                " copy this part of the split dump again"
            )
        if start < position:
            raise UsageError(
                f"{shown(part.path)} overlaps another part of the split dump:"
                " give the parts of one dump only"
            )
        if start > position:
            missing.append(_hole(position * block, start * block))
        position = end
    if position < unique[0].header.max_pfn:
        missing.append(_hole(position * block, unique[0].header.max_pfn * block))
    return tuple(unique), tuple(missing)


def _hole(start: int, end: int) -> str:
    return (
        f"a part of the split dump is missing: physical memory {start:#x}-{end - 1:#x}"
        f" ({(end - start) >> 20} MiB) is not here"
    )
