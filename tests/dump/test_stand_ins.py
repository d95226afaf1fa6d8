"""What helpers are told of CPUs that a panic stopped, and of damaged numbers."""

from __future__ import annotations

from typing import Any

import drgn
import pytest
from drgn.helpers.linux.cpumask import for_each_online_cpu, for_each_possible_cpu
from drgn.helpers.linux.nodemask import for_each_online_node

from postmortem.dump.stand_ins import _StandIns
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_damage import overlay


@pytest.mark.parametrize("name", ["6.1-oops-then-sysrq", "6.12-null-chain"])
def test_cpus_that_panic_stopped_count_as_online(name: str) -> None:
    prog = machine_named(name).prog
    assert prog.read_u64(prog.symbol("__cpu_online_mask").address) == 0b10, "the memory is as it is"
    assert list(for_each_online_cpu(prog)) == [0, 1]


def bent(symbol: str, word: int) -> Any:
    prog = fresh("6.12-null-chain")
    address = prog.symbol(symbol).address
    high = prog.read_u32(address + 4)
    overlay(prog, address, high << 32 | word)
    # What was asked for while the dump was opened is kept.
    prog.register_object_finder("asked anew", _StandIns(prog).find, enable_index=0)
    return prog


def test_machine_that_did_not_panic_has_the_cpus_that_are_online() -> None:
    prog = bent("panic_cpu", 0xFFFFFFFF)
    overlay(prog, prog.symbol("crashing_cpu").address, 0xFFFFFFFF)
    prog.set_enabled_object_finders(
        [name for name in prog.enabled_object_finders() if name != "stand-ins"]
    )
    assert list(for_each_online_cpu(prog)) == [1]


@pytest.mark.parametrize("value", [0, 1 << 20, 0xFFFFFFFF])
def test_numbers_that_end_loops_are_bounded(value: int) -> None:
    prog = bent("nr_cpu_ids", value)
    assert prog["nr_cpu_ids"].value_() == 8 * drgn.sizeof(prog.type("struct cpumask"))
    assert list(for_each_possible_cpu(prog)) == [0, 1]
    prog = bent("nr_node_ids", value)
    assert list(for_each_online_node(prog)) == [0]
