"""CPUs that do not let go, whom they wait for, and who is at the root of it.

The thresholds are below the kernel's own, because a dump shows more than a
timer that expired: who waits, with interrupts on or off, and for which lock. A
busy machine passes them all the same: on it every CPU takes its ticks and no
runnable task waits for seconds while another one has the CPU all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

import drgn

from postmortem.kernel.cpu.clock import NSEC
from postmortem.kernel.cpu.csd import Call, pending_calls
from postmortem.kernel.cpu.lockups import CpuState, Lockups, Waiting
from postmortem.kernel.locking.spinlocks import Holder, Search, Sleeper, Spin
from postmortem.kernel.tasks.tasks import Task
from postmortem.kernel.tasks.unwind import sleeping_stacks
from postmortem.model.findings import Problem

INTERRUPTS_OFF_NS = 4 * NSEC
"""So long a CPU that runs takes no timer interrupt: its ticks come every few milliseconds."""
NO_SWITCH_NS = 5 * NSEC
"""So long a task keeps a CPU that another one waits for: its time slice is milliseconds."""
STARVED_NS = 10 * NSEC
"""So long a runnable task waits though the CPU does switch between others."""
_DEFAULT_THRESH = 10
_REAL_TIME = frozenset({"SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE"})
_CALLING = frozenset(
    {
        "smp_call_function_single",
        "smp_call_function_many_cond",
        "smp_call_function_many",
        "smp_call_function",
        "smp_call_function_any",
        "on_each_cpu_cond_mask",
        "generic_exec_single",
        "csd_lock_wait",
        "smp_call_on_cpu",
    }
)
_MEETING = frozenset({"multi_cpu_stop", "stop_machine_yield"})
"""stop_machine(): every CPU waits there, interrupts off, until the last one has come."""


class How(Enum):
    """In which way a CPU does not let go."""

    INTERRUPTS_OFF = "with interrupts off"
    KERNEL = "in the kernel without a switch"
    STARVING = "while others wait for it"


@dataclass(frozen=True)
class Stuck:
    """A CPU that does not let go."""

    state: CpuState
    how: How
    seconds: float
    """For how long."""
    sure: bool
    """Longer than the kernel's own threshold."""
    starved: Waiting | None = None
    """The runnable task that has waited longest for this CPU."""


@dataclass(frozen=True)
class Reason:
    """Why a CPU can't go on."""

    spin: Spin | None = None
    holder: Holder | None = None
    """The most likely holder of the lock."""
    candidates: tuple[Holder, ...] = ()
    call: Call | None = None
    """A call that another CPU does not answer."""

    @property
    def cpu(self) -> int | None:
        """The CPU that it waits for."""
        if self.call is not None:
            return self.call.target
        return self.holder.cpu if self.holder is not None else None


@dataclass(frozen=True)
class Root:
    """One trouble: a CPU or task that does not let go, and those who wait for it in turn."""

    cpu: CpuState | None
    """``None`` if a task that is on no CPU holds the lock."""
    stuck: Stuck | None
    """``None`` if the CPU itself looks well."""
    holder: Holder | None
    """How the lock is held that others wait for."""
    task: Task | None
    """Of a holder that is on no CPU."""
    cycle: tuple[int, ...] = ()
    """CPUs that wait for each other in a circle; one CPU if it waits for itself."""
    victims: tuple[Stuck, ...] = ()
    """CPUs that wait for it, directly or not."""
    reasons: dict[int, Reason] = field(default_factory=dict)
    """What each victim (and each CPU of the circle) waits for."""

    @property
    def cpus(self) -> set[int]:
        """All CPUs that have a part in it."""
        found = {victim.state.number for victim in self.victims} | set(self.cycle)
        return found | ({self.cpu.number} if self.cpu is not None else set())


