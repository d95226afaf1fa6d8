"""The memory tree of the committed machines; corpus/memory_oracle.py compares the parts."""

from __future__ import annotations

import postmortem
from corpus.publish import ORACLE
from postmortem.kernel.memory_tree import memory_tree
from tests.conftest import Machine


def test_parts_add_up_to_what_the_machine_said_it_had(machine: Machine) -> None:
    tree = memory_tree(machine.prog)
    assert tree.total_bytes == machine.facts["memory_bytes"]["MemTotal"]
    assert sum(part.bytes for part in tree.parts) == tree.total_bytes
    for part in tree.parts:
        if part.name != "unaccounted":
            assert 0 <= part.bytes < tree.total_bytes
            assert sum(own.bytes for own in part.parts) <= part.bytes or part.name == "anonymous"


def test_slab_is_about_what_the_machine_read_before_it_broke(machine: Machine) -> None:
    slab = memory_tree(machine.prog).part("slab")
    before = machine.facts["memory_bytes"]["Slab"]
    assert slab is not None
    assert abs(slab.bytes - before) < 0.2 * before


def test_little_is_unaccounted_on_a_machine_of_which_all_is_known(machine: Machine) -> None:
    tree = memory_tree(machine.prog)
    rest = tree.part("unaccounted")
    assert rest is not None
    # 128 MiB machines: drivers' rings and buffers of some MiB.
    assert -0.02 * tree.total_bytes < rest.bytes < 0.15 * tree.total_bytes


def test_what_a_kernel_printed_of_its_memory_is_the_same_tree() -> None:
    """Key m, pressed a moment before the dump: what both tell of differs by what moved since."""
    path = next(ORACLE.glob("6.12own-sysrq-locks.vmcore*"))
    with postmortem.open(path, debuginfod=False) as case:
        (printed,) = case.logged_memory
        tree = memory_tree(case.prog)
    told = {part.name: part.bytes for part in printed.tree.parts}
    read = {part.name: part.bytes for part in tree.parts}
    assert printed.tree.total_bytes == tree.total_bytes
    moved = tree.total_bytes // 200
    for name in set(told) & set(read):
        assert abs(told[name] - read[name]) <= moved, name
    rest = read["vmalloc"] + read["per-CPU"] + read["unaccounted"]
    assert abs(told["not told apart"] - rest) <= moved
    marks = [(z.name, z.managed_bytes, z.min_bytes, z.high_bytes) for z in tree.zones]
    assert marks == [
        (z.name, z.managed_bytes, z.min_bytes, z.high_bytes) for z in printed.tree.zones
    ]
