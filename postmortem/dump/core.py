"""Open a dump: a ``drgn.Program`` that reads its memory, and what the dump is and lacks.

drgn reads ELF and kdump-compressed files itself. What it can't know or gets
wrong is settled here, before and after: a missing VMCOREINFO note, an empty
utsname, parts of a split dump, files that end too early, headers that lie,
and QEMU's identity-mapped segments, which would make a NULL pointer readable.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from postmortem.dump import elf, kdump, vmcoreinfo
from postmortem.dump.compressed import Unpacked
from postmortem.dump.flattened import SIGNATURE as FLATTENED_SIGNATURE
from postmortem.dump.flattened import FlattenedFile, flattened_copy
from postmortem.dump.linear import file_reader, map_linear
from postmortem.dump.memory import ElfMemory, KdumpMemory, Memory, PhysicalRange
from postmortem.dump.recognise import Format, Input, InputKind, recognise
from postmortem.dump.source import PlainFile, Progress, Source, shown
from postmortem.errors import (
    PostmortemError,
    UnknownInputError,
    UnreadableInputError,
    UsageError,
)

# drgn looks for plug-ins of its own among all installed packages when a core
# is set: 60 ms, and somebody else's code in our analysis.
os.environ.setdefault("DRGN_DISABLE_PLUGINS", "*")
import drgn

# Its warnings would go to stderr, which belongs to the user.
logging.getLogger("drgn").addHandler(logging.NullHandler())

SUPPORTED_ARCHITECTURES = ("x86_64",)
_PRSTATUS_BYTES = {336: "x86_64", 392: "aarch64", 376: "riscv64"}
"""sizeof(struct elf_prstatus): tells the machine when the header does not."""

USER_SPACE_END = 1 << 56
"""x86-64 with five-level paging; no kernel mapping lies below."""


@dataclass(frozen=True)
class DumpInfo:
    """What a dump is, in words and numbers. Absent parts are ``None``."""

    paths: tuple[Path, ...]
    kind: InputKind
    format: str
    """For people: ``ELF vmcore``, ``kdump-compressed (zlib), flattened, inside zstd``."""
    compression: str | None
    """Of the pages: ``zlib``, ``lzo``, ``snappy``, ``zstd``; ``None`` for none."""
    outer_compression: str | None
    size: int
    """Bytes on the disk, all parts together."""
    arch: str
    written_by: str | None
    """``QEMU`` or ``makedumpfile`` where the file shows it."""
    osrelease: str
    build_id: str | None
    """Of the kernel, in hex; VMCOREINFO has it since v5.9."""
    vmcoreinfo: Mapping[str, str]
    vmcoreinfo_from: str
    """``note`` or ``memory`` (no note in the file; found in the dump's memory)."""
    utsname: kdump.Utsname | None
    timestamp: float | None
    """When the dump was written or, without that, when the kernel crashed; epoch seconds."""
    cpus: int | None
    """CPUs that the dump's header names."""
    cpus_with_registers: int
    """PRSTATUS notes: CPUs whose registers were saved."""
    memory_bytes: int
    """Physical memory that the machine had, as far as the dump tells."""
    saved_bytes: int
    """Physical memory that is in the dump."""
    memory_end: int
    """One past the highest physical address that the dump knows of."""
    dump_level: int | None
    """makedumpfile's ``-d``; ``None`` where the format does not record it."""
    excluded: tuple[str, ...]
    """The page types that the dump level left out, in words."""
    zero_filled_bytes: int
    """ELF: bytes that are not in the file and read as zeroes (p_filesz < p_memsz)."""
    truncated_bytes: int
    """At least so many bytes are missing at the end of the file."""
    missing_parts: tuple[str, ...]
    complete: bool
    """Nothing is missing but what the dump level left out on purpose."""
    lacks: tuple[str, ...]
    """What the dump does not have, one sentence each."""


_EXCLUDED = (
    (1, "zero pages"),
    (2, "page cache"),
    (4, "page cache with private data"),
    (8, "user memory"),
    (16, "free pages"),
)


def excluded_pages(level: int) -> tuple[str, ...]:
    """makedumpfile(8)'s dump level in words."""
    return tuple(name for bit, name in _EXCLUDED if level & bit)


@dataclass
class Core:
    """An open dump."""

    program: drgn.Program
    info: DumpInfo
    memory: Memory
    """The dump's physical memory in bulk: ranges, chunks, search."""
    _keep: tuple[object, ...] = ()
    """Files and programs that :attr:`program` reads from."""

    def saved_ranges(self) -> Iterator[PhysicalRange]:
        """The physical memory that the dump holds, ascending."""
        return self.memory.ranges()

    def read_physical(self, address: int, size: int) -> bytes:
        """Physical memory; raises :class:`drgn.FaultError` where it was not saved."""
        data: bytes = self.program.read(address, size, physical=True)
        return data

    def chunks(self, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
        """All saved memory, see :meth:`postmortem.dump.memory.Memory.chunks`."""
        return self.memory.chunks(overlap)

    def search(
        self, *needles: bytes, alignment: int = 1, limit: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Where in saved memory, see :meth:`postmortem.dump.memory.Memory.search`."""
        return self.memory.search(*needles, alignment=alignment, limit=limit)


def open_core(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    progress: Progress | None = None,
) -> Core:
    """Open a dump, the parts of a split dump, or ``/proc/kcore``.

    ``progress(what, done, total)`` is called with bytes while something long
    runs. Raises :class:`~postmortem.errors.PostmortemError`.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    given = recognise(paths)
    return open_input(given, progress=progress)


def open_input(given: Input, *, progress: Progress | None = None) -> Core:
    """Open what :func:`~postmortem.dump.recognise.recognise` found."""
    name = shown(given.paths[0])
    if given.kind is InputKind.LOG:
        raise UsageError(f"{name} is a log, not a dump: analyse it as a log")
    try:
        if given.kind is InputKind.KCORE:
            return _open_kcore(given)
        if given.split:
            return _open_split(given)
        source = PlainFile(given.paths[0])
        unpacked = None
        if given.outer:
            unpacked = Unpacked(source, given.outer, name, progress)
            source = PlainFile(given.paths[0], os.dup(unpacked.file.fileno()))
        core = _open_file(given, source, name, progress)
    except (elf.BadElfError, kdump.BadKdumpError) as error:
        raise UnknownInputError(
            f"{name} is a damaged dump, {error}: copy it again from its origin"
        ) from None
    except OSError as error:
        raise UnreadableInputError(f"{name} can't be read: {error.strerror or error}") from None
    except drgn.FaultError as error:
        raise UnknownInputError(
            f"{name} is a damaged dump, its kernel page tables can't be read"
            f" ({shown(str(error))}): copy it again from its origin"
        ) from None
    except PostmortemError:
        raise
    except Exception as error:
        # drgn and libkdumpfile raise many kinds for a file that contradicts itself.
        raise UnknownInputError(
            f"{name} is a damaged dump ({shown(str(error))}): copy it again from its origin"
        ) from None
    size = given.paths[0].stat().st_size
    info = replace(core.info, size=size)
    if given.outer:
        info = replace(
            info,
            outer_compression=given.outer,
            format=f"{info.format}, inside {given.outer}",
        )
    if unpacked is not None and unpacked.broken:
        info = _limited(info, f"the {given.outer} data around the dump is cut off or damaged")
    return replace(core, info=info)


def _limited(info: DumpInfo, sentence: str) -> DumpInfo:
    return replace(info, complete=False, lacks=(*info.lacks, sentence))


def _open_file(given: Input, source: PlainFile, name: str, progress: Progress | None) -> Core:
    image: Source = FlattenedFile(source) if given.flattened else source
    if isinstance(image, FlattenedFile) and not (image.ended and given.format is Format.KDUMP):
        # libkdumpfile reads whole flattened kdump files as they are; these it
        # refuses (cut off), or has no guard against what they claim (ELF).
        flat, source = image, PlainFile(given.paths[0], flattened_copy(image, name, progress))
        core = _open_plain(given, source, source, name, progress)
        if not flat.ended:
            sentence = "the flattened stream ends without its end mark: it was cut off"
            core = replace(core, info=_limited(core.info, sentence))
    else:
        core = _open_plain(given, source, image, name, progress)
    if given.flattened:
        core = replace(core, info=replace(core.info, format=f"{core.info.format}, flattened"))
    return core


def _open_plain(
    given: Input, source: PlainFile, image: Source, name: str, progress: Progress | None
) -> Core:
    if given.format is Format.KDUMP:
        return _open_kdump(given, source, image, name, progress)
    return _open_elf(given, source, image, name, progress)


# ELF


@dataclass
class _Notes:
    """What the notes of a dump say."""

    vmcoreinfo: bytes = b""
    prstatus: int = 0
    arch: str | None = None
    qemu: bool = False


def _read_notes(notes: Iterator[elf.Note]) -> _Notes:
    said = _Notes()
    for note in notes:
        if note.name == b"VMCOREINFO":
            said.vmcoreinfo = note.desc.rstrip(b"\0")
        elif note.name == b"CORE" and note.type == elf.NT_PRSTATUS:
            said.prstatus += 1
            said.arch = said.arch or _PRSTATUS_BYTES.get(len(note.desc))
        elif note.name == b"QEMU":
            said.qemu = True
    return said


def _open_elf(
    given: Input, source: PlainFile, image: Source, name: str, progress: Progress | None
) -> Core:
    header = elf.read_elf(image)
    _require_architecture(header.machine, name)
    said = _read_notes(elf.read_notes(image, header))
    loads = [s for s in header.segments if s.type == elf.PT_LOAD and s.memsz]
    memory = ElfMemory(image, loads)
    if not memory.saved_bytes:
        raise UnknownInputError(
            f"{name} holds no memory, only headers: it was cut off; copy it again from its origin"
        )
    text, text_from = said.vmcoreinfo, "note"
    if not vmcoreinfo.is_plausible(text):
        text, text_from = (
            _find_vmcoreinfo(memory, name, memory.truncated_bytes > 0, progress),
            "memory",
        )
    program = drgn.Program(vmcoreinfo=text) if text_from == "memory" else drgn.Program()
    _set_core(program, source, name)
    if text_from == "memory" and not any(segment.paddr for segment in loads):
        # Without a VMCOREINFO note drgn takes p_paddr = 0 for absent.
        for address, size, offset in memory.pieces:
            reader = file_reader(source, offset - address)
            program.add_memory_segment(address, size, reader, physical=True)
    if any(segment.vaddr < USER_SPACE_END for segment in loads):
        # dump-guest-memory without paging writes p_vaddr = p_paddr: drgn
        # would read physical memory through a NULL pointer.
        program.add_memory_segment(0, USER_SPACE_END, _unmapped)
        map_linear(program, memory, source, vmcoreinfo.parse(text))
    lacks = []
    if memory.zero_filled_bytes:
        lacks.append(
            f"{_mib(memory.zero_filled_bytes)} of memory are not in the file and read as zeroes:"
            " makedumpfile left them out, and what was in them can't be told from real zeroes"
        )
    truncated = memory.truncated_bytes
    if truncated or header.lost_segments:
        lacks.append(_cut_off(truncated) if truncated else "the file ends in its program headers")
    values = vmcoreinfo.parse(text)
    if not said.prstatus:
        lacks.append("the registers of the CPUs were not saved (no PRSTATUS note)")
    info = DumpInfo(
        paths=given.paths,
        kind=InputKind.VMCORE,
        format="ELF vmcore",
        compression=None,
        outer_compression=None,
        size=source.size,
        arch=header.machine,
        written_by="makedumpfile" if memory.zero_filled_bytes else "QEMU" if said.qemu else None,
        osrelease=values.get("OSRELEASE", ""),
        build_id=vmcoreinfo.build_id(values),
        vmcoreinfo=MappingProxyType(values),
        vmcoreinfo_from=text_from,
        utsname=None,
        timestamp=_crash_time(values),
        cpus=None,
        cpus_with_registers=said.prstatus,
        memory_bytes=memory.memory_bytes,
        saved_bytes=memory.saved_bytes,
        memory_end=memory.end,
        dump_level=None,
        excluded=(),
        zero_filled_bytes=memory.zero_filled_bytes,
        truncated_bytes=truncated,
        missing_parts=(),
        complete=not (truncated or header.lost_segments),
        lacks=tuple(lacks),
    )
    return Core(program, info, memory, (source,))


def _unmapped(address: int, count: int, offset: int, physical: bool) -> bytes:
    raise drgn.FaultError("no kernel mapping at this address", address)


def _set_core(program: drgn.Program, source: PlainFile, name: str) -> None:
    # drgn closes the descriptor that it is given, also when it fails.
    program.set_core_dump(os.dup(source.fd))


def _require_architecture(arch: str, name: str) -> None:
    if arch not in SUPPORTED_ARCHITECTURES:
        raise UnknownInputError(
            f"{name} is a dump of {shown(arch)}, which is not supported yet"
            f" (only {', '.join(SUPPORTED_ARCHITECTURES)} is): open it with drgn or crash"
        )


def _find_vmcoreinfo(memory: Memory, name: str, cut_off: bool, progress: Progress | None) -> bytes:
    total, done = memory.saved_bytes, 0

    def chunks() -> Iterator[tuple[int, bytes]]:
        nonlocal done
        for address, data in memory.chunks(overlap=8192):
            yield address, data
            done += len(data)
            if progress:
                progress("looking for VMCOREINFO", min(done, total), total)

    def is_true(text: bytes) -> bool:
        address = vmcoreinfo.utsname_address(text)
        return address is not None and memory.read(address, 6) == b"Linux\0"

    text = vmcoreinfo.find(chunks(), is_true)
    if text is None:
        raise UnknownInputError(
            f"{name} has no VMCOREINFO note and no kernel's VMCOREINFO is in its memory:"
            + (
                " it is cut off too early, copy it again"
                if cut_off
                else " it is the dump of something else than a running Linux, or lacks that page"
            )
        )
    return text


def _crash_time(values: Mapping[str, str]) -> float | None:
    try:
        seconds = int(values["CRASHTIME"])
    except (KeyError, ValueError):
        return None
    return float(seconds) if 0 < seconds < 1 << 34 else None


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size >= 1 << 20 else f"{size} bytes"


def _cut_off(size: int) -> str:
    return f"the file is cut off: at least {_mib(size)} are missing at its end"


# kdump-compressed


def _open_kdump(
    given: Input, source: PlainFile, image: Source, name: str, progress: Progress | None
) -> Core:
    header = kdump.read_header(image)
    described = _describe_kdump(header, image, name)
    # Given in advance because QEMU leaves the utsname empty but for the machine,
    # from which libkdumpfile does not make out the architecture.
    platform = drgn.Platform(drgn.Architecture.X86_64)
    text, text_from = described.text, "note"
    if not vmcoreinfo.is_plausible(text):
        probe = drgn.Program(platform, vmcoreinfo=_PROBE)
        _set_core(probe, source, name)
        _block_pages(probe, described.pages.bad_pages, header.block_size)
        memory = KdumpMemory(probe, [(image, header)])
        text, text_from = (
            _find_vmcoreinfo(memory, name, described.pages.lost_bytes > 0, progress),
            "memory",
        )
    program = drgn.Program(platform, vmcoreinfo=text)
    bad = described.pages.bad_pages
    with _environment("DRGN_PREFER_PGTABLE_READER", "1" if bad else "0"):
        _set_core(program, source, name)
    _block_pages(program, bad, header.block_size)
    memory = KdumpMemory(program, [(image, header)])
    info = _kdump_info(given, header, described, memory, text, text_from, source.size)
    return Core(program, info, memory, (source,))


def _block_pages(program: drgn.Program, ranges: Sequence[tuple[int, int]], block_size: int) -> None:
    """Keep libkdumpfile from pages whose data is not in the file.

    Only physical reads come through segments: the program must translate
    addresses itself.
    """
    for start, end in ranges:
        program.add_memory_segment(
            start * block_size, (end - start) * block_size, _not_in_file, physical=True
        )


def _not_in_file(address: int, count: int, offset: int, physical: bool) -> bytes:
    raise drgn.FaultError("the file is cut off or damaged at this page", address)


_PROBE = (
    b"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82000000\n"
    b"NUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n"
)
"""Lets libkdumpfile open a dump without VMCOREINFO, for reading physical pages only."""


@dataclass(frozen=True)
class _KdumpContents:
    text: bytes
    prstatus: int
    arch: str
    pages: kdump.PageCheck


def _describe_kdump(header: kdump.KdumpHeader, image: Source, name: str) -> _KdumpContents:
    """Check what libkdumpfile would take on trust, and read the notes."""
    if not header.is_64bit or header.order != "<":
        machine = header.utsname.machine or "an unknown machine"
        _require_architecture(machine if machine != "x86_64" else "i386", name)
    raw = kdump.read_blob(image, header.note_offset, header.note_size, kdump.MAX_NOTES_BYTES)
    if header.note_size and not raw:
        raise kdump.BadKdumpError("its notes are said to lie outside the file")
    said = _read_notes(elf.parse_notes(raw, header.order))
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
    _require_architecture(arch, name)
    pages = kdump.check_pages(image, header)
    if pages.bad_pages and sum(end - start for start, end in pages.bad_pages) == pages.pages:
        raise kdump.BadKdumpError("none of its pages is in the file")
    return _KdumpContents(said.vmcoreinfo or text.rstrip(b"\0"), said.prstatus, arch, pages)


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
        lacks.append(_cut_off(pages.lost_bytes))
    elif pages.bad_pages:
        lacks.append("some page descriptors make no sense: the file is damaged")
    if header.incomplete or pages.empty_pages:
        never = f" ({_mib(pages.empty_pages * header.block_size)} of memory were not written)"
        lacks.append(
            "makedumpfile ran out of space, the dump is incomplete"
            + (never if pages.empty_pages else "")
        )
    if header.status & kdump.FLAG_EXCLUDED_VMEMMAP:
        lacks.append("the page structs of left-out pages are not in the dump (makedumpfile -e)")
    lacks.extend(given.missing_parts)
    if not contents.prstatus:
        lacks.append("the registers of the CPUs were not saved (no PRSTATUS note)")
    values = vmcoreinfo.parse(text)
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
        timestamp=header.timestamp or _crash_time(values),
        cpus=header.nr_cpus or None,
        cpus_with_registers=contents.prstatus,
        memory_bytes=memory.memory_bytes,
        saved_bytes=memory.saved_bytes,
        memory_end=header.max_pfn * header.block_size,
        dump_level=None if qemu else header.dump_level,
        excluded=() if qemu else excluded_pages(level),
        zero_filled_bytes=0,
        truncated_bytes=pages.lost_bytes,
        missing_parts=given.missing_parts,
        complete=not (
            pages.bad_pages or header.incomplete or pages.empty_pages or given.missing_parts
        ),
        lacks=tuple(lacks),
    )


# Split dumps


def _open_split(given: Input) -> Core:
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
    text = contents[0].text
    if not vmcoreinfo.is_plausible(text):
        raise UnknownInputError(f"{names[0]} is a part of a split dump without VMCOREINFO")
    platform = drgn.Platform(drgn.Architecture.X86_64)
    programs = []
    with _environment("DRGN_PREFER_PGTABLE_READER", "1"):
        for source, name in zip(sources, names, strict=True):
            part = drgn.Program(platform, vmcoreinfo=text)
            _set_core(part, source, name)
            programs.append(part)
    pages = kdump.PageCheck(
        pages=sum(part.pages.pages for part in contents),
        lost_bytes=sum(part.pages.lost_bytes for part in contents),
        empty_pages=sum(part.pages.empty_pages for part in contents),
        bad_pages=tuple(bad for part in contents for bad in part.pages.bad_pages),
    )
    main = programs[0]
    for part, (_, header) in zip(programs[1:], images[1:], strict=True):
        start, end = header.first_pfn * header.block_size, header.last_pfn * header.block_size
        if start < end:
            main.add_memory_segment(start, end - start, _from_part(part), physical=True)
    _block_pages(main, pages.bad_pages, images[0][1].block_size)
    memory = KdumpMemory(main, images)
    described = replace(contents[0], pages=pages)
    size = sum(source.size for source in sources)
    info = _kdump_info(given, images[0][1], described, memory, text, "note", size)
    info = replace(info, format=f"{info.format}, split ({len(sources)} parts)")
    return Core(main, info, memory, (*sources, *programs))


def _from_part(part: drgn.Program) -> Callable[[int, int, int, bool], bytes]:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data: bytes = part.read(address, count, physical=True)
        return data

    return read


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


# /proc/kcore


def _open_kcore(given: Input) -> Core:
    """The running kernel; drgn reads it live."""
    path = given.paths[0]
    source = PlainFile(path)
    header = elf.read_elf(source)
    _require_architecture(header.machine, shown(path))
    memory = ElfMemory(source, [s for s in header.segments if s.type == elf.PT_LOAD and s.memsz])
    said = _read_notes(elf.read_notes(source, header))
    program = drgn.Program()
    program.set_core_dump(path)
    text = program["VMCOREINFO"].string_()
    values = vmcoreinfo.parse(text)
    kernel = os.uname()
    info = DumpInfo(
        paths=given.paths,
        kind=InputKind.KCORE,
        format="running kernel (/proc/kcore)",
        compression=None,
        outer_compression=None,
        size=0,
        arch=header.machine,
        written_by=None,
        osrelease=values.get("OSRELEASE", ""),
        build_id=vmcoreinfo.build_id(values),
        vmcoreinfo=MappingProxyType(values),
        vmcoreinfo_from="note" if said.vmcoreinfo else "memory",
        utsname=kdump.Utsname(
            kernel.sysname, kernel.nodename, kernel.release, kernel.version, kernel.machine, ""
        ),
        timestamp=time.time(),
        cpus=os.cpu_count(),
        cpus_with_registers=0,
        memory_bytes=memory.memory_bytes,
        saved_bytes=memory.saved_bytes,
        memory_end=memory.end,
        dump_level=None,
        excluded=(),
        zero_filled_bytes=0,
        truncated_bytes=0,
        missing_parts=(),
        complete=True,
        lacks=("the kernel runs on while it is read: running tasks have no stack to show",),
    )
    return Core(program, info, memory, (source,))
