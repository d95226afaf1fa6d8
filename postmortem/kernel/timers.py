"""High-resolution timers, the tick, and the devices behind them.

Source: kernel/time/timer_list.c, kernel/time/hrtimer.c, kernel/time/tick-sched.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, member, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.masks import for_each_online_cpu
from postmortem.kernel.memo import fact

_MAX_BASES = 16
_MAX_TIMERS = 1 << 16
_TICK_FLAGS = {"tick_stopped": 1, "nohz": 4, "highres": 5}
"""TS_FLAG_STOPPED ... of ``tick_sched.flags`` (kernel/time/tick-sched.h), since v6.9."""
_CPU_BASE = (
    "expires_next",
    "hres_active",
    "nr_events",
    "nr_retries",
    "nr_hangs",
    "max_hang_time",
)
_TICK = (
    "nohz_mode", "last_tick", "tick_stopped", "idle_jiffies", "idle_calls", "idle_sleeps",
    "idle_entrytime", "idle_waketime", "idle_exittime", "idle_sleeptime", "iowait_sleeptime",
    "last_jiffies", "next_timer", "idle_expires",
)  # fmt: skip


@dataclass(frozen=True)
class Timer:
    """``struct hrtimer``; times are nanoseconds of its clock."""

    address: int
    function: int
    state: int
    soft_expires: int
    expires: int


@dataclass(frozen=True)
class ClockBase:
    """The timers of one clock on a CPU."""

    address: int
    index: int
    get_time: int | None
    """The function that reads the clock; not kept in newer kernels."""
    offset: int
    timers: tuple[Timer, ...]
    """By when they expire."""


@dataclass(frozen=True)
class CpuTimers:
    """A CPU's timers and its tick."""

    cpu: int
    bases: tuple[ClockBase, ...]
    members: Mapping[str, int]
    """Of ``struct hrtimer_cpu_base``."""
    tick: Mapping[str, int]
    """Of ``struct tick_sched``; flags by their names."""


@dataclass(frozen=True)
class TickDevice:
    """``struct tick_device`` and the ``struct clock_event_device`` behind it."""

    cpu: int | None
    """``None`` for the broadcast device."""
    mode: int
    name: str | None
    """``None`` where there is no device."""
    numbers: Mapping[str, int]
    functions: Mapping[str, int]
    wakeup: str | None = None
    """Name of the device that wakes this CPU from deep sleep."""


@dataclass(frozen=True)
class Timers:
    """All of them."""

    cpus: tuple[CpuTimers, ...]
    broadcast: TickDevice | None
    broadcast_mask: tuple[int, ...] | None
    oneshot_mask: tuple[int, ...] | None
    devices: tuple[TickDevice, ...]
    unreadable: tuple[str, ...]


