"""The kernel's own text as its vmlinux has it, and where the kernel writes into it itself.

The linker leaves tables of those places (arch/x86/kernel/vmlinux.lds.S): alternatives,
paravirt calls, lock prefixes, calls of ftrace, static branches and calls, thunks for
retpolines and returns, ``endbr64`` that nobody needs. Most are gone from memory after the
boot, the file has them all.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

import drgn

from postmortem.dump import elf
from postmortem.inputs.source import PlainFile

_NOBITS = 8
_MAX_SECTION = 256 << 20
_RELATIVE = struct.Struct("<i")
_ABSOLUTE = struct.Struct("<Q")
_RELATIVE_SITES = {
    ".smp_locks": 1,
    ".retpoline_sites": 6,
    ".return_sites": 5,
    ".call_sites": 5,
    ".ibt_endbr_seal": 4,
    ".cfi_sites": 8,
}
"""Tables of 4-byte distances from the entry to the place, and the bytes that are written there:
an indirect jump through a thunk has six with its prefix or condition."""
_CALL = 6
"""A static call that is a jump with a condition has six bytes, any other five."""
_RUNTIME_CONSTANTS = {".runtime_ptr_": 8, "runtime_ptr_": 8, "runtime_shift_": 1}
"""Since v6.11 (e78298556ee5): an address inside of a ``mov``, a count inside of a shift."""
_TABLES = {
    "mcount_loc": ("__start_mcount_loc", "__stop_mcount_loc"),
    "jump_table": ("__start___jump_table", "__stop___jump_table"),
    "static_call_sites": ("__start_static_call_sites", "__stop_static_call_sites"),
}
_WRITTEN_RANGES = (
    ("__static_call_text_start", "__static_call_text_end"),
    ("ftrace_caller", "ftrace_caller_end"),
    ("ftrace_regs_caller", "ftrace_regs_caller_end"),
)
"""Trampolines, whose jumps are set while the machine runs."""
_WRITTEN = {"ftrace_graph_caller": 8, "hypercall_page": 4096, "xen_hypercall_page": 4096}


class KernelFile:
    """The parts of a vmlinux that have an address."""

    def __init__(self, path: Path) -> None:
        """
        :raises postmortem.dump.elf.BadElfError: it is no ELF file.
        :raises OSError: it can't be read.
        """
        self._source = PlainFile(path)
        sections = elf.read_sections(self._source, elf.read_elf(self._source))
        self._sections = sorted(
            (section for section in sections if section.address and section.type != _NOBITS),
            key=lambda section: section.address,
        )
        self._starts = [section.address for section in self._sections]

    def section(self, name: str) -> tuple[int, bytes] | None:
        """Address, as it was linked, and content; ``None`` if the file does not have it."""
        found = next((section for section in self._sections if section.name == name), None)
        if found is None or found.size > _MAX_SECTION:
            return None
        return found.address, self._source.pread(found.size, found.offset)

    def names(self) -> list[str]:
        """Of all sections with content."""
        return [section.name for section in self._sections]

    def read(self, address: int, size: int) -> bytes:
        """Bytes at an address as it was linked; fewer, or none, where the section ends."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return b""
        section = self._sections[at]
        inside = address - section.address
        return self._source.pread(
            max(0, min(size, section.size - inside, _MAX_SECTION)), section.offset + inside
        )


def patch_sites(
    file: KernelFile, symbol: Callable[[str], int | None], alternative: drgn.Type | None
) -> Iterator[tuple[int, int]]:
    """Start and size of every place that the kernel may have written to; some twice.

    :param symbol: the address of a name, as it was linked.
    :param alternative: ``struct alt_instr``
    """
    for name, size in _RELATIVE_SITES.items():
        yield from _relative(file.section(name), _RELATIVE.size, size)
    for name in file.names():
        for start, size in _RUNTIME_CONSTANTS.items():
            if name.startswith(start):
                yield from _relative(file.section(name), _RELATIVE.size, size)
    yield from _alternatives(file.section(".altinstructions"), alternative)
    yield from _paravirt(file.section(".parainstructions"))
    tables = {}
    for name, edges in _TABLES.items():
        place = _between(symbol, edges)
        if place is not None and place[1] < _MAX_SECTION:
            tables[name] = (place[0], file.read(*place))
    for (call,) in _ABSOLUTE.iter_unpack(_whole(tables.get("mcount_loc"), _ABSOLUTE.size)):
        yield call, 5
    yield from _relative(tables.get("jump_table"), 16, 5)
    yield from _relative(tables.get("static_call_sites"), 8, _CALL)
    for edges in _WRITTEN_RANGES:
        written = _between(symbol, edges)
        if written is not None:
            yield written
    for name, length in _WRITTEN.items():
        trampoline = symbol(name)
        if trampoline is not None:
            yield trampoline, length


def _between(symbol: Callable[[str], int | None], edges: tuple[str, str]) -> tuple[int, int] | None:
    start, stop = symbol(edges[0]), symbol(edges[1])
    return (
        (start, stop - start) if start is not None and stop is not None and start < stop else None
    )


def _whole(table: tuple[int, bytes] | None, size: int) -> bytes:
    if table is None:
        return b""
    return table[1][: len(table[1]) // size * size]


def _relative(table: tuple[int, bytes] | None, step: int, size: int) -> Iterator[tuple[int, int]]:
    """Entries that begin with the distance from themselves."""
    if table is None:
        return
    start, data = table
    for at in range(0, len(data) - 3, step):
        yield start + at + _RELATIVE.unpack_from(data, at)[0], size


def _alternatives(
    table: tuple[int, bytes] | None, alternative: drgn.Type | None
) -> Iterator[tuple[int, int]]:
    """``struct alt_instr``: it has had 12 to 14 bytes."""
    if table is None or alternative is None:
        return
    start, data = table
    length = drgn.offsetof(alternative, "instrlen")
    for at in range(0, len(data) - alternative.size + 1, alternative.size):
        yield start + at + _RELATIVE.unpack_from(data, at)[0], data[at + length]


def _paravirt(table: tuple[int, bytes] | None) -> Iterator[tuple[int, int]]:
    """``struct paravirt_patch_site``, until v6.8 (60bc276b129e): address, type, length."""
    data = _whole(table, 16)
    for place, _kind, length in struct.iter_unpack("<QBB6x", data):
        yield place, length
