"""What each CPU was at when the machine was stopped, for how long, and who waited for it.

Facts only: no judgement whether that is wrong (plugins/lockups.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, integer, readable, tolerated
from postmortem.kernel.cpu.clock import Clock, read_clock
from postmortem.kernel.cpu.cpus import Cpu, cpus
from postmortem.kernel.cpu.percpu import number, variable
from postmortem.kernel.tasks.hidden import with_hidden
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.model.findings import Problem
from postmortem.model.frame import Frame

_MAX_WAITING = 10_000
_NO_TIME = "can't be read or can't be right: how long CPUs stood still is not known for sure"
_POLICIES = {
    0: "SCHED_NORMAL",
    1: "SCHED_FIFO",
    2: "SCHED_RR",
    3: "SCHED_BATCH",
    5: "SCHED_IDLE",
    6: "SCHED_DEADLINE",
    7: "SCHED_EXT",
}
_SCHED_IDLE = 5

_OBSERVERS = frozenset(
    {
        "panic",
        "vpanic",
        "nmi_panic",
        "watchdog_timer_fn",
        "watchdog_overflow_callback",
        "watchdog_hardlockup_check",
        "stop_this_cpu",
        "cpu_emergency_stop",
        "crash_nmi_callback",
        "nmi_shootdown_cpus_on_restart",
        "machine_crash_shutdown",
        "native_machine_crash_shutdown",
        "crash_save_cpu",
        "crash_kexec",
        "__crash_kexec",
        "kdump_nmi_callback",
        "nmi_cpu_backtrace",
        "nmi_cpu_backtrace_handler",
        "nmi_trigger_cpumask_backtrace",
        "trigger_single_cpu_backtrace",
        "rcu_sched_clock_irq",
        "print_cpu_stall",
        "print_other_cpu_stall",
        "rcu_dump_cpu_stacks",
        "wq_watchdog_timer_fn",
        "smp_stop_nmi_callback",
        "native_stop_other_cpus",
    }
)
"""Functions that look at a stuck CPU, or stop a CPU because another one panics: what they
interrupted is what the CPU was at."""


@dataclass(frozen=True)
class PreemptCount:
    """``preempt_count`` taken apart (include/linux/preempt.h)."""

    value: int

    @property
    def preempt(self) -> int:
        """How often preemption was disabled: also by each spinlock held."""
        return self.value & 0xFF

    @property
    def softirq(self) -> int:
        """Soft interrupts being served (odd) and bottom halves being disabled (times two)."""
        return self.value >> 8 & 0xFF

    @property
    def hardirq(self) -> int:
        """Depth of hardware interrupts."""
        return self.value >> 16 & 0xF

    @property
    def nmi(self) -> int:
        """Depth of NMIs."""
        return self.value >> 20 & 0xF

    def __str__(self) -> str:
        parts = [
            f"{name} {depth}"
            for name, depth in (
                ("preempt", self.preempt),
                ("softirq", self.softirq),
                ("hardirq", self.hardirq),
                ("nmi", self.nmi),
            )
            if depth
        ]
        return ", ".join(parts) or "0"


@dataclass(frozen=True)
class Waiting:
    """A runnable task that does not get the CPU."""

    task: Task
    wait_ns: int
    policy: str


@dataclass(frozen=True)
class CpuState:
    """One CPU."""

    cpu: Cpu
    frames: tuple[Frame, ...]
    """What it was at, innermost first: without what observed or stopped it."""
    registers: dict[str, int]
    """Of the innermost of ``frames``; empty where they were not saved."""
    observed: str | None
    """The function that observed or stopped it, ``None`` if it was found as it ran."""
    in_user: bool
    """It ran a program in user space."""
    interrupts_on: bool | None
    """``None`` where the flags were not saved."""
    preempt_count: PreemptCount | None
    """Includes that of the interrupt that stopped the CPU."""
    running_ns: int | None
    """How long the current task has had the CPU without a switch."""
    silent_ns: int | None
    """How long its next timer interrupt is overdue: it took no interrupt for that long."""
    policy: str
    """Scheduling policy of the current task."""
    runnable: int | None
    """``rq->nr_running``"""
    waiting: tuple[Waiting, ...] = ()
    """Runnable tasks of this CPU, the longest wait first."""
    rt_throttled: bool = False
    watchdog_ns: int | None = None
    """How long the soft-lockup watchdog had no turn; ``None`` where it does not watch."""
    hrtimer_interrupts: tuple[int, int] | None = None
    """Timer interrupts counted, and as the hard-lockup detector last saw them."""

    @property
    def number(self) -> int:
        return self.cpu.number

    @property
    def idle(self) -> bool:
        """Nothing to do: the idle task, in no interrupt."""
        return self.cpu.idle and all(frame.segment == "task" for frame in self.frames)

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of ``frames``, innermost first."""
        return tuple(frame.function or "?" for frame in self.frames)

    @property
    def context(self) -> str:
        """user, task, softirq, irq, nmi or exception."""
        if self.in_user:
            return "user"
        return self.frames[0].segment if self.frames else "?"


