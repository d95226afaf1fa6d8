"""Trees of pointers laid out by hand: whole ones, and ones that lead back into themselves."""

from __future__ import annotations

from itertools import islice

import drgn
import pytest

from postmortem.dump.xarray import idr_entries, xarray_entries
from tests.kernel.fabricated import Memory
from tests.kernel.locking.test_waiters import fresh


class Tree:
    """A ``struct xarray`` in memory of our own."""

    def __init__(self) -> None:
        prog = fresh("6.12-null-chain")
        self.memory = Memory(prog)
        self.kind = prog.type("struct xa_node")
        self.address = self.memory.allocate(drgn.sizeof(prog.type("struct idr")))
        self.root = drgn.Object(prog, "struct xarray", address=self.address)

    def node(self, shift: int, slots: dict[int, int]) -> int:
        """A node's entry."""
        address = self.memory.allocate(drgn.sizeof(self.kind))
        self.memory.write(address, shift)  # the first byte; the others are zero
        for number, entry in slots.items():
            self.slot(address | 2, number, entry)
        return address | 2

    def slot(self, node: int, number: int, entry: int) -> None:
        self.memory.write(node - 2 + drgn.offsetof(self.kind, "slots") + 8 * number, entry)

    def head(self, entry: int) -> None:
        self.memory.write(self.address + drgn.offsetof(self.root.type_, "xa_head"), entry)


def test_pointers_by_index() -> None:
    tree = Tree()
    low, high = tree.node(0, {0: 0x1000, 5: 0x1008}), tree.node(0, {63: 0x1010})
    tree.head(tree.node(6, {0: low, 2: high}))
    assert list(xarray_entries(tree.root)) == [(0, 0x1000), (5, 0x1008), (191, 0x1010)]


def test_one_pointer_needs_no_node() -> None:
    tree = Tree()
    tree.head(0x1000)
    assert list(xarray_entries(tree.root)) == [(0, 0x1000)]
    tree.head(0)
    assert list(xarray_entries(tree.root)) == []


def test_siblings_and_empty_entries_point_at_nothing() -> None:
    tree = Tree()
    tree.head(tree.node(0, {0: 0x1000, 1: 0 << 2 | 2, 2: 257 << 2 | 2}))
    assert list(xarray_entries(tree.root)) == [(0, 0x1000)]


def test_a_node_that_is_its_own_child_ends_the_walk() -> None:
    tree = Tree()
    node = tree.node(6, {0: 0x1000})
    tree.slot(node, 1, node)
    tree.head(node)
    walk = xarray_entries(tree.root)
    assert next(walk) == (0, 0x1000)
    with pytest.raises(LookupError, match="circle"):
        next(walk)


def test_many_ways_to_one_node_are_not_all_walked() -> None:
    tree = Tree()
    node = tree.node(0, {0: 0x1000})
    for shift in (6, 12, 18, 24):
        node = tree.node(shift, dict.fromkeys(range(64), node))
    tree.head(node)
    with pytest.raises(LookupError, match="circle"):
        list(islice(xarray_entries(tree.root), 2))


def test_numbers_of_an_idr_begin_at_its_base() -> None:
    tree = Tree()
    prog = tree.memory.prog
    idr = drgn.Object(prog, "struct idr", address=tree.address)
    tree.head(0x1000)
    base = drgn.offsetof(idr.type_, "idr_base")
    tree.memory.write(tree.address + base, 7)
    assert list(idr_entries(idr)) == [(7, 0x1000)]
