"""What is said of CPUs that do not let go: from facts to the words of a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from postmortem.judge.stuck import How, Reason, Root, Stuck
from postmortem.kernel.cpu.lockups import CpuState
from postmortem.kernel.locking.spinlocks import Holder, Spin
from postmortem.model.findings import (
    Block,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Holds,
    Kind,
    Severity,
    Strength,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Role

_MAX_FRAMES = 6


def tell(root: Root) -> Finding:
    """The finding of one trouble: what it is, who did it, how that is known."""
    if root.cycle:
        finding = _circle(root)
    elif root.cpu is None:
        finding = _sleeping_holder(root)
    else:
        finding = _cpu_root(root, root.cpu)
    # All of it was read from memory: stacks, registers, locks, time stamps.
    return replace(
        finding,
        evidence=tuple(replace(item, strength=Strength.SHOWN) for item in finding.evidence),
    )


def _seconds(stuck: Stuck | None) -> str:
    return f"{stuck.seconds:.0f} s" if stuck is not None else "some time"


def culprit_of(state: CpuState, kind: Kind) -> Culprit:
    """The function that a CPU does not leave, and its task; only the CPU if it is a victim."""
    from postmortem.rules.blame import guilty_frame

    frame = guilty_frame(state.frames, kind)
    if role(state, kind) in (Role.AWAITS_CPU, Role.STARVES):
        return Culprit(cpu=state.number)
    return Culprit(
        function=frame.function if frame else None,
        module=frame.module if frame else None,
        task=state.cpu.task,
        cpu=state.number,
    )


def role(state: CpuState, kind: Kind) -> Role:
    """Whether what a CPU is at keeps the others waiting, or waits itself."""
    from postmortem.rules.blame import guilty_frame
    from postmortem.rules.roles import role_of

    return role_of(kind, state.frames, guilty_frame(state.frames, kind))


_VICTIMS = {
    Role.AWAITS_CPU: "it waits for another CPU to answer its call, and which one does not"
    " answer is not seen",
    Role.AWAITS_LOCK: "it spins on {lock}, and who holds that is not seen",
    Role.STARVES: "it is RCU's own thread, which holds up nobody",
}
"""Why a CPU that does not let go is not to blame for it."""


def _signed(finding: Finding, frames: Sequence[Frame]) -> Finding:
    from postmortem.rules.blame import signature

    return replace(finding, signature=signature(finding.kind, finding.culprit.function, frames))


def _cpu_root(root: Root, state: CpuState) -> Finding:
    stuck = root.stuck
    how = stuck.how if stuck is not None else How.KERNEL
    kind = Kind.HARD_LOCKUP if how is How.INTERRUPTS_OFF else Kind.SOFT_LOCKUP
    culprit = culprit_of(state, kind)
    name = f"{culprit.function}()" if culprit.function else f"task {state.cpu.task.comm}"
    title = {
        How.INTERRUPTS_OFF: "hard lockup in {0}",
        How.KERNEL: "BUG: soft lockup in {0}",
        How.STARVING: "BUG: tasks starved on CPU {1} by {0}",
    }[how].format(culprit.function or state.cpu.task.comm, state.number)
    if how is How.INTERRUPTS_OFF:
        text = (
            f"CPU {state.number} has taken no timer interrupt for {_seconds(stuck)}; it was in"
            f" {name} with interrupts off when looked at."
        )
    elif how is How.KERNEL:
        text = (
            f"CPU {state.number} has not switched from {state.cpu.task.comm}"
            f" ({state.cpu.task.pid}) for {_seconds(stuck)}; it was in {name} when looked at."
        )
    else:
        text = (
            f"Task {state.cpu.task.pid} ({state.cpu.task.comm}, {state.policy}) keeps CPU "
            f"{state.number}; others that could run have waited for {_seconds(stuck)}."
        )
    if root.holder is not None:
        text += f" It holds {_lock(root)}, which others wait for."
    sure = (stuck is not None and stuck.sure) or how is not How.KERNEL or bool(root.victims)
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
    if _is_victim(root):
        victim = _VICTIMS[role(state, kind)]
        confidence = Confidence.POSSIBLE
        text = (
            f"CPU {state.number} has not let go for {_seconds(stuck)}, but it is a victim:"
            f" {victim.format(lock=_own_lock(root, state))}."
        )
    finding = Finding(
        id=f"cpu{state.number}-stuck",
        kind=kind,
        severity=Severity.ERROR,
        confidence=confidence,
        title=title,
        explanation=text,
        evidence=_in_order(_cpu_evidence(state, stuck), _victims(root)),
        culprit=culprit,
        next_steps=_steps(root, culprit),
        blocks=_blocks(root),
    )
    return _signed(finding, state.frames)


def _lock(root: Root) -> str:
    spin = next((r.spin for r in root.reasons.values() if r.spin is not None), None)
    return spin.name if spin is not None else "a lock"


def _own_lock(root: Root, state: CpuState) -> str:
    reason = root.reasons.get(state.number)
    return reason.spin.name if reason is not None and reason.spin is not None else "a lock"


def _circle(root: Root) -> Finding:
    first = root.reasons[root.cycle[0]]
    spin, holder = first.spin, first.holder
    assert spin is not None and holder is not None and root.cpu is not None
    alone = len(root.cycle) == 1
    if alone:
        title = f"BUG: spinlock recursion in {spin.function}"
        whose = "which its own caller"
        if _interrupts(root.cpu, spin.frame, holder.index):
            whose = "in an interrupt; the interrupted"
        text = (
            f"{spin.function}() on CPU {spin.cpu} waits for {spin.name}, {whose} "
            f"{holder.frame.function}() holds{' it' if whose.startswith('in') else ''}: "
            "it waits for itself."
        )
    else:
        title = f"possible deadlock in {spin.function}"
        text = "CPUs wait for each other's spinlocks: " + "; ".join(
            _waits_for(root.reasons[cpu]) for cpu in root.cycle
        )
        text += "."
    frame = root.cpu.frames[spin.frame] if spin.frame < len(root.cpu.frames) else None
    evidence: list[Evidence] = []
    for cpu in root.cycle:
        evidence += _spin_evidence(root.reasons[cpu])
    if root.stuck is not None:
        evidence += _cpu_evidence(root.cpu, root.stuck)
    finding = Finding(
        id=f"cpu{root.cpu.number}-spinlock-deadlock",
        kind=Kind.DEADLOCK,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if root.stuck else Confidence.LIKELY,
        title=title,
        explanation=text,
        evidence=(*evidence, *_victims(root)),
        culprit=Culprit(
            function=spin.function,
            module=frame.module if frame else None,
            task=root.cpu.cpu.task,
            cpu=root.cpu.number,
        ),
        next_steps=(
            _advice(root.cpu, spin, holder)
            if alone
            else "Give the locks one order, and take them in that order everywhere.",
        ),
        blocks=_blocks(root),
    )
    return _signed(finding, root.cpu.frames)


def _interrupts(state: CpuState, inner: int, outer: int) -> bool:
    """Whether an interrupt came between two frames."""
    return any(frame.interrupted for frame in state.frames[inner + 1 : outer + 1])


def _advice(state: CpuState, spin: Spin, holder: Holder) -> str:
    if _interrupts(state, spin.frame, holder.index):
        return (
            f"{holder.frame.function}() must keep interrupts out while it holds the lock "
            "(spin_lock_irqsave), because the interrupt takes it too."
        )
    return (
        f"Read {holder.frame.function}() down to its call of {spin.function}(): the lock is "
        "taken twice on this way."
    )


def _sleeping_holder(root: Root) -> Finding:
    holder = root.holder
    assert holder is not None
    task = holder.task
    who = f"Task {task.pid} ({task.comm})" if task is not None else "A task"
    text = (
        f"{who} sleeps or waits for a CPU in {holder.frame.function}() with {_lock(root)} held; "
        f"{len(root.victims)} CPU(s) spin on it."
    )
    finding = Finding(
        id=f"task{task.pid if task else 0}-keeps-spinlock",
        kind=Kind.SOFT_LOCKUP,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY if holder.certain else Confidence.POSSIBLE,
        title=f"BUG: soft lockup: spinlock kept by {holder.frame.function}",
        explanation=text,
        evidence=_victims(root),
        culprit=Culprit(
            function=holder.frame.function,
            module=holder.frame.module,
            task=task.ref if task is not None else None,
        ),
        next_steps=("Look for a sleep or a schedule while the spinlock is held.",),
        blocks=_blocks(root),
    )
    return _signed(finding, (holder.frame,))


def _waits_for(reason: Reason) -> str:
    spin, holder = reason.spin, reason.holder
    if spin is None:
        call = reason.call
        return f"waits for CPU {call.target} to answer" if call is not None else "waits"
    text = f"{spin.function}() on CPU {spin.cpu} waits for {spin.name}"
    if holder is None:
        return f"{text}, held by nobody that could be found"
    where = f"CPU {holder.cpu}" if holder.cpu is not None else "no CPU"
    who = f"{holder.task.comm} {holder.task.pid} on {where}" if holder.task else where
    return f"{text}, likely held by {holder.frame.function}() ({who})"


def _spin_evidence(reason: Reason) -> list[Evidence]:
    found = [Evidence(_waits_for(reason), f"CPU {reason.spin.cpu}" if reason.spin else "")]
    spin = reason.spin
    if spin is not None and spin.state is not None:
        queue = f"; queue: CPU {', '.join(map(str, spin.queue))}" if spin.queue else ""
        found.append(Evidence(f"{spin.name} is {spin.state}{queue}", f"qspinlock {spin.lock:#x}"))
    if reason.holder is not None:
        found.append(Evidence(reason.holder.why, "code on the holder's stack"))
    return found


def _victims(root: Root) -> tuple[Evidence, ...]:
    found: list[Evidence] = []
    for victim in root.victims[:8]:
        state = victim.state
        reason = root.reasons.get(state.number)
        who = f"CPU {state.number} ({state.cpu.task.comm} {state.cpu.task.pid})"
        stack = " < ".join(state.functions[:_MAX_FRAMES])
        found.append(Evidence(f"{who} is kept waiting for {victim.seconds:.0f} s: {stack}", who))
        if reason is not None and reason.spin is not None:
            found += _spin_evidence(reason)
        elif reason is not None and reason.call is not None:
            call = reason.call
            found.append(
                Evidence(
                    f"CPU {call.target} has not answered its call of {call.function}()",
                    f"calls that wait for CPU {call.target}",
                )
            )
    return tuple(found)


def _cpu_evidence(state: CpuState, stuck: Stuck | None) -> list[Evidence]:
    where = f"CPU {state.number}"
    found = [Evidence(f"it was in {' < '.join(state.functions[:_MAX_FRAMES])}", where)]
    if state.in_user:
        found = [Evidence(f"it ran {state.cpu.task.comm} in user space", where)]
    if state.interrupts_on is not None:
        found.append(
            Evidence(
                f"interrupts were {'on' if state.interrupts_on else 'off'}"
                + (
                    f"; preempt_count at the dump: {state.preempt_count}"
                    if state.preempt_count
                    else ""
                ),
                f"{where}, RFLAGS",
            )
        )
    if state.silent_ns and state.silent_ns > 1e9:
        found.append(
            Evidence(
                f"its timer interrupt is {state.silent_ns / 1e9:.1f} s overdue",
                f"hrtimer_bases of {where}",
            )
        )
    if state.running_ns:
        found.append(
            Evidence(
                f"its task has run for {state.running_ns / 1e9:.1f} s without a switch"
                f" ({state.policy})",
                "sched_info.last_arrival",
            )
        )
    if stuck is not None and stuck.starved is not None:
        task = stuck.starved.task
        more = len(state.waiting) - 1
        found.append(
            Evidence(
                f"{task.comm} ({task.pid}, {stuck.starved.policy}) has waited for the CPU for "
                f"{stuck.starved.wait_ns / 1e9:.1f} s" + (f", and {more} more" if more else ""),
                "sched_info.last_queued",
            )
        )
    if state.watchdog_ns and state.watchdog_ns > 5e9:
        found.append(
            Evidence(
                f"its watchdog had no turn for {state.watchdog_ns / 1e9:.0f} s", "watchdog_touch_ts"
            )
        )
    if state.rt_throttled:
        found.append(Evidence("its real-time tasks are throttled", "rt_rq.rt_throttled"))
    return found


def _in_order(cpu: list[Evidence], victims: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Where it was and who waits for it before the details: a verdict shows the first ones."""
    return (*cpu[:1], *victims[:3], *cpu[1:], *victims[3:])


