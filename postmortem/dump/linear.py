"""x86-64's two linear mappings, kernel image and direct map, as memory segments.

An ELF dump whose segments carry no kernel addresses (QEMU without paging)
makes drgn walk the page tables for every read. Most reads go to the kernel's
image or the direct map of all memory, where a virtual address differs from
the physical one by a constant. With these mapped, kallsyms load in half the
time and a read costs a third. Both mappings are taken from the kernel's own
page tables and checked against them; what does not fit is left to the walk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from postmortem.dump.memory import ElfMemory
from postmortem.inputs.source import PlainFile

if TYPE_CHECKING:
    import drgn

START_KERNEL_MAP = 0xFFFFFFFF80000000
"""__START_KERNEL_map: where the kernel's image is mapped, plus KASLR."""
PMD_SIZE = 1 << 21
_PRESENT, _LARGE = 0x1, 0x80
_ENTRIES = struct.Struct("<512Q")
_SAMPLES = 16


def map_linear(
    program: drgn.Program, memory: ElfMemory, source: PlainFile, vmcoreinfo: Mapping[str, str]
) -> None:
    """Add the segments that can be proven; adds none when anything looks odd."""
    try:
        tables = _PageTables(memory, vmcoreinfo)
        image = tables.image()
        base = tables.direct_map_base()
    except (KeyError, ValueError):
        return
    if image is not None:
        _add(program, memory, source, image[0] - image[1], image[1], image[1] + image[2])
    if base is not None and _is_direct_map(program, memory, base):
        _add(program, memory, source, base, 0, memory.end)


def _add(
    program: drgn.Program, memory: ElfMemory, source: PlainFile, base: int, start: int, end: int
) -> None:
    """Map physical ``[start, end)`` at ``base + start``, as far as it is in the file."""
    for address, size, offset in memory.pieces:
        low, high = max(address, start), min(address + size, end)
        if low < high:
            shift = offset - address - base
            program.add_memory_segment(base + low, high - low, file_reader(source, shift))


def file_reader(source: PlainFile, shift: int) -> Callable[[int, int, int, bool], bytes]:
    """Read memory that lies at ``address + shift`` in the file."""
    return partial(_read, source, shift)


def _read(
    source: PlainFile, shift: int, address: int, count: int, offset: int, physical: bool
) -> bytes:
    data = os.pread(source.fd, count, address + shift)
    if len(data) == count:
        return data
    import drgn

    raise drgn.FaultError("the file ends before this address", address)


class _PageTables:
    """The kernel's page tables in physical memory."""

    def __init__(self, memory: ElfMemory, vmcoreinfo: Mapping[str, str]) -> None:
        self.memory = memory
        self.phys_base = int(vmcoreinfo["NUMBER(phys_base)"], 0)
        self.levels = 5 if int(vmcoreinfo.get("NUMBER(pgtable_l5_enabled)", "0"), 0) else 4
        self.top = int(vmcoreinfo["SYMBOL(swapper_pg_dir)"], 16)
        self.stext = int(vmcoreinfo["SYMBOL(_stext)"], 16)
        # AMD's memory encryption sets a bit above the address in every entry.
        self.mask = 0x000FFFFFFFFFF000 & ~int(vmcoreinfo.get("NUMBER(sme_mask)", "0"), 0)

    def table(self, address: int) -> tuple[int, ...]:
        data = self.memory.read(address & self.mask, _ENTRIES.size)
        if len(data) != _ENTRIES.size:
            raise ValueError("page table not in the dump")
        return _ENTRIES.unpack(data)

    def top_table(self) -> tuple[int, ...]:
        return self.table(self.top - START_KERNEL_MAP + self.phys_base)

    def image(self) -> tuple[int, int, int] | None:
        """Virtual address, physical address and bytes of the kernel's image."""
        table = self.top_table()
        for level in range(self.levels, 2, -1):
            entry = table[self.stext >> (12 + 9 * (level - 1)) & 511]
            if not entry & _PRESENT or entry & _LARGE:
                return None
            table = self.table(entry)
        first = self.stext >> 21 & 511
        virtual = self.stext & -PMD_SIZE
        physical = virtual - START_KERNEL_MAP + self.phys_base
        count = 0
        while first + count < 512 and table[first + count] & _PRESENT:
            entry = table[first + count]
            expected = physical + count * PMD_SIZE
            if entry & _LARGE:
                if entry & self.mask & -PMD_SIZE != expected:
                    break
            elif not self._is_linear(entry, expected):
                break
            count += 1
        return (virtual, physical, count * PMD_SIZE) if count and physical >= 0 else None

    def _is_linear(self, entry: int, expected: int) -> bool:
        """Whether the 4 KiB pages below a PMD entry lie side by side from ``expected``."""
        pages = self.table(entry)
        return all(
            page & self.mask == expected + index * 4096
            for index, page in enumerate(pages)
            if page & _PRESENT
        )

    def direct_map_base(self) -> int | None:
        """page_offset_base: the lowest mapping of the kernel's half is the direct map."""
        table, address = self.top_table(), -1
        shift = 12 + 9 * (self.levels - 1)
        low = 256
        address = 0
        while True:
            index = next((i for i in range(low, 512) if table[i] & _PRESENT), None)
            if index is None:
                return None
            entry, low = table[index], 0
            address |= index << shift
            if shift == 12 or entry & _LARGE:
                break
            table, shift = self.table(entry), shift - 9
        address |= -1 << (12 + 9 * self.levels) & (1 << 64) - 1
        base = address - (entry & self.mask & -(1 << shift))
        # KASLR moves it by multiples of 1 GiB (PUD_SIZE).
        return base if base % (1 << 30) == 0 else None


def _is_direct_map(program: drgn.Program, memory: ElfMemory, base: int) -> bool:
    """Compare what the page tables say with physical memory, at pages all over it."""
    import drgn

    matches = 0
    for address, size, _ in memory.pieces:
        pages = size // 4096
        for page in range(0, pages, max(1, pages // _SAMPLES)):
            physical = memory.read(address + page * 4096, 4096)
            if physical.count(0) == 4096:
                continue
            try:
                virtual = program.read(base + address + page * 4096, 4096)
            except drgn.FaultError:
                # Firmware's memory has no mapping; such reads stay wrong either way.
                continue
            if virtual != physical:
                return False
            matches += 1
    return matches >= 4
