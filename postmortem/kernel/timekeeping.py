"""What time it was by the kernel's own clock. Source: kernel/time/timekeeping.c."""

from __future__ import annotations

import drgn

from postmortem.dump.damage import damage, integer
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.masks import for_each_online_cpu


def timekeeper(prog: drgn.Program) -> drgn.Object:
    """``struct timekeeper`` of the core; an element of ``timekeeper_data`` since v6.13.

    :raises LookupError: this kernel has neither.
    """
    try:
        return prog["tk_core"].timekeeper.read_()
    except LookupError:
        return prog["timekeeper_data"][0].timekeeper.read_()


def monotonic_ns(prog: drgn.Program) -> int:
    """CLOCK_MONOTONIC when it was last brought up to date, at most a tick before the dump."""
    mono = timekeeper(prog).tkr_mono
    return int(mono.base.value_() + (mono.xtime_nsec.value_() >> mono.shift.value_()))


def sched_clock_ns(prog: drgn.Program, local_ns: int) -> int | None:
    """``sched_clock()`` at the time that a CPU's own clock says, as nearly as can be told.

    A stable clock is that plus ``__sched_clock_offset`` (kernel/sched/clock.c); of one that
    is not, each CPU keeps what it last read. ``None`` if neither can be read.
    """
    try:
        if integer(prog["__sched_clock_stable"].key.enabled) > 0:
            offset = integer(prog["__sched_clock_offset"])
            return (local_ns - offset) & ((1 << 64) - 1)
        return max(
            int(
                variable(prog, "sched_clock_data", cpu, "struct sched_clock_data").tick_raw.value_()
            )
            for cpu in for_each_online_cpu(prog)
        )
    except damage():
        return None


_HZ = (100, 250, 300, 1000)


def tick_hz(prog: drgn.Program) -> int:
    """CONFIG_HZ: the timekeeper notes how long a tick is; 250 where it can't be read."""
    try:
        keeper = timekeeper(prog)
        hz = round(1e9 / (keeper.xtime_interval.value_() >> keeper.tkr_mono.shift.value_()))
    except damage():
        return 250
    return min(_HZ, key=lambda common: abs(common - hz))
