"""Open kdump-compressed dumps, whole or split.

libkdumpfile reads the pages, behind drgn. Settled here: an empty utsname, a missing
VMCOREINFO, pages that libkdumpfile must not be asked for, and the parts of a split
dump, of which libkdumpfile is given only one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import drgn

from postmortem.dump import elf, kdump, vmcoreinfo
from postmortem.dump.memory import KdumpMemory
from postmortem.dump.opened import (
    NO_TABLES,
    NO_VMCOREINFO,
    Core,
    DumpInfo,
    checked_vmcoreinfo,
    crash_time,
    cut_off_sentence,
    excluded_pages,
    mib,
    platform_of,
    read_notes,
    require_architecture,
    set_core,
)
from postmortem.errors import UnknownInputError
from postmortem.inputs.flattened import SIGNATURE as FLATTENED_SIGNATURE
from postmortem.inputs.flattened import FlattenedFile
from postmortem.inputs.recognise import Input, InputKind
from postmortem.inputs.source import PlainFile, Progress, Source, shown


def open_kdump(
    given: Input, source: PlainFile, image: Source, name: str, progress: Progress | None
) -> Core:
    header = kdump.read_header(image)
    described = _describe_kdump(header, image, name)
    _require_pages(described.pages, name)
    # Given in advance because QEMU leaves the utsname empty but for the machine,
    # from which libkdumpfile does not make out the architecture.
    platform = platform_of(described.arch)
    pages = _pages_program(platform, source)
    _block_pages(pages, described.pages.bad_pages, header.block_size)
    saved = KdumpMemory(pages, [(image, header)])
    cut_off = described.pages.lost_bytes > 0
    text, text_from = checked_vmcoreinfo(described.text, saved, name, cut_off, progress)
    if described.pages.bad_pages:
        bad = described.pages.bad_pages
        program = _guarded_program(platform, described, text, [source], [header], bad)
    else:
        program = drgn.Program(platform, vmcoreinfo=text)
        set_core(program, source)
    memory = KdumpMemory(program, [(image, header)])
    info = _kdump_info(given, header, described, memory, text, text_from, source.size)
    return Core(program, info, memory, (source,))


def _require_pages(pages: kdump.PageCheck, name: str) -> None:
    if not pages.pages:
        raise UnknownInputError(
            f"{name} holds no memory: its bitmap says that no page was saved, so the dump was"
            " filtered too hard or given up; take it again, or analyse the kernel log"
        )


def _pages_program(platform: drgn.Platform, source: PlainFile) -> drgn.Program:
    """A program for reading physical pages only: libkdumpfile finds no tables to walk."""
    program = drgn.Program(platform, vmcoreinfo=NO_TABLES)
    set_core(program, source)
    return program


def _guarded_program(
    platform: drgn.Platform,
    contents: _KdumpContents,
    text: bytes,
    sources: Sequence[PlainFile],
    headers: Sequence[kdump.KdumpHeader],
    bad_pages: Sequence[tuple[int, int]],
) -> drgn.Program:
    """A program for a damaged dump: drgn walks the page tables, no bad page is ever asked for.

    libkdumpfile would read page tables by itself, past every guard.
    """
    program = _program_of_notes(platform, contents.notes, text)
    for source, header in zip(sources, headers, strict=True):
        _add_part(program, _pages_program(platform, source), header)
    _block_pages(program, bad_pages, headers[0].block_size)
    return program


def _program_of_notes(platform: drgn.Platform, notes: bytes, text: bytes) -> drgn.Program:
    """A program without memory that knows the CPUs' registers.

    drgn takes these from a core's notes alone, so it is given an ELF core of nothing else.
    """
    program = drgn.Program(platform, vmcoreinfo=text)
    file = os.memfd_create("notes")
    try:
        os.write(file, elf.core_of_notes(notes))
        program.set_core_dump(os.dup(file))  # it is closed there, also when that fails
        return program
    except Exception:  # of many classes, for notes that contradict themselves
        program = drgn.Program(platform)
        program.set_linux_kernel_custom(text, False)
        return program
    finally:
        os.close(file)


def _add_part(program: drgn.Program, part: drgn.Program, header: kdump.KdumpHeader) -> None:
    """Let ``part`` read the pages that its file holds."""

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data: bytes = part.read(address, count, physical=True)
        return data

    start, end = header.first_pfn * header.block_size, header.last_pfn * header.block_size
    if start < end:
        program.add_memory_segment(start, end - start, read, physical=True)


def _block_pages(program: drgn.Program, ranges: Sequence[tuple[int, int]], block_size: int) -> None:
    """Keep libkdumpfile from pages whose data is not in the file."""
    for start, end in ranges:
        program.add_memory_segment(
            start * block_size, (end - start) * block_size, _not_in_file, physical=True
        )


def _not_in_file(address: int, count: int, offset: int, physical: bool) -> bytes:
    raise drgn.FaultError("the file is cut off or damaged at this page", address)


@dataclass(frozen=True)
class _KdumpContents:
    text: bytes
    notes: bytes
    prstatus: int
    registers: tuple[bytes, ...]
    arch: str
    pages: kdump.PageCheck


def _describe_kdump(header: kdump.KdumpHeader, image: Source, name: str) -> _KdumpContents:
    """Check what libkdumpfile would take on trust, and read the notes."""
    if not header.is_64bit or header.order != "<":
        machine = header.utsname.machine or "an unknown machine"
        require_architecture(machine if machine != "x86_64" else "i386", name)
    raw = kdump.read_blob(image, header.note_offset, header.note_size, kdump.MAX_NOTES_BYTES)
    if header.note_size and not raw:
        raise kdump.BadKdumpError("its notes are said to lie outside the file")
    said = read_notes(elf.parse_notes(raw, header.order))
    text = kdump.read_blob(
        image, header.vmcoreinfo_offset, header.vmcoreinfo_size, kdump.MAX_VMCOREINFO_BYTES
    )
    if header.vmcoreinfo_size and not text:
        raise kdump.BadKdumpError("its VMCOREINFO is said to lie outside the file")
    if header.erase_size and not kdump.read_blob(
        image, header.erase_offset, header.erase_size, kdump.MAX_NOTES_BYTES
    ):
        raise kdump.BadKdumpError("its eraseinfo is said to lie outside the file")
    arch = header.utsname.machine or said.arch or "an unknown machine"
    require_architecture(arch, name)
    pages = kdump.check_pages(image, header)
    if pages.bad_pages and sum(end - start for start, end in pages.bad_pages) == pages.pages:
        raise kdump.BadKdumpError("none of its pages is in the file")
    text = said.vmcoreinfo or text.rstrip(b"\0")
    registers = tuple(said.registers)
    return _KdumpContents(text, raw, said.prstatus, registers, arch, pages)


def _kdump_info(
    given: Input,
    header: kdump.KdumpHeader,
    contents: _KdumpContents,
    memory: KdumpMemory,
    text: bytes,
    text_from: str,
    size: int,
) -> DumpInfo:
    lacks = []
    level = header.dump_level or 0
    pages = contents.pages
    if pages.lost_bytes:
        lacks.append(cut_off_sentence(pages.lost_bytes))
    elif pages.bad_pages:
        lacks.append("some page descriptors make no sense: the file is damaged")
    if header.incomplete or pages.empty_pages:
        never = f" ({mib(pages.empty_pages * header.block_size)} of memory were not written)"
        lacks.append(
            "makedumpfile ran out of space, the dump is incomplete"
            + (never if pages.empty_pages else "")
        )
    if header.status & kdump.FLAG_EXCLUDED_VMEMMAP:
        lacks.append("the page structs of left-out pages are not in the dump (makedumpfile -e)")
    lacks.extend(given.missing_parts)
    if not contents.prstatus:
        lacks.append("the registers of the CPUs were not saved (no PRSTATUS note)")
    values = vmcoreinfo.parse(text) if text_from != "none" else {}
    if text_from == "none":
        lacks.append(NO_VMCOREINFO)
    compression = None if header.compression == "none" else header.compression
    qemu = not header.utsname.release
    return DumpInfo(
        paths=given.paths,
        kind=InputKind.VMCORE,
        format=f"kdump-compressed ({compression or 'not compressed'})",
        compression=compression,
        outer_compression=None,
        size=size,
        arch=contents.arch,
        written_by="QEMU" if qemu else "makedumpfile",
        osrelease=values.get("OSRELEASE", ""),
        build_id=vmcoreinfo.build_id(values),
        vmcoreinfo=MappingProxyType(values),
        vmcoreinfo_from=text_from,
        utsname=header.utsname if header.utsname.release else None,
        timestamp=header.timestamp or crash_time(values),
        cpus=header.nr_cpus or None,
        cpus_with_registers=contents.prstatus,
        registers=contents.registers,
        memory_bytes=memory.memory_bytes,
        saved_bytes=memory.saved_bytes,
        memory_end=header.max_pfn * header.block_size,
        dump_level=None if qemu else header.dump_level,
        excluded=() if qemu else excluded_pages(level),
        zero_filled_bytes=0,
        truncated_bytes=pages.lost_bytes,
        missing_parts=given.missing_parts,
        complete=bool(values)
        and not (pages.bad_pages or header.incomplete or pages.empty_pages or given.missing_parts),
        lacks=tuple(lacks),
    )


def open_split(given: Input, progress: Progress | None = None) -> Core:
    """One Program per part reads the pages; one over them all translates addresses.

    libkdumpfile is given one file only. The first part's Program walks the
    kernel's page tables by itself and asks the others for what they hold, so
    nothing is copied.
    """
    names = [shown(path) for path in given.paths]
    sources = [PlainFile(path) for path in given.paths]
    images: list[tuple[Source, kdump.KdumpHeader]] = []
    contents: list[_KdumpContents] = []
    for source, name in zip(sources, names, strict=True):
        head = source.pread(len(FLATTENED_SIGNATURE), 0)
        image: Source = FlattenedFile(source) if head == FLATTENED_SIGNATURE else source
        header = kdump.read_header(image)
        contents.append(_describe_kdump(header, image, name))
        images.append((image, header))
    platform = platform_of(contents[0].arch)
    pages = kdump.PageCheck(
        pages=sum(part.pages.pages for part in contents),
        lost_bytes=sum(part.pages.lost_bytes for part in contents),
        empty_pages=sum(part.pages.empty_pages for part in contents),
        bad_pages=tuple(bad for part in contents for bad in part.pages.bad_pages),
    )
    headers = [header for _, header in images]
    _require_pages(pages, names[0])
    first = _pages_program(platform, sources[0])
    for source, header in zip(sources[1:], headers[1:], strict=True):
        _add_part(first, _pages_program(platform, source), header)
    _block_pages(first, pages.bad_pages, headers[0].block_size)
    saved, cut_off = KdumpMemory(first, images), pages.lost_bytes > 0
    text, text_from = checked_vmcoreinfo(contents[0].text, saved, names[0], cut_off, progress)
    if pages.bad_pages:
        main = _guarded_program(platform, contents[0], text, sources, headers, pages.bad_pages)
    else:
        with _environment("DRGN_PREFER_PGTABLE_READER", "1"):
            programs = [drgn.Program(platform, vmcoreinfo=text) for _ in sources]
            for part, source in zip(programs, sources, strict=True):
                set_core(part, source)
        main = programs[0]
        for part, header in zip(programs[1:], headers[1:], strict=True):
            _add_part(main, part, header)
    memory = KdumpMemory(main, images)
    described = replace(contents[0], pages=pages)
    size = sum(source.size for source in sources)
    info = _kdump_info(given, images[0][1], described, memory, text, text_from, size)
    info = replace(info, format=f"{info.format}, split ({len(sources)} parts)")
    return Core(main, info, memory, tuple(sources))


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """libdrgn looks into the environment when a core is set."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
