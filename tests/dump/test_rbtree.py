"""Red-black trees in memory that was made by hand."""

import struct

import drgn
import pytest

from postmortem.dump.rbtree import nodes

# 0x1100 has 0x1080 on its left, and on its right 0x1200, which has 0x1180 on its left.
TREE = {0x1100: (0x1080, 0x1200), 0x1080: (0, 0), 0x1200: (0x1180, 0), 0x1180: (0, 0)}


def program(tree: dict[int, tuple[int, int]]) -> drgn.Program:
    memory = bytearray(0x1000)
    for node, (left, right) in tree.items():
        struct.pack_into("<QQQ", memory, node - 0x1000, 0, right, left)
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    prog.add_memory_segment(
        0x1000, len(memory), lambda _at, count, offset, _p: bytes(memory[offset : offset + count])
    )
    return prog


def test_nodes_come_in_their_order() -> None:
    assert list(nodes(program(TREE), 0x1100)) == [0x1080, 0x1100, 0x1180, 0x1200]
    assert list(nodes(program(TREE), 0)) == []


@pytest.mark.parametrize("node", [0x1080, 0x1180, 0x1200])
@pytest.mark.parametrize("side", [0, 1])
def test_a_circle_is_said(node: int, side: int) -> None:
    ends = list(TREE[node])
    ends[side] = 0x1100
    with pytest.raises(LookupError, match="circle"):
        list(nodes(program({**TREE, node: (ends[0], ends[1])}), 0x1100))


def test_a_node_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(drgn.FaultError):
        list(nodes(program({**TREE, 0x1080: (0x9000, 0)}), 0x1100))