@dataclass(frozen=True)
class Lockups:
    """All CPUs."""

    cpus: tuple[CpuState, ...]
    clock: Clock
    watchdog_thresh: int | None
    """Seconds: half of what a soft lockup takes, and what a hard one takes."""
    watchdog_on: bool
    """The soft-lockup watchdog is on."""
    problems: tuple[Problem, ...] = field(default=())

    def cpu(self, number: int) -> CpuState | None:
        """The CPU with this number."""
        return next((state for state in self.cpus if state.number == number), None)


def lockups(prog: drgn.Program, panic_ns: int | None = None) -> Lockups:
    """Read the state of all CPUs.

    :param panic_ns: Log time of the panic, if there was one.
    :raises LookupError: the types or the list of CPUs are missing.
    """
    found = cpus(prog)
    clock = read_clock(prog, [cpu.number for cpu in found], panic_ns)
    thresh = _integer(prog, "watchdog_thresh")
    if thresh is not None and not 0 <= thresh <= _MAX_THRESH:
        thresh = None
    on = _watchdog_on(prog)
    problems: list[Problem] = []
    if clock.damaged:
        problems.append(Problem("clock", f"{' and '.join(clock.damaged)} {_NO_TIME}"))
    waiting = _waiting(prog, clock, problems)
    return Lockups(
        cpus=tuple(_state(prog, cpu, clock, on, waiting.get(cpu.number, ())) for cpu in found),
        clock=clock,
        watchdog_thresh=thresh,
        watchdog_on=on,
        problems=tuple(problems),
    )


def _integer(prog: drgn.Program, name: str) -> int | None:
    return readable(lambda: integer(prog[name]))


_MAX_THRESH = 60
"""Seconds; a sysctl takes no more (kernel/watchdog.c): anything else is damage."""
_WATCH_SOFTLOCKUP = 0x2
"""WATCHDOG_SOFTOCKUP_ENABLED (include/linux/nmi.h): bit 1 of ``watchdog_enabled``."""


def _watchdog_on(prog: drgn.Program) -> bool:
    enabled, user = _integer(prog, "watchdog_enabled"), _integer(prog, "watchdog_user_enabled")
    return bool(enabled and enabled & _WATCH_SOFTLOCKUP) and user != 0


def _state(
    prog: drgn.Program, cpu: Cpu, clock: Clock, watched: bool, waiting: tuple[Waiting, ...]
) -> CpuState:
    frames, registers, observed = what_it_was_at(cpu)
    arch = arch_of(prog)
    rq = _rq(prog, cpu.number)
    current = drgn.Object(prog, "struct task_struct *", cpu.address)
    task = all_tasks(prog).by_address.get(cpu.address)
    if task is not None:
        frames = with_hidden(prog, replace(task, cpu=cpu.number), frames)
    now = clock.now_ns
    count = None
    with tolerated():
        count = _preempt_count(prog, cpu.number)
    return CpuState(
        cpu=cpu,
        frames=frames,
        registers=registers,
        observed=observed,
        in_user=not frames and bool(arch.in_user(registers)),
        interrupts_on=arch.interrupts_on(registers),
        preempt_count=count,
        running_ns=_since(now, readable(lambda: current.sched_info.last_arrival.value_())),
        silent_ns=clock.overdue_ns.get(cpu.number),
        policy=_POLICIES.get(readable(lambda: current.policy.value_()) or 0, "?"),
        runnable=readable(lambda: rq.nr_running.value_()) if rq is not None else None,
        waiting=waiting,
        rt_throttled=bool(readable(lambda: rq.rt.rt_throttled.value_()) if rq is not None else 0),
        watchdog_ns=_watchdog_ns(prog, cpu.number, now) if watched else None,
        hrtimer_interrupts=_hrtimer_interrupts(prog, cpu.number),
    )


def _rq(prog: drgn.Program, cpu: int) -> drgn.Object | None:
    try:
        return variable(prog, "runqueues", cpu, "struct rq").read_()
    except damage():
        return None


