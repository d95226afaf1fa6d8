"""Since when a task waits: the arithmetic of khungtaskd, and the scheduler's own time stamps."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import drgn

from postmortem.kernel.tasks import Task

_NS = 1e9
_UNINTERRUPTIBLE = 0x2
_WAKEKILL = 0x100
_NOLOAD = 0x400
_FROZEN = 0x8000
_MAX_CPUS = 1 << 13
DEFAULT_TIMEOUT = 120
"""CONFIG_DEFAULT_HUNG_TASK_TIMEOUT, in seconds."""


@dataclass(frozen=True)
class Since:
    """How long a task has not run, and what khungtaskd knows of it."""

    seconds: float | None
    """Since it left the CPU, by the scheduler's clock."""
    watched_seconds: float | None
    """Since khungtaskd first saw it at the same switch count."""
    started: float | None
    """When the task was made, in seconds since boot."""
    uninterruptible: bool
    """khungtaskd would count it: asleep, and not even a fatal signal wakes it."""

    @property
    def longest(self) -> float | None:
        """The best answer to "for how long"."""
        known = [value for value in (self.seconds, self.watched_seconds) if value is not None]
        return max(known) if known else None


class Clock:
    """What time it is in the dump, and since when tasks sleep."""

    def __init__(self, prog: drgn.Program, log_time: float | None = None) -> None:
        """
        :param log_time: Seconds since boot of the last message of the log.
        :raises LookupError: types are missing.
        """
        self._prog = prog
        task = prog.type("struct task_struct")

        def at(*members: str) -> int | None:
            for member in members:
                try:
                    return int(drgn.offsetof(task, member))
                except LookupError:
                    continue
            return None

        # Renamed in v5.14 (2f064a59a11f).
        self._state = at("__state", "state")
        self._arrival = at("sched_info.last_arrival")
        self._exec = at("se.exec_start")
        self._voluntary = at("nvcsw")
        self._involuntary = at("nivcsw")
        self._count = at("last_switch_count")
        self._time = at("last_switch_time")
        self._start = at("start_time")
        self._hz = _hz(prog)
        self._jiffies = _read(prog, "jiffies_64") or _read(prog, "jiffies")
        self.now = max(filter(None, (_run_queue_clock(prog), log_time)), default=None)
        """Seconds since boot, as the scheduler counts them."""
        value = _read(prog, "sysctl_hung_task_timeout_secs")
        self.enabled = bool(value)
        self.timeout = float(value) if value and value < 1 << 32 else float(DEFAULT_TIMEOUT)
        """Seconds after which the kernel itself calls a task hung."""

    def since(self, task: Task) -> Since:
        """How long a task that is on no CPU has slept."""
        slept = None
        # exec_start is set when the task leaves the CPU (update_curr()), last_arrival when
        # it gets there; only the latter counts for all scheduling classes.
        left = max((self._u64(task, self._arrival) or 0), (self._u64(task, self._exec) or 0))
        if self.now is not None and 0 < left / _NS <= self.now + 1:
            slept = max(0.0, self.now - left / _NS)
        start = self._u64(task, self._start)
        state = self._u64(task, self._state) or 0
        watched = self._watched(task)
        if watched is not None and slept is not None and watched > slept + 30:
            watched = None  # the count came round by chance, or the memory is damaged
        return Since(
            slept,
            watched,
            None if start is None else start / _NS,
            bool(state & _UNINTERRUPTIBLE) and not state & (_WAKEKILL | _NOLOAD | _FROZEN),
        )

    def _watched(self, task: Task) -> float | None:
        count, then = self._u64(task, self._count), self._u64(task, self._time)
        if not count or not then or self._jiffies is None or self._hz is None:
            return None
        switches = (self._u64(task, self._voluntary) or 0) + (
            self._u64(task, self._involuntary) or 0
        )
        if switches != count:
            return None
        # Both count jiffies from INITIAL_JIFFIES on.
        return float((self._jiffies - then) & 0xFFFFFFFFFFFFFFFF) / self._hz

    def _u64(self, task: Task, offset: int | None) -> int | None:
        if offset is None:
            return None
        try:
            if offset == self._state:
                return int(self._prog.read_u32(task.address + offset))
            return int(self._prog.read_u64(task.address + offset))
        except drgn.FaultError:
            return None


def _hz(prog: drgn.Program) -> int | None:
    """CONFIG_HZ: the rate at which jiffies agree with the clock."""
    jiffies = _read(prog, "jiffies_64")
    uptime = _run_queue_clock(prog)
    if jiffies is None or not uptime or uptime < 1:
        return None
    for hz in (100, 250, 300, 1000):
        # jiffies start at -300 * HZ as a 32-bit number (INITIAL_JIFFIES).
        counted = (jiffies - ((-300 * hz) & 0xFFFFFFFF)) / hz
        if counted >= 0 and abs(counted - uptime) < max(10.0, uptime * 0.05):
            return hz
    return None


def _read(prog: drgn.Program, name: str) -> int | None:
    try:
        return int(prog[name].value_())
    except (LookupError, drgn.FaultError, TypeError, ValueError):
        return None


def _run_queue_clock(prog: drgn.Program) -> float | None:
    """The latest clock of any run queue, in seconds since boot."""
    from drgn.helpers.linux.percpu import per_cpu

    from postmortem.kernel.system import present_cpus

    latest = 0
    try:
        queues = prog["runqueues"]
        for number, cpu in enumerate(present_cpus(prog)):
            if number >= _MAX_CPUS:
                break
            try:
                latest = max(latest, int(per_cpu(queues, cpu).clock.value_()))
            except (drgn.FaultError, struct.error):
                continue
    except (LookupError, drgn.FaultError):
        return None
    return latest / _NS if latest else None
