"""The kernel's tree of pointers, walked so that a damaged one ends.

drgn's own walk follows what it finds: a node that is its own child keeps it busy for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn

_SMALLEST_NODE = 4096
"""What is not above is an entry with a meaning of its own: ``xa_is_node()``."""


def idr_entries(idr: drgn.Object) -> Iterator[tuple[int, int]]:
    """Number and pointer of everything in a ``struct idr``, as far as it can be read.

    :raises LookupError: the tree is damaged, or it is not made of an xarray (before v4.20).
    :raises drgn.FaultError: a node is not in the dump.
    """
    base = int(idr.member_("idr_base").value_())
    for number, entry in xarray_entries(idr.member_("idr_rt")):
        yield base + number, entry


def xarray_entries(array: drgn.Object) -> Iterator[tuple[int, int]]:
    """Index and pointer of everything in a ``struct xarray``, in order of the index.

    :raises LookupError: the tree is damaged: a node twice, or below a node that is no larger.
    :raises drgn.FaultError: a node is not in the dump.
    """
    prog = array.prog_
    kind = prog.type("struct xa_node")
    shift_at = int(drgn.offsetof(kind, "shift"))
    slots_at = int(drgn.offsetof(kind, "slots"))
    size = int(drgn.sizeof(kind.member("slots").type))
    seen: set[int] = set()

    def walk(entry: int, index: int, below: int) -> Iterator[tuple[int, int]]:
        if not _is_node(entry):
            if entry and entry & 3 != 2:  # what else is internal points at nothing
                yield index, entry
            return
        address = entry - 2
        shift = prog.read_u8(address + shift_at)
        if address in seen or shift >= below:
            raise LookupError(f"the tree runs in a circle at {address:#x}")
        seen.add(address)
        slots = struct.unpack(f"<{size // 8}Q", prog.read(address + slots_at, size))
        for number, slot in enumerate(slots):
            if slot:
                yield from walk(slot, index + (number << shift), shift)

    yield from walk(int(array.member_("xa_head").value_()), 0, 64)


def _is_node(entry: int) -> bool:
    return entry & 3 == 2 and entry > _SMALLEST_NODE
