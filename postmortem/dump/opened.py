"""An open dump, what is said about it, and what opening needs whatever the format."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import drgn

from postmortem.arch import SUPPORTED
from postmortem.dump import elf, kdump, vmcoreinfo
from postmortem.dump.log_blocks import find_blocks
from postmortem.dump.memory import Memory, PhysicalRange
from postmortem.errors import UnknownInputError
from postmortem.inputs.recognise import InputKind
from postmortem.inputs.source import PlainFile, Progress, shown

# drgn looks for plug-ins of its own among all installed packages when a core
# is set: 60 ms, and somebody else's code in our analysis.
os.environ.setdefault("DRGN_DISABLE_PLUGINS", "*")

# Its warnings would go to stderr, which belongs to the user.
logging.getLogger("drgn").addHandler(logging.NullHandler())

_PRSTATUS_BYTES = {336: "x86_64", 392: "aarch64", 376: "riscv64"}
"""sizeof(struct elf_prstatus): tells the machine when the header does not."""


_MAX_CPUS = 8192
"""CONFIG_NR_CPUS_RANGE_END on x86-64."""


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
    """Bytes on the disk, all parts together; of a running kernel those of its memory."""
    arch: str
    written_by: str | None
    """``QEMU`` or ``makedumpfile`` where the file shows it."""
    osrelease: str
    build_id: str | None
    """Of the kernel, in hex; VMCOREINFO has it since v5.9."""
    vmcoreinfo: Mapping[str, str]
    vmcoreinfo_from: str
    """``note``, ``memory`` (no note in the file, or a damaged one) or ``none``."""
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
    registers: tuple[bytes, ...] = ()
    """``struct elf_prstatus`` of each CPU, as the notes have them."""


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


def limited(info: DumpInfo, sentence: str) -> DumpInfo:
    return replace(info, complete=False, lacks=(*info.lacks, sentence))


@dataclass
class Notes:
    """What the notes of a dump say."""

    vmcoreinfo: bytes = b""
    prstatus: int = 0
    registers: list[bytes] = field(default_factory=list)
    """``struct elf_prstatus`` of each CPU, in the order of the CPUs."""
    arch: str | None = None
    qemu: bool = False
    cpu_states: list[bytes] = field(default_factory=list)
    """QEMU's own notes, one a CPU: ``struct QEMUCPUState``."""


QEMU_STATES = "postmortem CPU states"
"""Where a program's cache keeps them."""
_MAX_STATES = 4096


def read_notes(notes: Iterator[elf.Note]) -> Notes:
    said = Notes()
    for note in notes:
        if note.name == b"VMCOREINFO":
            said.vmcoreinfo = note.desc.rstrip(b"\0")
        elif note.name == b"CORE" and note.type == elf.NT_PRSTATUS:
            said.prstatus += 1
            if len(said.registers) < _MAX_CPUS:
                said.registers.append(note.desc)
            said.arch = said.arch or _PRSTATUS_BYTES.get(len(note.desc))
        elif note.name == b"QEMU":
            said.qemu = True
            if len(said.cpu_states) < _MAX_STATES:
                said.cpu_states.append(note.desc[:512])
    return said


def set_core(program: drgn.Program, source: PlainFile) -> None:
    # drgn closes the descriptor that it is given, also when it fails.
    program.set_core_dump(os.dup(source.fd))


LOG_ONLY = ("aarch64",)
"""Architectures of whose dumps the log is read and nothing else yet: VMCOREINFO says where the
printk buffer is and how it is laid out, drgn walks the page tables."""


def platform_of(arch: str) -> drgn.Platform:
    """The platform of an architecture that :func:`require_architecture` let pass."""
    return drgn.Platform(getattr(drgn.Architecture, arch.upper()))


def require_architecture(arch: str, name: str) -> None:
    if arch not in (*SUPPORTED, *LOG_ONLY):
        raise UnknownInputError(
            f"{name} is a dump of {shown(arch)}, which is not supported yet"
            f" (only {', '.join(SUPPORTED)} is): open it with drgn or crash"
        )


def find_vmcoreinfo(
    memory: Memory, name: str, cut_off: bool, progress: Progress | None, note: bytes = b""
) -> bytes:
    """The kernel's own page with it, in the dump's memory.

    :param note: what the file has of it, which is not enough.
    """
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
        has = (
            f"a VMCOREINFO note of {len(note)} bytes that does not say where the page tables are,"
            if note
            else "no VMCOREINFO note"
        )
        raise UnknownInputError(
            f"{name} has {has} and no kernel's VMCOREINFO is in its memory:"
            + (
                " it is cut off too early, copy it again"
                if cut_off
                else " it is the dump of something else than a running Linux, or lacks that page"
            )
        )
    return text


NO_TABLES = (
    b"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82000000\n"
    b"NUMBER(phys_base)=4503599627370496\nNUMBER(pgtable_l5_enabled)=0\n"
)
"""A VMCOREINFO whose page tables lie where no memory is."""
NO_VMCOREINFO = "there is no VMCOREINFO: only the log can be read, by its shape in memory"


def checked_vmcoreinfo(
    note: bytes, memory: Memory, name: str, cut_off: bool, progress: Progress | None
) -> tuple[bytes, str]:
    """VMCOREINFO and where it is from: the note, or the page in memory if that is damaged.

    Or :data:`NO_TABLES`, from ``none``, if there is neither, but a log.

    :raises UnknownInputError: there is nothing of a kernel.
    """
    odd = vmcoreinfo.odd_keys(note)
    plausible = vmcoreinfo.is_plausible(note)
    if plausible and not odd and not _is_of_another_kernel(note, memory):
        return note, "note"
    try:
        page = find_vmcoreinfo(memory, name, cut_off, progress, note)
    except UnknownInputError:
        if plausible:
            return vmcoreinfo.without(note, odd), "note"
        if not find_blocks(memory).texts:
            raise
        return NO_TABLES, "none"  # the log can be read all the same
    # What only the note says was added on the way into the crash kernel.
    known = [*odd, *vmcoreinfo.parse(page)]
    return page + (vmcoreinfo.without(note, known) if plausible else b""), "memory"


_BEFORE_NAME = 16
"""Bytes: a counter comes before the name in kernels that do not say where it is (v5.10)."""


def _is_of_another_kernel(text: bytes, memory: Memory) -> bool:
    """Whether something else lies where the text says that the kernel's name is."""
    address = vmcoreinfo.utsname_address(text)
    if address is None:
        return True
    found = memory.read(address, _BEFORE_NAME) if address >= 0 else b""
    return bool(found.strip(b"\0")) and b"Linux\0" not in found


def crash_time(values: Mapping[str, str]) -> float | None:
    try:
        seconds = int(values["CRASHTIME"])
    except (KeyError, ValueError):
        return None
    return float(seconds) if 0 < seconds < 1 << 34 else None


def mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size >= 1 << 20 else f"{size} bytes"


def cut_off_sentence(size: int) -> str:
    return f"the file is cut off: at least {mib(size)} are missing at its end"