def _is_victim(root: Root) -> bool:
    if root.cpu is None or root.stuck is None or root.stuck.how is How.STARVING:
        return False
    return role(root.cpu, Kind.SOFT_LOCKUP) in _VICTIMS


def _steps(root: Root, culprit: Culprit) -> tuple[str, ...]:
    name = f"{culprit.function}()" if culprit.function else "the program"
    if _is_victim(root):
        return ("Look at the other CPUs' stacks: postmortem lockups lists them all.",)
    if root.victims:
        steps = [f"Find out why {name} does not come to an end; the other CPUs only wait for it."]
        if root.holder is not None:
            steps.append("If the lock is held across something slow, hold it for less.")
        return tuple(steps)
    if root.stuck is not None and root.stuck.how is How.STARVING:
        return (
            f"See why {name} never sleeps, and whether it needs its scheduling policy.",
            "kernel.sched_rt_runtime_us below the period keeps some time for other tasks.",
        )
    return (
        f"Find out why {name} does not come to an end: which condition does the loop wait for?",
    )


def _blocks(root: Root) -> tuple[Block, ...]:
    """Stacks of all CPUs that have a part in it."""
    found = []
    states = [root.cpu] if root.cpu is not None else []
    states += [victim.state for victim in root.victims]
    for state in states[:8]:
        lines = [
            f"#{n:<2} {f.function or '?'}+{f.offset or 0:#x}"
            + (f" [{f.module}]" if f.module else "")
            for n, f in enumerate(state.frames[:16])
        ]
        if lines and state is not root.cpu:
            found.append(
                Block(
                    f"CPU {state.number}: {state.cpu.task.comm} {state.cpu.task.pid}",
                    tuple(lines),
                    holds=Holds.STACK,
                )
            )
    return tuple(found)
