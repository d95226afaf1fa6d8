"""Open ELF dumps, of a machine that died or (``/proc/kcore``) of the one that runs.

drgn reads the file. Settled here: a missing VMCOREINFO note, segments behind the
end of the file, and QEMU's identity-mapped segments, which would make a NULL
pointer readable.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import MappingProxyType

import drgn

from postmortem.arch import SUPPORTED
from postmortem.dump import elf, kdump, vmcoreinfo
from postmortem.dump.linear import file_reader, map_linear
from postmortem.dump.memory import ElfMemory
from postmortem.dump.opened import (
    NO_VMCOREINFO,
    QEMU_STATES,
    Core,
    DumpInfo,
    checked_vmcoreinfo,
    crash_time,
    cut_off_sentence,
    mib,
    read_notes,
    require_architecture,
    set_core,
)
from postmortem.errors import UnknownInputError
from postmortem.inputs.recognise import Input, InputKind
from postmortem.inputs.source import PlainFile, Progress, Source, shown

USER_SPACE_END = 1 << 56
"""x86-64 with five-level paging; no kernel mapping lies below."""


def open_elf(
    given: Input, source: PlainFile, image: Source, name: str, progress: Progress | None
) -> Core:
    header = elf.read_elf(image)
    require_architecture(header.machine, name)
    if not header.is_64bit:
        raise UnknownInputError(
            f"{name} is a 32-bit ELF core of a 64-bit kernel (kexec --elf32-core-headers), which is"
            " not supported yet: load the crash kernel without that option, or use makedumpfile"
        )
    said = read_notes(elf.read_notes(image, header))
    loads = [s for s in header.segments if s.type == elf.PT_LOAD and s.memsz]
    memory = ElfMemory(image, loads)
    if not memory.saved_bytes:
        raise UnknownInputError(
            f"{name} holds no memory, only headers: it was cut off; copy it again from its origin"
        )
    text, text_from = checked_vmcoreinfo(
        said.vmcoreinfo, memory, name, memory.truncated_bytes > 0, progress
    )
    given_text = text != said.vmcoreinfo
    program = drgn.Program(vmcoreinfo=text) if given_text else drgn.Program()
    set_core(program, source)
    program.cache[QEMU_STATES] = said.cpu_states
    for segment in loads:
        if segment.offset + segment.filesz >= 1 << 63:
            # Not even an offset: reads would fail with EINVAL instead of a fault.
            for address, physical in ((segment.vaddr, False), (segment.paddr, True)):
                size = min(segment.memsz, (1 << 64) - 1 - address)
                if size > 0:
                    program.add_memory_segment(address, size, _unmapped, physical)
    if given_text and not any(segment.paddr for segment in loads):
        # Without a VMCOREINFO note drgn takes p_paddr = 0 for absent.
        for address, size, offset in memory.pieces:
            reader = file_reader(source, offset - address)
            program.add_memory_segment(address, size, reader, physical=True)
    if any(segment.vaddr < USER_SPACE_END for segment in loads):
        # dump-guest-memory without paging writes p_vaddr = p_paddr: drgn
        # would read physical memory through a NULL pointer.
        program.add_memory_segment(0, USER_SPACE_END, _unmapped)
        if header.machine in SUPPORTED:
            map_linear(program, memory, source, vmcoreinfo.parse(text))
    lacks = []
    if memory.zero_filled_bytes:
        lacks.append(
            f"{mib(memory.zero_filled_bytes)} of memory are not in the file and read as zeroes:"
            " makedumpfile left them out, and what was in them can't be told from real zeroes"
        )
    truncated = memory.truncated_bytes
    if truncated or header.lost_segments:
        lacks.append(
            cut_off_sentence(truncated) if truncated else "the file ends in its program headers"
        )
    values = vmcoreinfo.parse(text) if text_from != "none" else {}
    if text_from == "none":
        lacks.append(NO_VMCOREINFO)
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
        timestamp=crash_time(values),
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
        complete=bool(values) and not (truncated or header.lost_segments),
        lacks=tuple(lacks),
        registers=tuple(said.registers),
    )
    return Core(program, info, memory, (source,))


def _unmapped(address: int, count: int, offset: int, physical: bool) -> bytes:
    raise drgn.FaultError("nothing is mapped at this address", address)


def _live_text(path: Path) -> bytes:
    """VMCOREINFO of a kernel without the note in its /proc/kcore (before v4.19).

    By a program of its own: reading the text fixes what a ``char`` is, before BTF can say.
    """
    program = drgn.Program()
    program.set_core_dump(path)
    return bytes(program["VMCOREINFO"].string_())


def open_kcore(given: Input) -> Core:
    """The running kernel; drgn reads it live."""
    path = given.paths[0]
    source = PlainFile(path)
    header = elf.read_elf(source)
    require_architecture(header.machine, shown(path))
    memory = ElfMemory(source, [s for s in header.segments if s.type == elf.PT_LOAD and s.memsz])
    said = read_notes(elf.read_notes(source, header))
    text = said.vmcoreinfo if vmcoreinfo.is_plausible(said.vmcoreinfo) else _live_text(path)
    program = drgn.Program()
    program.set_core_dump(path)
    values = vmcoreinfo.parse(text)
    kernel = os.uname()
    info = DumpInfo(
        paths=given.paths,
        kind=InputKind.KCORE,
        format="running kernel (/proc/kcore)",
        compression=None,
        outer_compression=None,
        size=memory.saved_bytes,
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
