"""What time it was in the machine when it was stopped, and which CPUs missed their timers.

Nothing in a dump says "now": a CPU's clock is what it last read, and the latest
reading of all is the best there is. Other CPUs update a dead CPU's run-queue
clock, but nobody serves its timers: a timer that is overdue tells how long a CPU
has taken no interrupt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.cpu.percpu import variable

NSEC = 1_000_000_000
_DEFAULT_HZ = 250
_COMMON_HZ = (100, 250, 300, 1000)
_MAX_NS = 1 << 62


@dataclass(frozen=True)
class Clock:
    """The machine's time. Nanoseconds are those of ``sched_clock()``, about since boot."""

    now_ns: int
    """When the machine was stopped: by panic(), or by who took the dump."""
    hz: int
    """Jiffies in a second."""
    jiffies: int
    """As they stood when the dump was taken."""
    overdue_ns: dict[int, int] = field(default_factory=dict)
    """How long the next timer interrupt of each CPU was overdue then; not of all CPUs known."""
    late_ns: int = 0
    """How long jiffies stood still, because the CPU that counts them did."""

    def jiffies_ago(self, then: int) -> float:
        """Seconds from the jiffies value ``then`` until the machine was stopped."""
        difference = (self.jiffies - then) & 0xFFFFFFFFFFFFFFFF
        if difference >> 63:
            return 0.0
        return difference / self.hz + self.late_ns / NSEC


def read_clock(prog: drgn.Program, cpus: list[int], panic_ns: int | None = None) -> Clock:
    """Read it.

    :param panic_ns: Log time of the panic: one CPU's clock goes on after it.
    :raises LookupError: ``jiffies`` or its type is missing.
    """
    latest = max(_rq_clocks(prog, cpus), default=0)
    after_panic = max(0, latest - panic_ns) if panic_ns else 0
    keeper = _timekeeper(prog)
    overdue = {}
    late = 0
    if keeper is not None:
        counted = _mono_ns(keeper)
        mono = max([counted, *_idle_entries(prog, cpus)]) - after_panic
        late = max(0, mono - counted)
        overdue = {
            cpu: max(0, mono - expires)
            for cpu in cpus
            if (expires := _next_timer(prog, cpu)) is not None
        }
    jiffies = int(prog["jiffies_64"].value_())
    hz = _hz(keeper)
    return Clock(
        now_ns=latest - after_panic,
        hz=hz,
        jiffies=jiffies - after_panic * hz // NSEC,
        overdue_ns=overdue,
        late_ns=late,
    )


def _rq_clocks(prog: drgn.Program, cpus: list[int]) -> Iterator[int]:
    for cpu in cpus:
        try:
            value = int(variable(prog, "runqueues", cpu, "struct rq").clock.value_())
        except damage():
            continue
        if value < _MAX_NS:
            yield value


def _timekeeper(prog: drgn.Program) -> drgn.Object | None:
    """``struct timekeeper`` of the core; ``tk_core`` became an element of ``timekeeper_data``."""
    try:
        try:
            return prog["tk_core"].timekeeper.read_()
        except LookupError:
            return prog["timekeeper_data"][0].timekeeper.read_()
    except damage():
        return None


def _mono_ns(keeper: drgn.Object) -> int:
    """CLOCK_MONOTONIC when it was last updated."""
    mono = keeper.tkr_mono
    return int(mono.base.value_() + (mono.xtime_nsec.value_() >> mono.shift.value_()))


def _idle_entries(prog: drgn.Program, cpus: list[int]) -> Iterator[int]:
    """When each CPU last became idle, by CLOCK_MONOTONIC: the timekeeper may be behind that."""
    for cpu in cpus:
        try:
            sched = variable(prog, "tick_cpu_sched", cpu, "struct tick_sched")
            value = int(sched.idle_entrytime.value_())
        except damage():
            continue
        if 0 < value < _MAX_NS:
            yield value


def _next_timer(prog: drgn.Program, cpu: int) -> int | None:
    """``hrtimer_cpu_base.expires_next``; ``None`` where none is set or one is being served."""
    try:
        base = variable(prog, "hrtimer_bases", cpu, "struct hrtimer_cpu_base")
        value = int(base.expires_next.value_())
    except damage():
        return None
    return value if 0 < value < _MAX_NS else None


def _hz(keeper: drgn.Object | None) -> int:
    """CONFIG_HZ, from the timekeeper's nanoseconds per tick."""
    if keeper is None:
        return _DEFAULT_HZ
    try:
        hz = round(NSEC / (keeper.xtime_interval.value_() >> keeper.tkr_mono.shift.value_()))
    except damage():
        return _DEFAULT_HZ
    return min(_COMMON_HZ, key=lambda common: abs(common - hz)) if 50 < hz < 2000 else _DEFAULT_HZ
