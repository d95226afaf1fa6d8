"""The kernel's maple tree, walked so that a damaged one ends.

Source: include/linux/maple_tree.h, lib/maple_tree.c. A node is 256 bytes, and the low byte of
a pointer to it tells what it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn

_NODE_MASK = 0xFF
"""MAPLE_NODE_MASK"""
_SMALLEST_NODE = 4096
_LEAF, _RANGE, _ARANGE = 1, 2, 3
"""``enum maple_type``; maple_dense is 0 and no kernel makes it."""
_MEMBERS = {_LEAF: "mr64", _RANGE: "mr64", _ARANGE: "ma64"}
_MAX_INDEX = (1 << 64) - 1
_MAX_DEPTH = 31
"""MAPLE_HEIGHT_MAX"""


def maple_entries(tree: drgn.Object) -> Iterator[tuple[int, int]]:
    """First index and pointer of everything in a ``struct maple_tree``, in order of the index.

    :raises LookupError: the tree is damaged: a node twice, or of a type that there is not.
    :raises drgn.FaultError: a node is not in the dump.
    """
    root = int(tree.member_("ma_root").value_())
    if not _is_node(root):
        if root and root & 3 != 2:
            yield 0, root
        return
    yield from _Walk(tree.prog_).node(root, 0, _MAX_INDEX, 0)


def _is_node(entry: int) -> bool:
    """``xa_is_node()``; pointers to nodes below the root lack that bit (MAPLE_ROOT_NODE)."""
    return entry & 3 == 2 and entry > _SMALLEST_NODE


class _Walk:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._seen: set[int] = set()
        self._layouts = {}
        kind = prog.type("struct maple_node")
        for number, name in _MEMBERS.items():
            inner = kind.member(name).type
            pivots, slots = inner.member("pivot"), inner.member("slot")
            start = int(drgn.offsetof(kind, name))
            self._layouts[number] = (
                start + pivots.bit_offset // 8,
                pivots.type.length or 0,
                start + slots.bit_offset // 8,
                slots.type.length or 0,
            )
        self._size = int(drgn.sizeof(kind))

    def node(self, entry: int, low: int, high: int, depth: int) -> Iterator[tuple[int, int]]:
        """Everything below a node, which has the indexes from ``low`` to ``high``."""
        address, number = entry & ~_NODE_MASK, entry >> 3 & 0xF  # mte_node_type()
        layout = self._layouts.get(number)
        if layout is None:
            raise LookupError(f"the tree has a node of type {number} at {address:#x}")
        if address in self._seen or depth >= _MAX_DEPTH:
            raise LookupError(f"the tree runs in a circle at {address:#x}")
        self._seen.add(address)
        raw = self._prog.read(address, self._size)
        pivots_at, pivot_count, slots_at, slot_count = layout
        pivots = struct.unpack_from(f"<{pivot_count}Q", raw, pivots_at)
        slots = struct.unpack_from(f"<{slot_count}Q", raw, slots_at)
        for at, slot in enumerate(slots):
            # The last slot has no pivot: it goes as far as the node; so does one whose pivot is 0.
            last = high if at >= pivot_count or (at and not pivots[at]) else pivots[at]
            last = min(last, high)
            if last < low:
                raise LookupError(f"the tree is out of order at {address:#x}")
            if number == _LEAF:
                if slot and slot & 3 != 2:
                    yield low, slot
            elif slot:
                yield from self.node(slot, low, last, depth + 1)
            if last == high:
                return
            low = last + 1
