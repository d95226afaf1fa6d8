"""From the structure on a stack to the lock: both layouts, whole and damaged."""

from __future__ import annotations

from typing import Any

import pytest

import postmortem
from postmortem.kernel.locking.waiters import Layout, Ring, Waiters
from postmortem.kernel.tasks.unwind import SleepingStack
from tests.conftest import DUMPS, NAMES
from tests.kernel.fabricated import Machine

LOCKS = (
    ("struct mutex", "struct mutex_waiter"),
    ("struct rw_semaphore", "struct rwsem_waiter"),
)


def fresh(name: str) -> Any:
    """A program of one's own: these tests write into its memory."""
    path = next(DUMPS.glob(f"{name}.vmcore*"))
    return postmortem.open(path, debuginfod=False).prog


@pytest.fixture(params=[name for name in NAMES if name.startswith(("6.12", "7.2"))], scope="module")
def prog(request: pytest.FixtureRequest) -> Any:
    return fresh(request.param)


@pytest.fixture(scope="module")
def machine(prog: Any) -> Machine:
    return Machine(prog)


def found(
    machine: Machine, stack: SleepingStack, layout: Layout
) -> tuple[Waiters, int | None, Ring | None, int | None]:
    waiters = Waiters(machine.prog, machine.stacks)
    waiter = waiters.on_stack(stack, layout, 512)
    if waiter is None:
        return waiters, None, None, None
    ring = waiters.ring(waiter, layout)
    return waiters, waiter, ring, waiters.lock_of(stack, ring, layout)


def layout_of(machine: Machine, kind: str) -> Layout:
    return Waiters(machine.prog, machine.stacks).layouts[kind]


@pytest.mark.parametrize(("kind", "waiter"), LOCKS)
def test_lock_is_found_from_each_of_its_waiters(machine: Machine, kind: str, waiter: str) -> None:
    tasks = [machine.task(pid) for pid in (11, 12, 13)]
    lock, places = machine.lock(kind, waiter, tasks)
    for task, place in zip(tasks, places, strict=True):
        stack = machine.stacks.by_task[task.address]
        _, at, ring, address = found(machine, stack, layout_of(machine, kind))
        assert (at, address) == (place, lock)
        assert ring is not None and set(ring.waiters.values()) == {t.address for t in tasks}


def test_single_waiter(machine: Machine) -> None:
    task = machine.task(21)
    lock, _ = machine.lock(*LOCKS[0], [task])
    stack = machine.stacks.by_task[task.address]
    assert found(machine, stack, layout_of(machine, LOCKS[0][0]))[3] == lock


def test_word_that_only_looks_like_a_waiter_is_refused(machine: Machine) -> None:
    """The task's address lies on its stack in many places."""
    task = machine.task(31)
    stack = machine.stacks.by_task[task.address]
    machine.memory.write(stack.sp + 200, task.address)
    machine.memory.write(stack.sp + 184, stack.sp + 8)
    machine.memory.write(stack.sp + 192, stack.sp + 8)
    machine.refresh()
    stack = machine.stacks.by_task[task.address]
    assert found(machine, stack, layout_of(machine, LOCKS[0][0]))[1] is None


def test_list_that_runs_in_a_circle_ends(machine: Machine) -> None:
    tasks = [machine.task(pid) for pid in (41, 42, 43, 44)]
    _, places = machine.lock(*LOCKS[0], tasks)
    layout = layout_of(machine, LOCKS[0][0])
    # The third points back to the second, which no longer points to the first.
    machine.memory.write(places[2] + layout.links, places[1] + layout.links)
    machine.refresh()
    _, _, ring, _ = found(machine, machine.stacks.by_task[tasks[0].address], layout)
    assert ring is not None
    assert "circle" in ring.broken


def test_unreadable_waiter_leaves_the_others(machine: Machine) -> None:
    tasks = [machine.task(pid) for pid in (51, 52, 53, 54)]
    lock, places = machine.lock(*LOCKS[0], tasks)
    layout = layout_of(machine, LOCKS[0][0])
    machine.memory.holes.add(places[2] + layout.links)
    try:
        _, _, ring, address = found(machine, machine.stacks.by_task[tasks[0].address], layout)
    finally:
        machine.memory.holes.clear()
    assert ring is not None
    assert "breaks off" in ring.broken
    assert tasks[1].address in ring.waiters.values()
    assert address in (lock, None)


def test_waiter_on_a_strange_stack_does_not_count(machine: Machine) -> None:
    """A structure that names a task must lie on that task's stack."""
    tasks = [machine.task(pid) for pid in (61, 62)]
    stranger = machine.task(63)
    _, places = machine.lock(*LOCKS[0], tasks)
    task_offset = machine.offset("struct mutex_waiter", "task")
    machine.memory.write(places[1] + task_offset, stranger.address)
    machine.refresh()
    layout = layout_of(machine, LOCKS[0][0])
    _, _, ring, _ = found(machine, machine.stacks.by_task[tasks[0].address], layout)
    assert ring is not None
    assert stranger.address not in ring.waiters.values()