def stuck_cpus(
    facts: Lockups, reported: Sequence[int] = (), complained: bool = False
) -> list[Stuck]:
    """The CPUs that do not let go.

    :param reported: CPUs that the kernel itself has called locked up.
    :param complained: The kernel has reported a stall: a shorter silence tells then.
    """
    silence = INTERRUPTS_OFF_NS // 4 if complained else INTERRUPTS_OFF_NS
    found = (_stuck(facts, state, state.number in reported, silence) for state in facts.cpus)
    return [item for item in found if item is not None]


def _stuck(facts: Lockups, state: CpuState, reported: bool, silence: int) -> Stuck | None:
    thresh = (facts.watchdog_thresh or _DEFAULT_THRESH) * NSEC
    silent, running = state.silent_ns or 0, state.running_ns or 0
    watchdog = state.watchdog_ns or 0
    if state.idle:
        return None
    starved = state.waiting[0] if state.waiting else None
    if state.interrupts_on is False and silent >= silence:
        return Stuck(state, How.INTERRUPTS_OFF, silent / NSEC, silent >= thresh, starved)
    if state.interrupts_on is None and not state.frames and silent >= thresh:
        # It did not even answer the NMI that saves the registers.
        return Stuck(state, How.INTERRUPTS_OFF, silent / NSEC, False, starved)
    waited = starved.wait_ns if starved is not None else 0
    if state.cpu.idle:
        running = waited  # an interrupt keeps the idle task's CPU: nobody notes since when
    in_kernel = not state.in_user and bool(state.frames)
    alone = min(running, waited) >= NO_SWITCH_NS
    overrun = facts.watchdog_on and min(watchdog, running) >= 2 * thresh
    if in_kernel and (reported or alone or overrun):
        return Stuck(state, How.KERNEL, running / NSEC, reported or running >= 2 * thresh, starved)
    if alone or (waited >= STARVED_NS and _outranks(state, starved)):
        return Stuck(state, How.STARVING, waited / NSEC, waited >= 2 * thresh, starved)
    return None


def _outranks(state: CpuState, starved: Waiting | None) -> bool:
    """Whether a task waits because a real-time task always comes first."""
    return (
        starved is not None
        and state.policy in _REAL_TIME
        and (starved.policy not in _REAL_TIME or state.running_ns is not None)
    )


def roots(
    prog: drgn.Program, facts: Lockups, stuck: Sequence[Stuck], problems: list[Problem]
) -> list[Root]:
    """Follow every stuck CPU to whom it waits for, and group them by where that ends.

    Circles of spinning CPUs are found also where no time tells: they never end.
    """
    reasons = _reasons(prog, facts, stuck, problems)
    by_cpu = {item.state.number: item for item in stuck}
    ends: dict[object, list[int]] = {}
    for cpu in sorted(set(by_cpu) | {c for c in reasons if _circle(c, reasons)}):
        ends.setdefault(_end(cpu, reasons), []).append(cpu)
    return [_root(facts, end, cpus, by_cpu, reasons) for end, cpus in ends.items()]


def _reasons(
    prog: drgn.Program, facts: Lockups, stuck: Sequence[Stuck], problems: list[Problem]
) -> dict[int, Reason]:
    found: dict[int, Reason] = {}
    dead = {item.state.number for item in stuck if item.how is How.INTERRUPTS_OFF}
    suspects = {item.state.number for item in stuck}
    calls: list[Call] | None = None
    search = Search(prog, facts.cpus)
    for state in facts.cpus:
        spin = search.spins.get(state.number)
        if spin is not None:
            suspicious = state.number in suspects
            candidates = search.holders(spin, partial(_sleepers, prog) if suspicious else tuple)
            found[state.number] = Reason(
                spin, candidates[0] if candidates else None, tuple(candidates)
            )
        elif state.number in suspects and _CALLING.intersection(state.functions[:4]):
            if calls is None:
                calls = pending_calls(prog, [cpu.number for cpu in facts.cpus])
            call = _unanswered(state.number, calls, dead)
            if call is not None:
                found[state.number] = Reason(call=call)
        elif state.number in suspects and _MEETING.intersection(state.functions[:3]):
            late = _not_come(stuck)
            if late is not None and late != state.number:
                found[state.number] = Reason(call=Call(late, None, "multi_cpu_stop", True))
    return found


