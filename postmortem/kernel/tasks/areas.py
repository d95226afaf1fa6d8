"""Areas of a process' memory (``struct vm_area_struct``); a damaged tree or list of them ends."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.maple import maple_entries

_MAX_AREAS = 1 << 20
"""Sixteen times ``sysctl_max_map_count``."""


def areas_of(mm: drgn.Object) -> Iterator[drgn.Object]:
    """Each ``struct vm_area_struct *`` of an address space, by address.

    :param mm: ``struct mm_struct *``
    :raises LookupError: the areas run in a circle.
    :raises drgn.FaultError: not all of them are in the dump.
    """
    prog = mm.prog_
    # A tree since v6.1 (d4af56c5c7c6), then without the list (763ecb035029).
    if mm.type_.type.has_member("mm_mt"):
        kind = prog.type("struct vm_area_struct *")
        for _first, address in maple_entries(mm.mm_mt):
            yield drgn.Object(prog, kind, address)
        return
    area = mm.mmap.read_()
    seen: set[int] = set()
    while area:
        if int(area) in seen or len(seen) >= _MAX_AREAS:
            raise LookupError(f"the areas run in a circle at {int(area):#x}")
        seen.add(int(area))
        yield area
        area = area.vm_next.read_()
