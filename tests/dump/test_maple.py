"""Maple trees laid out by hand (include/linux/maple_tree.h): whole ones and bent ones."""

from __future__ import annotations

import drgn
import pytest

from postmortem.dump.maple import maple_entries
from tests.kernel.fabricated import Memory
from tests.kernel.locking.test_waiters import fresh

LEAF, RANGE = 1, 2
ROOT = 0x02
"""MAPLE_ROOT_NODE, which the entry of the root has and no other."""


class Tree:
    """A ``struct maple_tree`` in memory of our own."""

    def __init__(self) -> None:
        prog = fresh("6.12-null-chain")
        self.memory = Memory(prog)
        self.kind = prog.type("struct maple_node")
        self.address = self.memory.allocate(drgn.sizeof(prog.type("struct maple_tree")))
        self.root = drgn.Object(prog, "struct maple_tree", address=self.address)

    def node(self, number: int, slots: list[int], pivots: list[int]) -> int:
        """A node of a type; its entry. Nodes lie at multiples of 256."""
        address = (self.memory.allocate(512) + 255) & ~255
        for member, words in (("mr64.pivot", pivots), ("mr64.slot", slots)):
            for at, word in enumerate(words):
                self.memory.write(address + drgn.offsetof(self.kind, member) + 8 * at, word)
        return address | number << 3 | 0x04

    def head(self, entry: int) -> None:
        self.memory.write(self.address + drgn.offsetof(self.root.type_, "ma_root"), entry)


def test_two_levels() -> None:
    tree = Tree()
    low = tree.node(LEAF, [0x1000, 0x1008, 0], [0, 1, 4])
    high = tree.node(LEAF, [0, 0x1010, 0], [8, 9])
    tree.head(tree.node(RANGE, [low, high], [4]) | ROOT)
    assert list(maple_entries(tree.root)) == [(0, 0x1000), (1, 0x1008), (9, 0x1010)]


def test_one_entry_needs_no_node() -> None:
    tree = Tree()
    assert list(maple_entries(tree.root)) == []
    tree.head(0x1000)
    assert list(maple_entries(tree.root)) == [(0, 0x1000)]


def test_a_node_below_itself() -> None:
    tree = Tree()
    node = tree.node(RANGE, [0, 0], [4])
    tree.memory.write((node & ~0xFF) + drgn.offsetof(tree.kind, "mr64.slot"), node)
    tree.head(node | ROOT)
    with pytest.raises(LookupError, match="circle"):
        list(maple_entries(tree.root))


def test_pivots_that_go_down() -> None:
    tree = Tree()
    tree.head(tree.node(LEAF, [0x1000, 0x1008, 0x1010], [7, 3]) | ROOT)
    with pytest.raises(LookupError, match="out of order"):
        list(maple_entries(tree.root))


def test_a_type_of_node_that_there_is_not() -> None:
    tree = Tree()
    tree.head(tree.node(9, [0x1000], []) | ROOT)
    with pytest.raises(LookupError, match="type 9"):
        list(maple_entries(tree.root))
