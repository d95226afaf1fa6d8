"""ELF headers and notes, as far as dumps, kernels and modules need them.

The layouts are those of elf(5). Every count and offset in the file is a claim
that is checked against the file's size before anything is read or allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from postmortem.inputs.source import Source

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_NOTE = 1, 4
SHT_NOBITS = 8
PN_XNUM = 0xFFFF
"""e_phnum when the real number is in sh_info of section 0."""

NT_PRSTATUS, NT_PRPSINFO, NT_TASKSTRUCT, NT_AUXV = 1, 3, 4, 6
NT_FILE, NT_SIGINFO = 0x46494C45, 0x53494749
NT_GNU_BUILD_ID = 3

MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""e_machine to the name that uname -m gives."""

MAX_HEADERS = 1 << 20
MAX_NOTES_BYTES = 64 << 20
"""A PRSTATUS note is some 350 bytes per CPU: 64 MiB is far beyond any machine."""
MAX_NOTES = 1 << 17


class BadElfError(Exception):
    """The headers contradict themselves or the size of the file."""


class Segment(NamedTuple):
    """One program header (``Elf64_Phdr``); addresses and sizes in bytes."""

    type: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class Section(NamedTuple):
    """One section header (``Elf64_Shdr``) with its name."""

    name: str
    type: int
    offset: int
    size: int
    address: int = 0
    """Where it is linked to; 0 for what is not in memory."""


class Note(NamedTuple):
    """One entry of a PT_NOTE segment."""

    name: bytes
    type: int
    desc: bytes


class Elf(NamedTuple):
    """What the ELF header says, with the program headers that could be read."""

    type: int
    machine: str
    is_64bit: bool
    is_little_endian: bool
    segments: tuple[Segment, ...]
    lost_segments: int
    """Program headers that the file claims to have but that lie behind its end."""
    shoff: int
    shnum: int
    shentsize: int
    shstrndx: int

    @property
    def order(self) -> str:
        """Byte order for :mod:`struct`."""
        return "<" if self.is_little_endian else ">"


def read_elf(source: Source) -> Elf:
    """Read the header and the program headers."""
    head = source.pread(64, 0)
    if len(head) < 52 or head[:4] != b"\x7fELF":
        raise BadElfError("it has no ELF header")
    if head[4] not in (1, 2) or head[5] not in (1, 2):
        raise BadElfError("its ELF class or byte order does not exist")
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    if wide and len(head) < 64:
        raise BadElfError("it ends inside the ELF header")
    fields = struct.unpack_from(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), head, 16)
    e_type, machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx = fields
    # e_ehsize is not looked at: QEMU up to 7.2 writes 8 there.
    if phnum == PN_XNUM:
        first = source.pread(64 if wide else 40, shoff)
        sh_info = 44 if wide else 28
        if len(first) >= sh_info + 4:
            (phnum,) = struct.unpack_from(order + "I", first, sh_info)
    segments, lost = _read_segments(source, order, wide, phoff, phentsize, phnum)
    return Elf(
        e_type,
        MACHINES.get(machine, f"machine {machine}"),
        wide,
        order == "<",
        segments,
        lost,
        shoff,
        shnum,
        shentsize,
        shstrndx,
    )


def _read_segments(
    source: Source, order: str, wide: bool, phoff: int, phentsize: int, phnum: int
) -> tuple[tuple[Segment, ...], int]:
    layout = struct.Struct(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if phnum == 0:
        return (), 0
    if phentsize != layout.size:
        raise BadElfError(f"its program headers claim to have {phentsize} bytes each")
    if phnum > MAX_HEADERS:
        raise BadElfError(f"it claims to have {phnum} program headers")
    table = source.pread(phnum * phentsize, phoff)
    found = len(table) // phentsize
    segments = []
    for fields in layout.iter_unpack(table[: found * phentsize]):
        if wide:
            p_type, _, offset, vaddr, paddr, filesz, memsz, align = fields
        else:
            p_type, offset, vaddr, paddr, filesz, memsz, _, align = fields
        segments.append(Segment(p_type, offset, vaddr, paddr, filesz, memsz, align))
    return tuple(segments), phnum - found


def read_sections(source: Source, elf: Elf) -> tuple[Section, ...]:
    """Read the section headers with their names; empty when there are none."""
    layout = struct.Struct(elf.order + ("IIQQQQIIQQ" if elf.is_64bit else "IIIIIIIIII"))
    if elf.shentsize != layout.size or not elf.shnum:
        return ()
    table = source.pread(elf.shnum * layout.size, elf.shoff)
    rows = list(layout.iter_unpack(table[: len(table) // layout.size * layout.size]))
    if elf.shstrndx >= len(rows):
        return ()
    names = source.pread(min(rows[elf.shstrndx][5], 1 << 20), rows[elf.shstrndx][4])
    sections = []
    for row in rows:
        end = names.find(b"\0", row[0])
        name = names[row[0] : end].decode("ascii", "replace") if 0 <= row[0] < end else ""
        sections.append(Section(name, row[1], row[4], row[5], row[3]))
    return tuple(sections)


def parse_notes(data: bytes, order: str = "<", align: int = 4) -> Iterator[Note]:
    """The notes in ``data``; stops where the next one would not fit."""
    layout = struct.Struct(order + "III")
    mask = 7 if align == 8 else 3
    position = 0
    for _ in range(MAX_NOTES):
        if position + layout.size > len(data):
            return
        namesz, descsz, note_type = layout.unpack_from(data, position)
        name_at = position + layout.size
        desc_at = (name_at + namesz + mask) & ~mask
        end = desc_at + descsz
        if end > len(data):
            return
        name = data[name_at : name_at + namesz].rstrip(b"\0")
        yield Note(name, note_type, data[desc_at:end])
        position = (end + mask) & ~mask


def read_notes(source: Source, elf: Elf) -> Iterator[Note]:
    """The notes of every PT_NOTE segment."""
    budget = MAX_NOTES_BYTES
    for segment in elf.segments:
        if segment.type == PT_NOTE and budget > 0:
            data = source.pread(min(segment.filesz, budget), segment.offset)
            budget -= len(data)
            yield from parse_notes(data, elf.order, segment.align)


def read_build_id(source: Source, elf: Elf) -> str | None:
    """The GNU build id in hex, from note segments or (modules) from note sections."""
    notes = list(read_notes(source, elf))
    for section in read_sections(source, elf):
        if section.name.startswith(".note") and section.type != SHT_NOBITS:
            notes += parse_notes(
                source.pread(min(section.size, 1 << 16), section.offset), elf.order
            )
    for note in notes:
        if note.name == b"GNU" and note.type == NT_GNU_BUILD_ID:
            return note.desc.hex()
    return None


_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")


def core_of_notes(notes: bytes, machine: int = 62) -> bytes:
    """An ELF core that holds notes and no memory."""
    ident = b"\x7fELF\x02\x01\x01"
    sizes = (_HEADER.size, _SEGMENT.size, 1, 0, 0, 0)
    head = _HEADER.pack(ident, ET_CORE, machine, 1, 0, _HEADER.size, 0, 0, *sizes)
    at = _HEADER.size + _SEGMENT.size
    return head + _SEGMENT.pack(PT_NOTE, 0, at, 0, 0, len(notes), len(notes), 4) + notes
