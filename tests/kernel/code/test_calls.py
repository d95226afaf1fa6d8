"""Functions that a jump took off the stack, on stacks of a machine that was really so."""

from __future__ import annotations

from postmortem.kernel.code.calls import with_tails
from postmortem.kernel.tasks.unwind import sleeping_stacks
from tests.conftest import machine_named


def whole(comm: str) -> list[str]:
    prog = machine_named("6.1-oops-then-sysrq").prog
    stacks = sleeping_stacks(prog).by_task.values()
    frames = next(s.shape.frames for s in stacks if s.task.comm == comm)
    return [frame.function or "?" for frame in with_tails(prog, frames)]


def test_the_call_names_who_jumped_on() -> None:
    """mutex_lock() ends in ``__mutex_lock_slowpath(lock)``, and that in __mutex_lock()."""
    names = whole("pm_reloader")
    assert names[names.index("mutex_lock") + 1] == "pm_config_reload"
    assert names[names.index("mutex_lock") - 1].startswith("__mutex_lock")


def test_khungtaskd_sleeps_by_a_function_that_only_jumps() -> None:
    """schedule_timeout_interruptible() sets the state and ends in schedule_timeout()."""
    names = whole("khungtaskd")
    at = names.index("schedule_timeout_interruptible")
    assert (names[at - 1], names[at + 1]) == ("schedule_timeout", "watchdog")


def test_a_call_of_the_function_above_hides_nobody() -> None:
    names = whole("khungtaskd")
    assert names.count("schedule_timeout") == names.count("watchdog") == 1


def test_a_stack_without_frames() -> None:
    assert with_tails(machine_named("6.1-oops-then-sysrq").prog, ()) == ()