def _since(now: int, then: int | None) -> int | None:
    if not then or then >> 62:
        return None
    return max(0, now - then)


def what_it_was_at(cpu: Cpu) -> tuple[tuple[Frame, ...], dict[str, int], str | None]:
    """Frames and registers of what a CPU did before somebody stopped or observed it.

    :return: The frames, the registers of the first of them, and the observing function.
    """
    trace = cpu.trace
    if trace is None or not len(trace):
        return cpu.stack, {}, None
    start, observed = 0, None
    seen = None
    for index, frame in enumerate(cpu.stack):
        if frame.interrupted and index and seen is not None:
            start, observed, seen = index, seen, None
        if frame.function in _OBSERVERS:
            seen = frame.function
    real = [frame for frame in trace if not frame.is_inline]
    if seen is not None and len(cpu.stack) < len(real) and real[len(cpu.stack)].interrupted:
        # The observer interrupted a program in user space.
        return (), _registers(real[len(cpu.stack)]), seen
    if not cpu.stack:
        return (), _registers(real[0]), None
    return cpu.stack[start:], _registers(real[start]) if start < len(real) else {}, observed


def _registers(frame: drgn.StackFrame) -> dict[str, int]:
    return {name: value for name, value in frame.registers().items() if value is not None}


def _preempt_count(prog: drgn.Program, cpu: int) -> PreemptCount:
    """``__preempt_count``, between v6.2 and v6.14 a member of ``pcpu_hot``.

    Linux kernel commits 64701838bf05 and 46e8fff6d45f.
    """
    found = number(prog, "__preempt_count", cpu, "int")
    if found is None:
        found = int(variable(prog, "pcpu_hot", cpu, "struct pcpu_hot").preempt_count.value_())
    return PreemptCount(found & 0xFFFFFFFF)


_TIMESTAMP_SHIFT = 30
"""get_timestamp() of kernel/watchdog.c: sched_clock() in units of 2^30 ns."""


def _watchdog_ns(prog: drgn.Program, cpu: int, now_ns: int) -> int | None:
    """Since the watchdog's own task last ran there.

    ``watchdog_touch_ts`` holds ULONG_MAX while it is to be set anew
    (SOFTLOCKUP_RESET of older kernels).
    """
    touched = number(prog, "watchdog_touch_ts", cpu)
    if not touched or touched >= 1 << 34:
        return None
    return max(0, now_ns - (touched << _TIMESTAMP_SHIFT))


def _hrtimer_interrupts(prog: drgn.Program, cpu: int) -> tuple[int, int] | None:
    # atomic_t and int since v6.5 (77c12fc95980), unsigned long before.
    counted = number(prog, "hrtimer_interrupts", cpu)
    saved = number(prog, "hrtimer_interrupts_saved", cpu)
    return None if counted is None or saved is None else (counted, saved)


def _waiting(
    prog: drgn.Program, clock: Clock, problems: list[Problem]
) -> dict[int, tuple[Waiting, ...]]:
    """Runnable tasks that are on no CPU, by the CPU whose queue they are in."""
    found: dict[int, list[Waiting]] = {}
    for count, item in enumerate(_runnable(prog, clock)):
        if count >= _MAX_WAITING:
            problems.append(Problem("runnable tasks", f"only {_MAX_WAITING} were looked at"))
            break
        found.setdefault(item.task.cpu, []).append(item)
    return {
        cpu: tuple(sorted(items, key=lambda item: -item.wait_ns)) for cpu, items in found.items()
    }


def _runnable(prog: drgn.Program, clock: Clock) -> Iterator[Waiting]:
    for task in all_tasks(prog).tasks:
        if task.state != "R" or task.on_cpu:
            continue
        pointer = drgn.Object(prog, "struct task_struct *", task.address)
        try:
            queued = int(pointer.sched_info.last_queued.value_())
            policy = int(pointer.policy.value_())
            # On a run queue (TASK_ON_RQ_QUEUED), not on the way from one to another.
            if pointer.on_rq.value_() != 1 or not queued or _is_throttled(pointer):
                continue
        except damage():
            continue
        wait = _since(clock.now_ns, queued)
        if wait is not None and policy != _SCHED_IDLE:
            yield Waiting(task, wait, _POLICIES.get(policy, "?"))


def _is_throttled(task: drgn.Object) -> bool:
    """Its cgroup has used up its time (CONFIG_CFS_BANDWIDTH): it waits by order."""
    try:
        return bool(task.se.cfs_rq.throttle_count.value_())
    except damage():
        return False
