"""SysRq keys on a dump with holes and bent lists: the format goes on, and we say where not."""

from __future__ import annotations

import re
from typing import Any

import drgn
import pytest

from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.printers.lines import Line
from postmortem.printers.sysrq import SHOWN, sysrq
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_circles import bend

NAME = "6.12-null-chain"
PID = re.compile(r"task:.*? pid: *(\d+) ")
NOWHERE = 0xFFFF_C123_4567_8000
"""An address that no page table of the dump has."""


@pytest.fixture
def prog() -> Any:
    return fresh(NAME)


def hole(prog: Any, address: int, size: int) -> None:
    """What makedumpfile left out."""

    def missing(at: int, _count: int, _offset: int, _physical: bool) -> bytes:
        raise drgn.FaultError("page is not in the dump", at)

    prog.add_memory_segment(address, size, missing)


def pids(lines: list[Line]) -> list[int]:
    return [int(match[1]) for line in lines if (match := PID.match(line.text))]


def notes(lines: list[Line]) -> list[str]:
    """Ours; no line of a kernel looks like them."""
    assert all(line.ours == line.text.startswith("[postmortem: ") for line in lines)
    return [line.text for line in lines if line.ours]


def test_a_list_of_tasks_that_loops(prog: Any) -> None:
    whole = pids(list(sysrq(machine_named(NAME).prog, "t")))
    tasks = all_tasks(machine_named(NAME).prog).tasks
    early, late = (drgn.Object(prog, "struct task_struct *", tasks[n].address) for n in (2, 9))
    bend(late.tasks.next, early.tasks.address_)
    found = list(sysrq(prog, "t"))
    assert len(pids(found)) == len(set(pids(found)))
    # The pid tree knows those behind the loop.
    assert set(pids(found)) == set(whole)
    assert any("circle" in text for text in notes(found))
    assert any(line.text.startswith("Showing busy workqueues") for line in found)


def test_a_task_that_is_not_in_the_dump(prog: Any) -> None:
    whole = list(sysrq(machine_named(NAME).prog, "t"))
    lost = all_tasks(machine_named(NAME).prog).tasks[5]
    hole(prog, lost.address, int(drgn.sizeof(prog.type("struct task_struct"))))
    found = list(sysrq(prog, "t"))
    assert set(pids(whole)) - set(pids(found)) <= {lost.pid}
    assert notes(found)


def test_lists_of_a_cpu_that_are_torn(prog: Any) -> None:
    address = prog["node_data"][0].value_()
    zone = drgn.Object(prog, "struct pglist_data", address=address).node_zones[0]
    bend(zone.per_cpu_pageset, NOWHERE)
    found = list(sysrq(prog, "m"))
    assert any("free pages of CPU 0" in text for text in notes(found))
    whole = [line.text for line in sysrq(machine_named(NAME).prog, "m")]
    kept = [line.text for line in found if not line.ours]
    assert len(kept) == len(whole)
    assert kept[-4:] == whole[-4:]


def test_a_node_that_is_not_in_the_dump(prog: Any) -> None:
    hole(prog, prog["node_data"][0].value_(), 4096)
    found = list(sysrq(prog, "m"))
    assert found[1].text == "Mem-Info:"
    assert any("node 0" in text for text in notes(found))
    assert any(line.text.endswith(" total pagecache pages") for line in found)


@pytest.mark.parametrize("key", [*SHOWN, *"fehiknsuj0b"])
def test_a_cpu_whose_memory_can_t_be_found(prog: Any, key: str) -> None:
    """Per-CPU variables of CPU 1 lead nowhere: every key has its header, none has a traceback."""
    bend(prog["__per_cpu_offset"][1], NOWHERE)
    found = list(sysrq(prog, key))
    assert found[0].text.startswith("sysrq: ")
    assert len(found) < 1 << 16
    notes(found)
