"""A vmlinux file as the two programs that the comparisons need."""

from __future__ import annotations

import mmap
from pathlib import Path

import drgn
from elftools.elf.elffile import ELFFile

_PLATFORM = drgn.Platform(drgn.Architecture.X86_64)
_KERNEL_IMAGE = 0xFFFFFFFF80000000


class Image:
    """A kernel's memory as its vmlinux would load it, and the symbols of the file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        elf = ELFFile(self._map)
        self.prog = drgn.Program(_PLATFORM)
        for segment in elf.iter_segments("PT_LOAD"):
            if segment["p_vaddr"] >= _KERNEL_IMAGE:
                self._map_segment(segment)
        self.symbols: dict[str, list[tuple[int, int]]] = {}
        """Address and size of the symbols of a name."""
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            if symbol.name:
                where = (symbol["st_value"], symbol["st_size"])
                self.symbols.setdefault(symbol.name, []).append(where)

    def _map_segment(self, segment: object) -> None:
        offset, size = segment["p_offset"], segment["p_filesz"]  # type: ignore[index]

        def read(address: int, count: int, at: int, physical: bool) -> bytes:
            data = self._map[offset + at : offset + min(at + count, size)] if at < size else b""
            return data + bytes(count - len(data))

        self.prog.add_memory_segment(segment["p_vaddr"], segment["p_memsz"], read)  # type: ignore[index]

    def vmcoreinfo(self) -> dict[str, str]:
        """The lines of VMCOREINFO that say where kallsyms is, as kernels since v6.0 write them."""
        parts = ("names", "num_syms", "token_table", "token_index", "offsets", "relative_base")
        names = ["_stext", *(f"kallsyms_{part}" for part in parts)]
        return {
            f"SYMBOL({name})": f"{self.symbols[name][0][0]:x}"
            for name in names
            if name in self.symbols
        }


def debug_program(path: Path) -> drgn.Program:
    """A program that has the file's DWARF and nothing else."""
    prog = drgn.Program(_PLATFORM)
    prog.extra_module("vmlinux", create=True).try_file(str(path), force=True)
    return prog
