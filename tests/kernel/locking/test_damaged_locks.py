"""Locks of a dead machine whose words were bent: what is not known is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import drgn
import pytest

from postmortem.graph.model import Doing, EdgeKind
from postmortem.kernel.locking.blocking import Blocking, blocking
from postmortem.kernel.locking.waits import waits
from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.kernel.tasks.unwind import sleeping_stacks
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_circles import bend

NAME = "6.1-deadlock-rwsem"


@pytest.fixture
def prog() -> Any:
    return fresh(NAME)


def mutex(prog: Any) -> drgn.Object:
    """The one that pm_walker waits for, by its symbol in the module."""
    return drgn.Object(prog, "struct mutex", address=prog.symbol("pm_port_mutex").address)


def holders(found: Blocking) -> list[str]:
    return [edge.target for edge in found.graph.edges if edge.kind is EdgeKind.HELD]


def test_the_mutex_of_a_whole_dump_has_one_certain_holder(prog: Any) -> None:
    found = blocking(prog)
    assert (len(holders(found)), found.problems) == (1, [])


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (0, "nobody waits"),  # a mutex with waiters has MUTEX_FLAG_WAITERS
        (0xFFFF_8880_1234_5678, "nobody waits"),
        (0x6B6B_6B6B_6B6B_6B6B, "no address"),
        (0xE98F_4769_7CD4_B3F1, "no address"),
        (0xFFFF_F000_0000_1001, "no task is there"),
    ],
)
def test_an_owner_that_can_be_none(prog: Any, word: int, why: str) -> None:
    bend(mutex(prog).owner.counter, word)
    found = blocking(prog)
    assert [problem for problem in found.problems if why in problem.why]
    assert len(holders(found)) == (1 if why == "no task is there" else 0)


def test_a_semaphore_that_denies_its_waiters(prog: Any) -> None:
    wait = next(wait for wait in waits(prog).waits if wait.task.comm == "pm_remover")
    lock = drgn.Object(prog, "struct rw_semaphore", address=wait.address)
    bend(lock.count.counter, 1)  # a writer has it, and no RWSEM_FLAG_WAITERS
    assert [problem for problem in blocking(prog).problems if "nobody waits" in problem.why]


def test_a_waiter_that_is_in_no_list(prog: Any) -> None:
    lock = mutex(prog)
    bend(lock.wait_list.next, lock.wait_list.address_of_().value_())
    bend(lock.wait_list.prev, lock.wait_list.address_of_().value_())
    said = [problem.why for problem in waits(prog).problems]
    assert said == [
        "which mutex pm_walker (119) waits for: no struct mutex_waiter that is linked on its stack"
    ]


def test_a_task_that_went_on_contradicts_nothing(prog: Any) -> None:
    """Its stack was read, then it got the lock: so it is on a machine that runs."""
    walker = next(t for t in all_tasks(prog).tasks if t.comm == "pm_walker")
    sleeping_stacks(prog)
    task = drgn.Object(prog, "struct task_struct *", walker.address)
    bend(task.thread.sp, task.thread.sp.value_() - 64)
    lock = mutex(prog)
    bend(lock.owner.counter, 0)
    bend(lock.wait_list.next, lock.wait_list.address_of_().value_())
    bend(lock.wait_list.prev, lock.wait_list.address_of_().value_())
    assert blocking(prog).problems == []


@pytest.mark.parametrize("complete", [True, False])
def test_an_owner_that_no_list_names_has_exited_only_if_all_tasks_were_read(
    prog: Any, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    everybody = all_tasks(prog)
    owner = next(task for task in everybody.tasks if task.comm == "kthreadd")
    bend(mutex(prog).owner.counter, owner.address | 1)  # MUTEX_FLAG_WAITERS
    others = [task for task in everybody.tasks if task is not owner]
    known = {task.address: task for task in others}
    read = replace(everybody, tasks=others, by_address=known, complete=complete)
    monkeypatch.setattr("postmortem.kernel.locking.blocking.all_tasks", lambda _prog: read)
    found = blocking(prog)
    (holder,) = holders(found)
    assert (found.graph.nodes[holder].doing is Doing.GONE) is complete
    unknown = [problem for problem in found.problems if "is not known" in problem.why]
    assert bool(unknown) is not complete
