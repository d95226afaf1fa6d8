"""``sysrq_timer_list_show()``: what sysrq q prints. Source: kernel/time/timer_list.c.

Its lines are broken where one does not expect it: what /proc/timer_list has on one line is
here several messages, because each piece is printed by a ``printk()`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.pointers import pointers
from postmortem.kernel.rodata import Format, rodata
from postmortem.kernel.tasks.trace import Names
from postmortem.kernel.timekeeping import monotonic_ns
from postmortem.kernel.timers import ClockBase, CpuTimers, TickDevice, Timer, timers
from postmortem.printers.cformat import Value, printf
from postmortem.printers.lines import Line, note

_NANOSECONDS = frozenset(
    {
        "expires_next", "last_tick", "idle_entrytime", "idle_waketime", "idle_exittime",
        "idle_sleeptime", "iowait_sleeptime", "idle_expires",
    }
)  # fmt: skip
_CPU = ("expires_next", "hres_active", "nr_events", "nr_retries", "nr_hangs", "max_hang_time")
_TICK = (
    "nohz_mode", "nohz", "highres", "last_tick", "tick_stopped", "idle_jiffies", "idle_calls",
    "idle_sleeps", "idle_entrytime", "idle_waketime", "idle_exittime", "idle_sleeptime",
    "iowait_sleeptime", "last_jiffies", "next_timer", "idle_expires",
)  # fmt: skip
_FUNCTIONS = (
    (" set_next_event: ", "set_next_event"),
    (" shutdown:", "set_state_shutdown"),
    (" periodic:", "set_state_periodic"),
    (" oneshot: ", "set_state_oneshot"),
    (" oneshot stopped: ", "set_state_oneshot_stopped"),
    (" resume:", "tick_resume"),
    (" event_handler:", "event_handler"),
)
_WORD = 32


def timer_list(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq q prints after its header.

    :raises LookupError: the types are missing.
    """
    printer = _TimerList(prog)
    for text in printer.lines():
        yield Line(text)
    if printer.unreadable:
        lost = printer.unreadable
        yield note(f"{len(lost)} lists of timers unreadable: {lost[0]}")


