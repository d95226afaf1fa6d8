"""Which CPUs are called stuck, and where the way from one to the next ends."""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.judge.stuck import How, Reason, _circle, _end, stuck_cpus
from postmortem.kernel.cpu.clock import NSEC
from postmortem.kernel.cpu.csd import Call
from postmortem.kernel.cpu.lockups import CpuState
from postmortem.kernel.locking.spinlocks import Holder, Spin
from tests.kernel.cpu_states import facts, frames, state, task, waiting


def how(one: CpuState, **changes: Any) -> How | None:
    found = stuck_cpus(facts(one, **changes))
    return found[0].how if found else None


def test_silent_cpu_with_interrupts_off_is_dead() -> None:
    assert how(state(interrupts_on=False, silent_ns=14 * NSEC)) is How.INTERRUPTS_OFF


def test_silence_with_interrupts_on_is_the_host_s_doing() -> None:
    assert how(state(interrupts_on=True, silent_ns=14 * NSEC)) is None


def test_interrupts_off_for_a_moment_is_nothing() -> None:
    assert how(state(interrupts_on=False, silent_ns=NSEC // 100)) is None


def test_idle_cpu_may_be_silent_for_ever() -> None:
    idle = state(pid=0, interrupts_on=False, silent_ns=900 * NSEC)
    assert how(idle) is None


def test_idle_task_in_an_interrupt_can_be_dead() -> None:
    stack = frames("spin_in_handler", segment="irq")
    stuck = state(pid=0, frames=stack, interrupts_on=False, silent_ns=9 * NSEC)
    assert how(stuck) is How.INTERRUPTS_OFF


def test_interrupt_that_never_ends_on_an_idle_cpu() -> None:
    stack = frames("endless_timer", "handle_softirqs", segment="softirq")
    assert how(state(pid=0, frames=stack, waiting=(waiting(12),))) is How.KERNEL
    assert how(state(pid=0, frames=stack, waiting=(waiting(0.1),))) is None


def test_cpu_whose_registers_nobody_could_save() -> None:
    assert how(state(frames=(), interrupts_on=None, silent_ns=30 * NSEC)) is How.INTERRUPTS_OFF
    assert how(state(frames=(), interrupts_on=None, silent_ns=NSEC // 10)) is None


def test_long_run_in_the_kernel_with_somebody_waiting() -> None:
    stuck = state(running_ns=14 * NSEC, waiting=(waiting(13.5),))
    assert how(stuck) is How.KERNEL


def test_long_run_that_nobody_minds_is_no_trouble() -> None:
    assert how(state(running_ns=3000 * NSEC)) is None


def test_long_wait_with_switches_in_between_is_no_lockup() -> None:
    assert how(state(running_ns=NSEC // 100, waiting=(waiting(8),))) is None


def test_real_time_task_in_user_space_starves_others() -> None:
    hog = state(frames=(), in_user=True, policy="SCHED_FIFO", running_ns=25 * NSEC,
                waiting=(waiting(24),))  # fmt: skip
    assert how(hog) is How.STARVING


def test_watchdog_without_a_turn_is_a_soft_lockup() -> None:
    late = state(running_ns=22 * NSEC, watchdog_ns=23 * NSEC)
    assert how(late, watchdog_on=True) is How.KERNEL
    assert how(late, watchdog_on=False) is None


def test_what_the_kernel_reported_counts_below_the_thresholds() -> None:
    young = state(running_ns=4 * NSEC)
    assert [item.how for item in stuck_cpus(facts(young), [0])] == [How.KERNEL]


@pytest.mark.parametrize("seconds, sure", [(5, False), (19, False), (21, True)])
def test_sure_from_the_kernel_s_own_threshold_on(seconds: int, sure: bool) -> None:
    stuck = stuck_cpus(facts(state(running_ns=seconds * NSEC, waiting=(waiting(seconds),))))
    assert [item.sure for item in stuck] == [sure]


# --- the way to the root


def held_by(cpu: int | None, certain: bool = True) -> Reason:
    holder = Holder(task(9, cpu or 0), cpu, frames("holder")[0], 0, "", certain)
    return Reason(Spin(0, 1 << 63, "lock", None, "taker", 1), holder, (holder,))


def test_the_way_ends_at_the_cpu_that_waits_for_nobody() -> None:
    reasons = {2: held_by(1), 1: Reason(call=Call(0, None, "f", True))}
    assert _end(2, reasons) == ("cpu", 0)


def test_a_sleeping_holder_is_the_end() -> None:
    assert _end(2, {2: held_by(None)}) == ("task", 0x1009)


def test_two_cpus_wait_for_each_other() -> None:
    reasons = {0: held_by(1), 1: held_by(0), 2: held_by(0)}
    assert _circle(0, reasons) == (0, 1)
    assert _end(2, reasons) == ("circle", (0, 1))


def test_a_cpu_waits_for_itself() -> None:
    assert _end(3, {3: held_by(3)}) == ("circle", (3,))


def test_a_guess_makes_no_circle() -> None:
    assert _circle(0, {0: held_by(1, certain=False), 1: held_by(0)}) == ()


def test_a_long_chain_ends() -> None:
    reasons = {cpu: held_by(cpu + 1) for cpu in range(500)}
    assert _end(0, reasons) == ("cpu", 500)
