"""The machine's time from clocks of which one may be damaged."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from postmortem.kernel.cpu.clock import NSEC, Clock, agreed, machine_time, read_clock
from postmortem.kernel.cpu.cpus import all_cpus
from postmortem.kernel.cpu.lockups import lockups
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.cpu.rcu import grace_period
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_circles import bend

NAME = "7.2-healthy-idle"


@pytest.fixture
def prog() -> Any:
    return fresh(NAME)


def cpus_of(prog: Any) -> list[int]:
    return [cpu.number for cpu in all_cpus(prog).cpus]


@pytest.mark.parametrize(
    ("readings", "witnesses", "latest"),
    [
        ([100, 99], [], 100),
        ([100, 99, 5000], [], 100),  # one clock runs ahead of all others
        ([5000, 40], [39], 40),
        ([100], [], 100),
        ([500, 100, 101], [490], 101),  # near rather than far
        ([90, 50], [55], 90),  # a CPU that sleeps is behind
        ([], [7], 0),
    ],
)
def test_a_clock_counts_that_another_one_bears_out(
    readings: list[int], witnesses: list[int], latest: int
) -> None:
    seconds = [value * NSEC for value in readings]
    assert agreed(seconds, [value * NSEC for value in witnesses]) == latest * NSEC


@pytest.mark.parametrize("bit", [34, 40, 54])
def test_one_bit_in_a_clock_does_not_move_the_time(prog: Any, bit: int) -> None:
    whole = machine_time(prog, cpus_of(prog))
    clock = variable(prog, "runqueues", 0, "struct rq").clock
    bend(clock, clock.value_() ^ 1 << bit)
    assert abs(machine_time(prog, cpus_of(prog)).now_ns - whole.now_ns) < NSEC


@pytest.mark.parametrize("jiffies", [0, 1 << 60, (1 << 32) - 1])
def test_jiffies_that_fit_no_other_clock_are_counted_from_them(prog: Any, jiffies: int) -> None:
    whole = machine_time(prog, cpus_of(prog))
    bend(prog["jiffies_64"], jiffies)
    found = machine_time(prog, cpus_of(prog))
    assert (found.hz, found.now_ns) == (whole.hz, whole.now_ns)
    assert abs(found.jiffies - whole.jiffies) < whole.hz


def test_a_timekeeper_of_another_time_is_not_asked(prog: Any) -> None:
    whole = machine_time(prog, cpus_of(prog))
    base = prog["timekeeper_data"][0].timekeeper.tkr_mono.base
    bend(base, base.value_() + (1 << 55))
    found = machine_time(prog, cpus_of(prog))
    assert (found.mono_ns, found.now_ns, found.jiffies) == (None, whole.now_ns, whole.jiffies)
    assert found.damaged == ("the timekeeper",)
    # A CPU that went to sleep read the clock: nothing was overdue then on a healthy machine.
    assert all(late < 2 * NSEC for late in read_clock(prog, cpus_of(prog)).overdue_ns.values())


def test_clocks_of_a_whole_machine_are_not_damaged(prog: Any) -> None:
    assert read_clock(prog, cpus_of(prog)).damaged == ()
    assert not [problem for problem in lockups(prog).problems if problem.what == "clock"]


def test_a_damaged_clock_is_said(prog: Any) -> None:
    bend(prog["timekeeper_data"][0].timekeeper.tkr_mono.base, 1 << 60)
    assert [problem.what for problem in lockups(prog).problems] == ["clock"]


def test_one_timer_alone_does_not_silence_a_cpu(prog: Any) -> None:
    expires = variable(prog, "hrtimer_bases", 0, "struct hrtimer_cpu_base").expires_next
    bend(expires, 1)
    assert read_clock(prog, cpus_of(prog)).overdue_ns[0] < NSEC


def test_what_was_before_the_boot_is_no_time() -> None:
    clock = Clock(100 * NSEC, hz=250, jiffies=300 * 250)
    assert clock.jiffies_ago(200 * 250) == 100
    assert clock.jiffies_ago(10 * 250) == 0.0


def test_a_start_that_nothing_bears_out_makes_no_old_grace_period(prog: Any) -> None:
    """gp_start says that it began with the boot; when it would be late says: just now."""
    state = prog["rcu_state"]
    clock = read_clock(prog, cpus_of(prog))
    jiffies = clock.jiffies
    for member, value in (
        (state.gp_seq, state.gp_seq.value_() | 1),
        (state.gp_start, jiffies - 60 * clock.hz),
        (state.jiffies_stall, jiffies + 21 * clock.hz),
        (state.jiffies_resched, jiffies + 10 * clock.hz),
    ):
        bend(member, value)
    late = Clock(1000 * NSEC, clock.hz, jiffies)
    period = grace_period(prog, late)
    assert period is not None and period.age_seconds < 1
    bend(state.jiffies_resched, jiffies + (10 - 60) * clock.hz)
    borne_out = grace_period(prog, late)
    assert borne_out is not None and round(borne_out.age_seconds) == 60


def test_a_cpu_whose_task_is_gone_is_said(prog: Any) -> None:
    """The run queue's word alone is made up for by the CPU's own."""
    bend(variable(prog, "runqueues", 0, "struct rq").curr, 0)
    assert len(all_cpus(prog).cpus) == 2 and not all_cpus(prog).problems


def test_a_cpu_of_which_nothing_is_known_is_said() -> None:
    prog = fresh(NAME)
    bend(variable(prog, "runqueues", 1, "struct rq").curr, 0)
    bend(variable(prog, "current_task", 1, "struct task_struct *"), 8)
    found = all_cpus(prog)
    assert [cpu.number for cpu in found.cpus] == [0]
    assert [problem.what for problem in found.problems] == ["CPU 1"]


def test_an_empty_mask_of_cpus_is_said() -> None:
    prog = fresh(NAME)
    mask = prog["__cpu_present_mask"]
    data = struct.pack("<Q", 0)
    size = mask.type_.size
    prog.add_memory_segment(mask.address_, size, lambda *_args: (data * (size // 8))[: _args[1]])
    assert [problem.what for problem in all_cpus(prog).problems] == ["CPUs"]