@fact
def timers(prog: drgn.Program) -> Timers:
    """Read them.

    :raises LookupError: the types are missing.
    """
    reader = _Reader(prog)
    cpus, devices = [], []
    for cpu in for_each_online_cpu(prog):
        try:
            cpus.append(reader.cpu(cpu))
            devices.append(reader.device(cpu, variable(prog, "tick_cpu_device", cpu)))
        except damage() as exc:
            reader.lost.append(f"CPU {cpu}: {exc}")
    return Timers(
        tuple(cpus),
        readable(lambda: reader.device(None, prog["tick_broadcast_device"])),
        readable(lambda: reader.mask("tick_broadcast_mask")),
        readable(lambda: reader.mask("tick_broadcast_oneshot_mask")),
        tuple(devices),
        tuple(reader.lost),
    )


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self.lost: list[str] = []

    def cpu(self, cpu: int) -> CpuTimers:
        base = variable(self._prog, "hrtimer_bases", cpu, "struct hrtimer_cpu_base")
        bases = base.clock_base
        tick = variable(self._prog, "tick_cpu_sched", cpu, "struct tick_sched")
        return CpuTimers(
            cpu,
            tuple(self._base(bases[n]) for n in range(min(bases.type_.length or 0, _MAX_BASES))),
            _numbers(base, _CPU_BASE),
            _tick(tick),
        )

    def _base(self, base: drgn.Object) -> ClockBase:
        return ClockBase(
            address=int(base.address_of_().value_()),
            index=int(base.index.value_()),
            get_time=readable(lambda: int(base.get_time.value_())),
            offset=int(base.offset.value_()),
            timers=tuple(self._timers(base.active)),
        )

    def _timers(self, active: drgn.Object) -> Iterator[Timer]:
        """The tree in its order; every node once."""
        kind = self._prog.type("struct hrtimer")
        offset = int(drgn.offsetof(kind, "node.node"))
        root = active.rb_root
        # rb_root_cached wraps an rb_root, as its newer, linked form does.
        node = int(member(root, "rb_root.rb_node", "rb_node").value_())
        for address in self._in_order(node):
            timer = drgn.Object(self._prog, kind, address=address - offset)
            yield Timer(
                address=address - offset,
                function=int(timer.function.value_()),
                state=int(member(timer, "state", "is_queued").value_()),
                soft_expires=int(timer.member_("_softexpires").value_()),
                expires=int(timer.node.expires.value_()),
            )

    def _in_order(self, root: int) -> Iterator[int]:
        """``struct rb_node { unsigned long color; struct rb_node *rb_right, *rb_left; }``"""
        stack: list[int] = []
        seen: set[int] = set()
        node = root
        while node or stack:
            while node:
                if node in seen or len(seen) >= _MAX_TIMERS:
                    self.lost.append("a tree of timers runs in a circle")
                    return
                seen.add(node)
                stack.append(node)
                node = self._link(node, 16)
            node = stack.pop()
            yield node
            node = self._link(node, 8)

    def _link(self, node: int, offset: int) -> int:
        try:
            return int(self._prog.read_u64(node + offset))
        except damage() as exc:
            self.lost.append(f"timers: {exc}")
            return 0

    # --- devices ----------------------------------------------------------------------

    def mask(self, name: str) -> tuple[int, ...]:
        """A static ``cpumask_var_t``."""
        from postmortem.kernel.cpu.busy_workqueues import cpus_of

        return tuple(cpus_of(self._prog[name]))

    def device(self, cpu: int | None, tick: drgn.Object) -> TickDevice:
        """:param tick: ``struct tick_device``"""
        device = tick.evtdev.read_()
        if not device:
            return TickDevice(cpu, int(tick.mode.value_()), None, {}, {})
        names = ("max_delta_ns", "min_delta_ns", "mult", "shift", "next_event", "retries")
        numbers = {
            **_numbers(device, names),
            **_numbers(device, ("state_use_accessors",)),
        }
        functions = _numbers(
            device,
            (
                "set_next_event", "set_state_shutdown", "set_state_periodic",
                "set_state_oneshot", "set_state_oneshot_stopped", "tick_resume",
                "event_handler",
            ),
        )  # fmt: skip
        wakeup = None
        if cpu is not None:
            wakeup = readable(lambda: self._wakeup(cpu))
        name = device.name.string_().decode("utf-8", "replace")
        return TickDevice(cpu, int(tick.mode.value_()), name, numbers, functions, wakeup)

    def _wakeup(self, cpu: int) -> str | None:
        found = variable(self._prog, "tick_oneshot_wakeup_device", cpu)
        return found.name.string_().decode("utf-8", "replace") if found else None


def _tick(tick: drgn.Object) -> dict[str, int]:
    found = _numbers(tick, _TICK)
    flags = readable(lambda: int(tick.flags.value_()))
    if flags is not None:
        found.update({name: flags >> bit & 1 for name, bit in _TICK_FLAGS.items()})
    return found


def _numbers(source: drgn.Object, names: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for name in names:
        value = readable(lambda name=name: integer(source.member_(name)))  # type: ignore[misc]
        if value is not None:
            found[name] = value
    return found
