"""Since when a task waits: the arithmetic of khungtaskd, and the scheduler's own time stamps."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.clock import machine_time
from postmortem.kernel.tasks.tasks import Task

_NS = 1e9
_UNINTERRUPTIBLE = 0x2
_WAKEKILL = 0x100
_NOLOAD = 0x400
_FROZEN = 0x8000
_MAX_CPUS = 1 << 13
_MAX_TIMEOUT = 24 * 3600
"""Seconds: whoever waits longer for a report wants none; what is more is damage."""
_SLACK = 30
"""Seconds by which khungtaskd may have looked earlier than the scheduler's clock says."""
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


class SleepClock:
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

        self._at = {
            # Renamed in v5.14 (2f064a59a11f).
            "state": at("__state", "state"),
            "arrival": at("sched_info.last_arrival"),
            "exec": at("se.exec_start"),
            "voluntary": at("nvcsw"),
            "involuntary": at("nivcsw"),
            "count": at("last_switch_count"),
            "time": at("last_switch_time"),
            "start": at("start_time"),
        }
        known = [offset for offset in self._at.values() if offset is not None]
        self._first = min(known)
        self._span = max(known) + 8 - self._first
        # One unpacking of all of them, in the order of their offsets.
        self._names = sorted(
            (name for name, offset in self._at.items() if offset is not None),
            key=lambda name: self._at[name] or 0,
        )
        self._format = _format([(self._at[name] or 0) - self._first for name in self._names])
        told = machine_time(prog, _cpus(prog), round(log_time * _NS) if log_time else None)
        self._hz, self._jiffies = told.hz, told.jiffies
        self.now = told.now_ns / _NS if told.now_ns else None
        """Seconds since boot, as the scheduler counts them."""
        value = _read(prog, "sysctl_hung_task_timeout_secs")
        self.enabled = bool(value)
        self.timeout = float(value if value and 0 < value <= _MAX_TIMEOUT else DEFAULT_TIMEOUT)
        """Seconds after which the kernel itself calls a task hung."""

    def since(self, task: Task) -> Since:
        """How long a task that is on no CPU has slept."""
        try:
            raw = self._prog.read(task.address + self._first, self._span)
        except damage():
            return Since(None, None, None, task.state == "D")
        read = dict(zip(self._names, self._format.unpack(raw), strict=True))
        slept = None
        # exec_start is set when the task leaves the CPU (update_curr()), last_arrival when
        # it gets there; only the latter counts for all scheduling classes.
        if self.now is not None:
            times = (read.get(name, 0) / _NS for name in ("arrival", "exec"))
            left = max((time for time in times if 0 < time <= self.now + 1), default=None)
            slept = None if left is None else max(0.0, self.now - left)
        watched = self._watched(read)
        if watched is not None and slept is not None and watched > slept + _SLACK:
            watched = None  # the count came round by chance, or the memory is damaged
        start = read.get("start")
        # The lower half is the state; what follows it in memory is another member.
        state = read.get("state", 0) & 0xFFFFFFFF
        return Since(
            slept,
            watched,
            None if start is None else start / _NS,
            bool(state & _UNINTERRUPTIBLE) and not state & (_WAKEKILL | _NOLOAD | _FROZEN),
        )

    def _watched(self, read: dict[str, int]) -> float | None:
        count, then = read.get("count"), read.get("time")
        if not count or not then or not self._hz:
            return None
        if read.get("voluntary", 0) + read.get("involuntary", 0) != count:
            return None
        # Both count jiffies from INITIAL_JIFFIES on.
        seconds = float((self._jiffies - then) & 0xFFFFFFFFFFFFFFFF) / self._hz
        if self.now is not None and seconds > self.now + _SLACK:
            return None  # since before the boot: the time is damaged
        return seconds


def _format(offsets: list[int]) -> struct.Struct:
    """Unpacks 64-bit numbers at these ascending offsets."""
    text, end = "<", 0
    for offset in offsets:
        text += f"{offset - end}xQ"
        end = offset + 8
    return struct.Struct(text)


def _read(prog: drgn.Program, name: str) -> int | None:
    try:
        return int(prog[name].value_())
    except damage():
        return None


def _cpus(prog: drgn.Program) -> list[int]:
    from postmortem.kernel.system import present_cpus

    return readable(lambda: present_cpus(prog)[:_MAX_CPUS]) or []