class _TimerList:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._strings = rodata(prog)
        self._names = Names(prog)
        self._timers = timers(prog)
        self._now = readable(lambda: monotonic_ns(prog)) or 0
        pointer = pointers(prog)
        self._head = self._strings.format(">, %ps")
        hidden = self._strings.format("<%pK>") is not None
        self._pointer = pointer.restricted if hidden else pointer.hashed
        self.unreadable = self._timers.unreadable

    def lines(self) -> Iterator[str]:
        found = self._strings.starting("Timer List Version: ")
        yield found.text.rstrip("\n") if found is not None else "Timer List Version: ?"
        bases = self._timers.cpus[0].bases if self._timers.cpus else ()
        yield f"HRTIMER_MAX_CLOCK_BASES: {len(bases)}"
        yield f"now at {self._now} nsecs"
        yield ""
        for cpu in self._timers.cpus:
            yield from self._cpu(cpu)
        if self._timers.broadcast is not None:
            yield from self._device(self._timers.broadcast)
        for name, mask in (
            ("tick_broadcast_mask", self._timers.broadcast_mask),
            ("tick_broadcast_oneshot_mask", self._timers.oneshot_mask),
        ):
            if mask is not None:
                yield f"{name}: {self._bitmap(mask)}"
        yield ""
        for device in self._timers.devices:
            yield from self._device(device)

    # --- timers -----------------------------------------------------------------------

    def _cpu(self, found: CpuTimers) -> Iterator[str]:
        yield f"cpu: {found.cpu}"
        for number, base in enumerate(found.bases):
            yield f" clock {number}:"
            yield from self._base(base)
        for names, values in ((_CPU, found.members), (_TICK, found.tick)):
            for name in names:
                if name in values:
                    unit = " nsecs" if name in _NANOSECONDS else ""
                    yield f"  .{name:<15}: {values[name] & ((1 << 64) - 1)}{unit}"
        jiffies = readable(lambda: integer(self._prog["jiffies"]))
        yield f"jiffies: {'?' if jiffies is None else jiffies}"
        yield ""

    def _base(self, base: ClockBase) -> Iterator[str]:
        yield f"  .base:       {self._pointer(base.address)}"
        yield f"  .index:      {base.index}"
        resolution = readable(lambda: integer(self._prog["hrtimer_resolution"]))
        yield f"  .resolution: {'?' if resolution is None else resolution} nsecs"
        found = self._strings.starting("  .get_time:   ")
        if found is not None and base.get_time is not None:
            yield from self._named(found, base.get_time)
        found = self._strings.starting("  .offset:     ")
        if found is not None:
            yield printf(found.text, base.offset).rstrip("\n")
        yield "active timers:"
        for number, timer in enumerate(base.timers):
            yield from self._timer(number, timer, self._now + base.offset)

    def _named(self, found: Format, function: int) -> Iterator[str]:
        """A function behind its word; on older kernels in a message of its own."""
        name = self._names.symbol(function, offset=False)
        if "%ps" in found.text:
            yield printf(found.text, name).rstrip("\n")
            return
        yield found.text.rstrip("\n")
        yield name
        yield ""

    def _timer(self, number: int, timer: Timer, now: int) -> Iterator[str]:
        pointer = self._pointer(timer.address)
        name = self._names.symbol(timer.function, offset=False)
        if self._head is not None:
            values: tuple[Value, ...] = (number, pointer, name)
            yield printf(self._head.text, *values)
        else:
            yield f" #{number}: "
            yield f"<{pointer}>"
            yield ", "
            yield name
        yield f", S:{timer.state:02x}"
        yield ""
        yield (
            f" # expires at {timer.soft_expires}-{timer.expires} nsecs"
            f" [in {timer.soft_expires - now} to {timer.expires - now} nsecs]"
        )

    # --- devices ----------------------------------------------------------------------

    def _device(self, device: TickDevice) -> Iterator[str]:
        yield f"Tick Device: mode:     {device.mode}"
        yield "Broadcast device" if device.cpu is None else f"Per CPU device: {device.cpu}"
        yield "Clock Event Device: "
        if device.name is None:
            yield "<NULL>"
            return
        yield device.name
        for label, name, unit in (
            (" max_delta_ns:   ", "max_delta_ns", ""),
            (" min_delta_ns:   ", "min_delta_ns", ""),
            (" mult:           ", "mult", ""),
            (" shift:          ", "shift", ""),
            (" mode:           ", "state_use_accessors", ""),
            (" next_event:     ", "next_event", " nsecs"),
        ):
            yield f"{label}{device.numbers.get(name, '?')}{unit}"
        for label, name in _FUNCTIONS:
            function = device.functions.get(name)
            found = self._strings.starting(label)
            if found is not None and (function or name in ("set_next_event", "event_handler")):
                yield from self._named(found, function or 0)
                if name == "event_handler" and "%ps" in found.text:
                    yield ""
        yield f" retries:        {device.numbers.get('retries', '?')}"
        if device.cpu is not None and self._strings.starting("Wakeup Device: %s") is not None:
            yield f"Wakeup Device: {device.wakeup or '<NULL>'}"
        yield ""

    def _bitmap(self, bits: tuple[int, ...]) -> str:
        """``%*pb``: hexadecimal, 32 bits a word, the highest first."""
        count = readable(lambda: integer(self._prog["nr_cpu_ids"])) or 1
        value = sum(1 << bit for bit in bits)
        words = []
        for start in range(0, count, _WORD):
            digits = (min(_WORD, count - start) + 3) // 4
            words.append(f"{value >> start & 0xFFFFFFFF:0{digits}x}")
        return ",".join(reversed(words))
