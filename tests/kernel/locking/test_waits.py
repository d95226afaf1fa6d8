"""Waits, holders and the graph on machines that really hung."""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.graph.model import NodeKind, roots
from postmortem.kernel.locking.blocking import blocking
from postmortem.kernel.locking.waits import waits
from postmortem.rules.waits import WaitKind
from tests.conftest import Machine, machine_named


@pytest.fixture(scope="module")
def hung() -> Machine:
    """A task died with pm_config_mutex in its hands, pm_reloader waits for it (faults/tasks.c)."""
    return machine_named("6.1-oops-then-sysrq")


def wait_of(machine: Machine, comm: str) -> Any:
    return next(wait for wait in waits(machine.prog).waits if wait.task.comm == comm)


def test_waiting_task_names_the_static_mutex(hung: Machine) -> None:
    wait = wait_of(hung, "pm_reloader")
    assert (wait.kind, wait.name) == (WaitKind.MUTEX, "pm_config_mutex [pm_fault]")
    assert wait.frame.function == "pm_config_reload"


def test_wait_began_after_the_oops_and_lasts_about_three_seconds(hung: Machine) -> None:
    """The script forces the crash three seconds after it began (scenarios.toml)."""
    seconds = wait_of(hung, "pm_reloader").since.seconds
    assert 1.5 < seconds < 4.5


def test_dead_holder_is_the_root(hung: Machine) -> None:
    graph = blocking(hung.prog).graph
    (root,) = [graph.nodes[node] for node in roots(graph)]
    assert root.kind is NodeKind.TASK
    assert "exited" in root.state


def test_healthy_tasks_wait_for_nothing_that_is_held(machine: Machine) -> None:
    if machine.name in ("6.1-oops-then-sysrq", "6.1-deadlock-rwsem"):
        return
    locks = [n for n in blocking(machine.prog).graph.nodes.values() if n.kind is NodeKind.LOCK]
    assert locks == []


def test_every_state_that_the_machine_reported_for_idle_workers(machine: Machine) -> None:
    """Idle kworkers rest: no other reason is invented for them."""
    idle = [w for w in waits(machine.prog).waits if w.frame.function == "worker_thread"]
    assert idle
    assert {wait.kind for wait in idle} == {WaitKind.EVENT}


def test_a_second_look_costs_nothing(machine: Machine) -> None:
    assert waits(machine.prog) is waits(machine.prog)
