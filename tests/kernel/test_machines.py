"""CPUs, time, RCU and worker pools of each committed machine, none of which has a stuck CPU."""

from __future__ import annotations

from postmortem.judge.stuck import stuck_cpus
from postmortem.kernel.cpu.interrupts import interrupts
from postmortem.kernel.cpu.lockups import lockups
from postmortem.kernel.cpu.rcu import grace_period
from postmortem.kernel.cpu.workqueues import waiting_pools
from tests.conftest import Machine


def test_every_cpu_is_read_and_its_clock_is_the_machine_s(machine: Machine) -> None:
    found = lockups(machine.prog)
    assert len(found.cpus) == machine.facts["cpus"]
    # sched_clock() begins a moment before /proc/uptime does.
    assert -2 <= found.clock.now_ns / 1e9 - machine.facts["uptime_seconds"] < 120
    assert found.clock.hz == 250  # CONFIG_HZ of Debian's kernels
    assert found.watchdog_thresh == 10  # the kernel's default


def test_flags_and_preempt_count_are_known(machine: Machine) -> None:
    for state in lockups(machine.prog).cpus:
        assert state.preempt_count is not None
        assert state.interrupts_on is not None


def test_no_cpu_is_called_stuck(machine: Machine) -> None:
    assert stuck_cpus(lockups(machine.prog)) == []


def test_no_grace_period_or_pool_is_old(machine: Machine) -> None:
    clock = lockups(machine.prog).clock
    period = grace_period(machine.prog, clock)
    assert period is None or period.age_seconds < period.timeout_seconds
    pools = waiting_pools(machine.prog, clock)
    assert all(pool.stalled_seconds < pools.thresh_seconds for pool in pools.pools)


def test_the_timer_interrupt_is_counted(machine: Machine) -> None:
    found = {line.name: line for line in interrupts(machine.prog, 10.0)}
    assert found["timer"].total > 0
    assert not any(line.stormy for line in found.values())
