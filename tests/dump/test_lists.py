"""Lists that are whole, and lists that lead back into themselves."""

from __future__ import annotations

import drgn
import pytest

from postmortem.dump.lists import list_entries, nodes
from tests.kernel.fabricated import Memory
from tests.kernel.locking.test_waiters import fresh


@pytest.fixture
def memory() -> Memory:
    return Memory(fresh("6.12-null-chain"))


def test_every_node_up_to_the_head(memory: Memory) -> None:
    head, first, second = (memory.allocate(16) for _ in range(3))
    memory.link([head, first, second])
    assert list(nodes(memory.prog, head)) == [first, second]


def test_an_empty_list(memory: Memory) -> None:
    head = memory.allocate(16)
    memory.link([head])
    assert list(nodes(memory.prog, head)) == []


def test_a_node_that_follows_itself_ends_the_walk(memory: Memory) -> None:
    head, first, second = (memory.allocate(16) for _ in range(3))
    memory.link([head, first, second])
    memory.write(second, second)
    walk = nodes(memory.prog, head)
    assert [next(walk), next(walk)] == [first, second]
    with pytest.raises(LookupError, match="circle"):
        next(walk)


def test_a_circle_that_leaves_the_head_out(memory: Memory) -> None:
    head, first, second = (memory.allocate(16) for _ in range(3))
    memory.link([head, first, second])
    memory.write(second, first)
    with pytest.raises(LookupError, match="circle"):
        list(nodes(memory.prog, head))


def test_a_hole(memory: Memory) -> None:
    head, first = (memory.allocate(16) for _ in range(2))
    memory.link([head, first])
    memory.holes.add(first)
    with pytest.raises(drgn.FaultError):
        list(nodes(memory.prog, head))


def test_the_structs_around_the_nodes(memory: Memory) -> None:
    prog = memory.prog
    kind = prog.type("struct super_block")
    head = memory.allocate(16)
    block = memory.allocate(drgn.sizeof(kind))
    memory.link([head, block + drgn.offsetof(kind, "s_list")])
    found = list(list_entries(drgn.Object(prog, "struct list_head", address=head),
                              "struct super_block", "s_list"))  # fmt: skip
    assert [one.value_() for one in found] == [block]
    assert found[0].type_.type_name() == "struct super_block *"
