"""What time it was in the machine when it was stopped, and which CPUs missed their timers.

Nothing in a dump says "now": a CPU's clock is what it last read, and the latest
reading of all is the best there is, if another one bears it out: one flipped bit makes a
clock of its own. Other CPUs update a dead CPU's run-queue clock, but nobody serves its
timers: a timer that is overdue tells how long a CPU has taken no interrupt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median_low

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.percpu import variable

NSEC = 1_000_000_000
_DEFAULT_HZ = 250
_COMMON_HZ = (100, 250, 300, 1000)
_MAX_NS = 1 << 62
_NEAR = 3 * NSEC
"""Two clocks of a CPU that runs differ by less: its tick reads them every few milliseconds."""
_FAR = 60 * NSEC
"""So far a CPU that sleeps, or the last line of the log, may be behind."""
_OFFSET = 10 * NSEC
"""CLOCK_MONOTONIC and sched_clock() begin at different moments of the boot."""
_WORDS = (1 << 64) - 1


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
    damaged: tuple[str, ...] = ()
    """The kernel's clocks that tell no time that can be: what was measured by them is a guess."""

    def jiffies_ago(self, then: int) -> float:
        """Seconds from the jiffies value ``then`` until the machine was stopped.

        0 for what lies in the future, or before the boot: that is no time of this machine.
        """
        difference = (self.jiffies - then) & _WORDS
        if difference >> 63:
            return 0.0
        seconds = difference / self.hz + self.late_ns / NSEC
        return 0.0 if self.now_ns and seconds > (self.now_ns + _FAR) / NSEC else seconds


def read_clock(prog: drgn.Program, cpus: list[int], panic_ns: int | None = None) -> Clock:
    """Read it.

    :param panic_ns: Log time of the panic: one CPU's clock goes on after it.
    :raises LookupError: ``jiffies`` or its type is missing.
    """
    told = machine_time(prog, cpus)
    latest = told.now_ns
    after_panic = max(0, latest - panic_ns) if panic_ns else 0
    overdue = {}
    late = 0
    idle = [then for then in _idle_entries(prog, cpus) if then <= latest + _OFFSET]
    # Without the timekeeper a CPU that went to sleep knows what time it was then, at least.
    counted = told.mono_ns if told.mono_ns is not None else max(idle, default=None)
    if counted is not None:
        mono = max([counted, *idle]) - after_panic
        late = max(0, mono - counted)
        overdue = {
            cpu: max(0, mono - expires)
            for cpu in cpus
            if (expires := _next_timer(prog, cpu)) is not None
        }
    return Clock(
        now_ns=latest - after_panic,
        hz=told.hz,
        jiffies=told.jiffies - after_panic * told.hz // NSEC,
        overdue_ns=overdue,
        late_ns=late,
        damaged=told.damaged,
    )


@dataclass(frozen=True)
class Told:
    """What the machine's clocks say, without those that no other one bears out."""

    now_ns: int
    """By ``sched_clock()``; 0 if no clock can be read."""
    jiffies: int
    """Counted from now where the kernel's own are damaged."""
    hz: int
    mono_ns: int | None
    """CLOCK_MONOTONIC when it was last updated; ``None`` if that is damaged."""
    damaged: tuple[str, ...] = ()
    """Those of the kernel's clocks that are."""


