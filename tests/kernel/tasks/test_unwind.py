"""Bulk unwinding gives what drgn's own unwinder gives for each task."""

from __future__ import annotations

import drgn
import pytest

from postmortem.kernel.tasks.stacks import describe_trace
from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.kernel.tasks.unwind import Unwinder, sleeping_stacks
from tests.conftest import Machine


def test_every_sleeping_task_has_the_stack_that_drgn_unwinds(machine: Machine) -> None:
    prog = machine.prog
    found = sleeping_stacks(prog)
    for address, stack in found.by_task.items():
        trace = prog.stack_trace(drgn.Object(prog, "struct task_struct *", address))
        expected = [frame.pc for frame in describe_trace(prog, trace)]
        assert [frame.pc for frame in stack.shape.frames] == expected, stack.task.comm


def test_every_task_is_on_a_cpu_or_has_a_stack_or_a_reason(machine: Machine) -> None:
    found = sleeping_stacks(machine.prog)
    running = 0
    for task in all_tasks(machine.prog).tasks:
        known = task.address in found.by_task or task.address in found.unreadable
        running += task.on_cpu
        assert known or task.on_cpu or task.state in "ZX"
    assert running <= machine.facts["cpus"]


def test_equal_stacks_are_one_shape(machine: Machine) -> None:
    groups = sleeping_stacks(machine.prog).groups()
    workers = [shape for shape in groups if "worker_thread" in shape.functions[:3]]
    assert len(workers) == 1
    assert len(groups[workers[0]]) > 3


def test_stack_pointer_outside_the_stack_is_refused(machine: Machine) -> None:
    stack = next(iter(sleeping_stacks(machine.prog).by_task.values()))
    with pytest.raises(LookupError, match="outside the stack"):
        Unwinder(machine.prog).unwind(stack.task, (0x1000, 0x5000))
