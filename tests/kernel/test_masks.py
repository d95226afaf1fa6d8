"""CPUs and nodes by their masks, whatever the counts beside them say."""

from __future__ import annotations

import struct
from typing import Any

import drgn
import pytest

from postmortem.kernel import masks
from tests.conftest import Machine
from tests.kernel.fabricated import Memory
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_circles import bend


def test_the_cpus_that_the_machine_was_given(machine: Machine) -> None:
    prog = machine.prog
    wanted = list(range(machine.facts["cpus"]))
    assert list(masks.for_each_present_cpu(prog)) == wanted
    assert list(masks.for_each_possible_cpu(prog)) == wanted
    assert set(masks.for_each_online_cpu(prog)) <= set(wanted)
    assert list(masks.for_each_online_node(prog)) == [0]


def count(prog: Any, name: str, value: int) -> None:
    """Let a 32-bit count hold something else."""
    data = struct.pack("<I", value)
    prog.add_memory_segment(
        prog.symbol(name).address, 4, lambda _at, size, offset, _p: data[offset : offset + size]
    )


@pytest.mark.parametrize("value", [0, 1, 0xFFFFFFFF])
def test_counts_that_are_damaged_change_nothing(value: int) -> None:
    prog = fresh("6.12-null-chain")
    before = list(masks.for_each_possible_cpu(prog))
    count(prog, "nr_cpu_ids", value)
    count(prog, "nr_node_ids", value)
    assert list(masks.for_each_possible_cpu(prog)) == before
    assert list(masks.for_each_online_node(prog)) == [0]


def test_a_mask_that_was_allocated_ends_with_the_last_cpu() -> None:
    memory = Memory(fresh("6.12-null-chain"))
    address = memory.allocate(16)
    memory.write(address, 0b11)
    memory.write(address + 8, 0b1)  # something else behind it
    mask = drgn.Object(memory.prog, "struct cpumask", address=address)
    assert list(masks.for_each_cpu(mask)) == [0, 1]


def test_a_bit_of_the_second_word() -> None:
    prog = fresh("6.12-null-chain")
    bend(prog["__cpu_possible_mask"].bits[1], 1 << 3)
    assert list(masks.for_each_possible_cpu(prog))[-1] == 67
