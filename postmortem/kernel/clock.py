"""What time it was in the machine when the dump was taken.

Nothing in a dump says "now": a CPU's clock is what it last read. The latest
reading of all is the best there is; a CPU that stands still is behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.kernel.percpu import variable

NSEC = 1_000_000_000
_DEFAULT_HZ = 250
_COMMON_HZ = (100, 250, 300, 1000)


@dataclass(frozen=True)
class Clock:
    """The machine's time. Nanoseconds are those of ``sched_clock()``, about since boot."""

    now_ns: int
    """The latest time that any CPU saw before the machine was stopped."""
    hz: int
    """Jiffies in a second."""
    jiffies: int
    """As they stood. They stand still when the CPU that counts them does."""
    rq_clocks: dict[int, int]
    """``rq->clock`` of each CPU, in nanoseconds: updated with every tick and every switch."""

    def jiffies_ago(self, then: int) -> float:
        """Seconds since the jiffies value ``then``, by the jiffies counter."""
        difference = (self.jiffies - then) & 0xFFFFFFFFFFFFFFFF
        if difference >> 63:
            return 0.0
        return difference / self.hz


def read_clock(prog: drgn.Program, cpus: list[int], log_ns: int = 0) -> Clock:
    """Read it.

    :param log_ns: Time of the last log message that counts, 0 if there is none.
    :raises LookupError: the kernel's types or ``jiffies`` are missing.
    """
    clocks = {}
    for cpu in cpus:
        try:
            clocks[cpu] = int(variable(prog, "runqueues", cpu, "struct rq").clock.value_())
        except (LookupError, AttributeError, drgn.FaultError):
            continue
    plausible = [value for value in clocks.values() if value >> 62 == 0]
    return Clock(
        now_ns=max([*plausible, log_ns], default=0),
        hz=_hz(prog),
        jiffies=int(prog["jiffies_64"].value_()),
        rq_clocks=clocks,
    )


def _hz(prog: drgn.Program) -> int:
    """CONFIG_HZ, from the timekeeper's nanoseconds per tick."""
    try:
        keeper = prog["tk_core"].timekeeper
        tick_ns = keeper.xtime_interval.value_() >> keeper.tkr_mono.shift.value_()
        hz = round(NSEC / tick_ns)
    except (LookupError, AttributeError, ValueError, ZeroDivisionError, drgn.FaultError):
        return _DEFAULT_HZ
    return min(_COMMON_HZ, key=lambda common: abs(common - hz)) if 50 < hz < 2000 else _DEFAULT_HZ
