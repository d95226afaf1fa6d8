"""Kernel memory whose page tables are lost: by the two mappings that need none.

The image lies ``phys_base`` above its place at __START_KERNEL_map, and all memory is mapped
once at ``page_offset_base``. Nothing is mapped here while the tables lead where they should:
this is for dumps that have lost a page of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.dump.vmcoreinfo import START_KERNEL_MAP, utsname_of

_IMAGE_BYTES = 1 << 30
"""KERNEL_IMAGE_SIZE with KASLR: the modules follow."""
_NO_KASLR = 0xFFFF888000000000
"""__PAGE_OFFSET_BASE_L4."""
_MAX_CPUS = 64
_LANDMARKS = ("_stext", "init_uts_ns", "prb", "kallsyms_names", "kallsyms_token_index")


def map_image(program: drgn.Program, values: Mapping[str, str], memory_end: int) -> bool:
    """Map the kernel's image by ``phys_base``, if its page tables are not whole.

    :param values: VMCOREINFO.
    :param memory_end: One past the highest physical address.
    :return: Whether that was necessary, and right: the kernel's name lies where it must.
    """
    try:
        start = START_KERNEL_MAP - int(values["NUMBER(phys_base)"], 0)
        marks = [int(values.get(f"SYMBOL({name})", "0"), 16) for name in _LANDMARKS]
    except (KeyError, ValueError):
        return False
    if not any(_is_lost(program, mark, mark - start) for mark in marks if mark > START_KERNEL_MAP):
        return False
    name = utsname_of(values)
    if name is None or b"Linux\0" not in _read(program, name, 16):
        return False
    end = min(START_KERNEL_MAP + _IMAGE_BYTES, start + memory_end)
    begin = max(START_KERNEL_MAP, start)
    return end > begin and _map(program, begin, end - begin, start)


def map_direct(program: drgn.Program, memory_end: int) -> bool:
    """Map all memory at ``page_offset_base``, if the page tables for that are not whole.

    :return: Whether that was necessary: what the kernel must have mapped could not be read.
    """
    base = readable(lambda: program.read_u64(program.symbol("page_offset_base").address))
    base = _NO_KASLR if base is None else base
    if base % (1 << 30) or base >> 63 == 0:
        return False
    used = (address for address in _in_use(program) if base <= address < base + memory_end)
    if not any(_is_lost(program, address, address - base) for address in used):
        return False
    return _map(program, base, memory_end, base)


def _in_use(program: drgn.Program) -> Iterator[int]:
    """Addresses of memory that the kernel had taken: its per-CPU areas, the command line."""

    def pointer(symbol: str, number: int = 0) -> int:
        return int(program.read_u64(program.symbol(symbol).address + 8 * number))

    yield readable(lambda: pointer("saved_command_line")) or 0
    areas = readable(lambda: int(program.symbol("runqueues").address))
    for cpu in range(_MAX_CPUS if areas is not None else 0):
        offset = readable(lambda cpu=cpu: pointer("__per_cpu_offset", cpu))  # type: ignore[misc]
        yield ((offset or 0) + (areas or 0)) % (1 << 64)


def _is_lost(program: drgn.Program, address: int, physical: int) -> bool:
    """Whether memory is in the dump, but its page tables do not lead there."""
    return not _read(program, address, 8, physical=False) and bool(_read(program, physical, 8))


def _read(program: drgn.Program, address: int, size: int, *, physical: bool = True) -> bytes:
    try:
        data: bytes = program.read(address, size, physical=physical)
        return data
    except damage():
        return b""


def _map(program: drgn.Program, address: int, size: int, shift: int) -> bool:
    """Let virtual ``address`` be physical ``address - shift``."""
    program.add_memory_segment(address, size, _reader(program, shift))
    return True


_KEY = "postmortem program"


def _reader(program: drgn.Program, shift: int) -> Callable[[int, int, int, bool], bytes]:
    # The program keeps the reader. By its cache, which closing a case clears, they part again.
    cache = program.cache
    cache[_KEY] = program

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data: bytes = cache[_KEY].read(address - shift, count, physical=True)
        return data

    return read