def machine_time(prog: drgn.Program, cpus: Sequence[int], log_ns: int | None = None) -> Told:
    """Ask all clocks: run queues and what runs there, timekeeper, jiffies, the log.

    :param log_ns: Time of the last message of the log.
    """
    keeper = _timekeeper(prog)
    mono = readable(lambda: _mono_ns(keeper)) if keeper is not None else None
    jiffies = readable(lambda: int(prog["jiffies_64"].value_()))
    readings = [value for cpu in cpus for value in _rq_clocks(prog, cpu)]
    others = [value for cpu in cpus for value in _last_run(prog, cpu)]
    if log_ns is not None and 0 < log_ns < _MAX_NS:
        readings.append(log_ns)
    hz = _hz(keeper)
    uptimes = [ns for ns in (mono, _uptime_ns(jiffies, hz)) if ns is not None and 0 < ns < _MAX_NS]
    now = agreed(readings, [*others, *uptimes])
    if not hz:
        hz = _hz_by(jiffies, now) or _DEFAULT_HZ
    counted = _uptime_ns(jiffies, hz)
    damaged = []
    if mono is None or not _fits(mono, now, counted):
        mono = None
        damaged.append("the timekeeper")
    if jiffies is None or counted is None or not _fits(counted, now, mono):
        damaged.append("jiffies")
        jiffies = (_initial(hz) + (now if mono is None else mono) * hz // NSEC) & _WORDS
    return Told(now, jiffies, hz, mono, tuple(damaged))


def agreed(readings: Iterable[int], witnesses: Iterable[int] = ()) -> int:
    """The latest reading that another one, or a witness, bears out; 0 if there is none.

    If none does, the median: a single word that is damaged must not move the time.
    """
    known = sorted(readings, reverse=True)
    beside = list(witnesses)
    for slack in (_NEAR, _FAR):
        for number, reading in enumerate(known):
            others = (*known[:number], *known[number + 1 :], *beside)
            if any(abs(reading - other) <= slack for other in others):
                return reading
    return median_low([*known, *beside]) if known else 0


def _fits(clock: int, now: int, other: int | None) -> bool:
    """Whether a clock that starts at boot is near now, or tells the same as another one.

    The CPU that counts them may have stood still: then both are behind together.
    """
    if not 0 <= clock <= now + _FAR:
        return False
    if other is not None and abs(clock - other) <= max(_OFFSET, clock // 100):
        return True
    return now - clock <= _FAR


def _initial(hz: int) -> int:
    """INITIAL_JIFFIES: -300 seconds, as a 32-bit number."""
    return -300 * hz & 0xFFFFFFFF


def _uptime_ns(jiffies: int | None, hz: int | None) -> int | None:
    """What jiffies say of the time since boot."""
    if jiffies is None or not hz or jiffies < _initial(hz):
        return None
    return (jiffies - _initial(hz)) * NSEC // hz


def _hz_by(jiffies: int | None, now: int) -> int | None:
    """CONFIG_HZ: the rate at which jiffies agree with the clock."""
    for hz in _COMMON_HZ:
        uptime = _uptime_ns(jiffies, hz)
        if uptime is not None and now > NSEC and abs(uptime - now) < max(_OFFSET, now // 20):
            return hz
    return None


def _rq_clocks(prog: drgn.Program, cpu: int) -> Iterator[int]:
    """``rq->clock`` of a CPU."""
    value = readable(lambda: int(variable(prog, "runqueues", cpu, "struct rq").clock.value_()))
    if value is not None and 0 < value < _MAX_NS:
        yield value


def _last_run(prog: drgn.Program, cpu: int) -> Iterator[int]:
    """When the task of a CPU got there, and when the scheduler last looked: never after now."""
    with_clock = readable(lambda: variable(prog, "runqueues", cpu, "struct rq"))
    if with_clock is None:
        return
    for read in (
        lambda: with_clock.clock_task.value_(),
        lambda: with_clock.curr.se.exec_start.value_(),
        lambda: with_clock.curr.sched_info.last_arrival.value_(),
    ):
        value = readable(read)
        if value is not None and 0 < value < _MAX_NS:
            yield int(value)


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
    """``hrtimer_cpu_base.expires_next``; ``None`` where none is set or one is being served.

    Or when the tick comes, if that is later: a CPU that runs has its tick among its timers.
    """
    try:
        base = variable(prog, "hrtimer_bases", cpu, "struct hrtimer_cpu_base")
        value = int(base.expires_next.value_())
    except damage():
        return None
    if not 0 < value < _MAX_NS:
        return None
    tick = readable(
        lambda: int(
            variable(
                prog, "tick_cpu_sched", cpu, "struct tick_sched"
            ).sched_timer.node.expires.value_()
        )
    )
    return tick if tick is not None and value < tick < _MAX_NS else value


def _hz(keeper: drgn.Object | None) -> int | None:
    """CONFIG_HZ, from the timekeeper's nanoseconds per tick; ``None`` if that is damaged."""
    if keeper is None:
        return None
    try:
        hz = round(NSEC / (keeper.xtime_interval.value_() >> keeper.tkr_mono.shift.value_()))
    except damage():
        return None
    nearest = min(_COMMON_HZ, key=lambda common: abs(common - hz))
    return nearest if abs(nearest - hz) <= nearest // 20 else None