def _not_come(stuck: Sequence[Stuck]) -> int | None:
    """The stuck CPU that stop_machine() waits for: all others have come to meet."""
    absent = [item for item in stuck if not _MEETING.intersection(item.state.functions[:3])]
    absent.sort(key=lambda item: item.how is not How.INTERRUPTS_OFF)
    return absent[0].state.number if absent else None


def _sleepers(prog: drgn.Program) -> list[Sleeper]:
    stacks = sleeping_stacks(prog).by_task.values()
    return [(stack.task, stack.shape.frames, stack.data) for stack in stacks]


def _unanswered(cpu: int, calls: list[Call], dead: set[int]) -> Call | None:
    """The call that a CPU waits for: on a CPU that takes no interrupts rather than another."""
    waiting = [call for call in calls if call.target != cpu and call.waited_for]
    waiting.sort(key=lambda call: (call.target not in dead, call.source not in (None, cpu)))
    return waiting[0] if waiting else None


def _circle(cpu: int, reasons: dict[int, Reason]) -> tuple[int, ...]:
    """The CPUs from ``cpu`` back to itself, empty if the way does not lead back."""
    path = [cpu]
    while True:
        reason = reasons.get(path[-1])
        following = reason.cpu if reason is not None else None
        if following is None or (reason is not None and not _certain(reason)):
            return ()
        if following == cpu:
            return tuple(path)
        if following in path:
            return ()
        path.append(following)


def _certain(reason: Reason) -> bool:
    """A circle is only believed where the code names the very locks."""
    return reason.holder is not None and reason.holder.certain


def _end(cpu: int, reasons: dict[int, Reason]) -> object:
    """Where the way from a CPU ends: a CPU, a task that is on none, or a circle."""
    seen: set[int] = set()
    while cpu not in seen:
        seen.add(cpu)
        circle = _circle(cpu, reasons)
        if circle:
            return ("circle", tuple(sorted(circle)))
        reason = reasons.get(cpu)
        if reason is None:
            break
        if reason.cpu is not None:
            cpu = reason.cpu
        elif reason.holder is not None and reason.holder.task is not None:
            return ("task", reason.holder.task.address)
        else:
            break
    return ("cpu", cpu)


def _root(
    facts: Lockups,
    end: object,
    cpus: Sequence[int],
    by_cpu: dict[int, Stuck],
    reasons: dict[int, Reason],
) -> Root:
    assert isinstance(end, tuple)
    what, which = end
    used = {cpu: reasons[cpu] for cpu in cpus if cpu in reasons}
    if what == "circle":
        first = which[0]
        return Root(
            cpu=facts.cpu(first),
            stuck=by_cpu.get(first),
            holder=reasons[first].holder,
            task=None,
            cycle=which,
            victims=tuple(by_cpu[c] for c in cpus if c in by_cpu and c not in which),
            reasons=used | {cpu: reasons[cpu] for cpu in which},
        )
    held = [r.holder for r in used.values() if r.holder is not None]
    if what == "task":
        holder = next(
            (h for h in held if h.task is not None and h.task.address == which and h.cpu is None),
            None,
        )
        victims = tuple(by_cpu[cpu] for cpu in cpus if cpu in by_cpu)
        task = holder.task if holder is not None else None
        return Root(None, None, holder, task, victims=victims, reasons=used)
    holder = next((h for h in held if h.cpu == which), None)
    return Root(
        cpu=facts.cpu(which),
        stuck=by_cpu.get(which),
        holder=holder,
        task=None,
        victims=tuple(by_cpu[cpu] for cpu in cpus if cpu in by_cpu and cpu != which),
        reasons=used,
    )
