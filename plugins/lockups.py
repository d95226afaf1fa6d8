"""CPUs that do not let go: soft and hard lockups, RCU and workqueue stalls, and who is behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.findings import (
    Block,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Severity,
    Table,
)
from postmortem.judging import LOCKUP_KINDS, NEXT_STEPS, finding_of, is_panic, reports_of
from postmortem.log.report import Frame, Report
from postmortem.plugin import Context, plugin
from postmortem.result import StackFrame

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.lockups import CpuState, Lockups
    from postmortem.kernel.rcu import GracePeriod
    from postmortem.kernel.stuck import Reason, Root, Stuck
    from postmortem.kernel.workqueues import Pool, Worker

_MAX_FRAMES = 6
_MAX_POOLS = 20


@plugin("lockups", needs=())
def lockups(ctx: Context) -> Iterator[Finding | Table]:
    """Find CPUs that do not let go, whom they keep waiting, and who is at the root.

    The kernel's own reports (soft and hard lockups, RCU and workqueue stalls) are
    taken from the log. A dump is searched for more: a CPU that takes no interrupts
    or does not switch tasks, spinlocks and their likely holders, unanswered calls,
    grace periods and worker pools that make no progress; also where no watchdog
    fired. By its name it lists all CPUs.
    """
    reports = reports_of(ctx, LOCKUP_KINDS)
    prog = ctx.prog
    if prog is None or not ctx.has_types:
        for report in reports:
            yield finding_of(ctx, report)
        return
    from postmortem.kernel.lockups import lockups as read_lockups

    facts = ctx.attempt("CPUs", lambda: read_lockups(prog, _panic_ns(ctx)))
    if facts is None:
        for report in reports:
            yield finding_of(ctx, report)
        return
    ctx.problems.extend(facts.problems)
    story = _Story(ctx, prog, facts, reports)
    yield from story.tell()
    if ctx.named:
        yield _cpu_table(facts)
        yield from _what_waits(ctx, prog, facts)
        yield from _interrupts(ctx, prog, facts)


def _panic_ns(ctx: Context) -> int | None:
    """Log time of the first panic: what happens later does not count."""
    times = [report.time for report in ctx.reports if is_panic(report) and report.time]
    return int(min(times) * 1e9) if times else None


class _Story:
    """Puts reports and facts together: one finding for each root, the rest follows from it."""

    def __init__(
        self, ctx: Context, prog: drgn.Program, facts: Lockups, reports: Sequence[Report]
    ) -> None:
        self._ctx = ctx
        self._prog = prog
        self._facts = facts
        self._reports = [report for report in reports if not is_panic(report)]
        self._panics = [report for report in reports if is_panic(report)]
        self._told: set[int] = set()
        """Lines of the reports that became a finding."""
        self._roots: dict[int, str] = {}
        """CPU to the finding that explains its trouble."""
        self._last = ""

    def tell(self) -> Iterator[Finding]:
        yield from self._stuck()
        yield from self._pools()
        yield from self._grace_period()
        for report in (*self._reports, *self._panics):
            if report.line not in self._told:
                yield self._as_consequence(report)

    # --- CPUs

    def _stuck(self) -> Iterator[Finding]:
        from postmortem.kernel.stuck import roots, stuck_cpus

        reported = [
            state.number
            for state in self._facts.cpus
            if any(self._still_there(report, state) for report in self._reports)
        ]
        stuck = stuck_cpus(self._facts, reported)
        found = self._ctx.attempt(
            "who holds up the CPUs",
            lambda: roots(self._prog, self._facts, stuck, self._ctx.problems),
        )
        for root in found or ():
            finding = self._finding(root)
            for cpu in root.cpus:
                self._roots[cpu] = finding.id
            self._last = self._last or finding.id
            yield finding

    def _still_there(self, report: Report, state: CpuState) -> bool:
        """Whether a CPU still does what a report said."""
        if state.idle or report.kind is Kind.WORKQUEUE_STALL:
            return False
        if report.cpu is None:
            # A stall that another CPU noticed: the report has only the stack.
            return report.function is not None and report.function in state.functions
        if report.cpu != state.number:
            return False
        if report.task is not None and report.task.pid != state.cpu.task.pid:
            return False
        return report.function is None or report.function in state.functions

    def _finding(self, root: Root) -> Finding:
        told = _tell(root)
        report = self._report_of(root, told)
        if report is not None:
            self._told.add(report.line)
            merged = finding_of(self._ctx, report)
            return replace(
                merged,
                explanation=told.explanation,
                evidence=(*merged.evidence, *told.evidence),
                culprit=_more(merged.culprit, told.culprit),
                next_steps=told.next_steps,
                blocks=(*merged.blocks, *told.blocks),
            )
        linked = [report for report in self._reports if self._concerns(root, report)]
        signature = linked[0].signature if linked else told.signature
        fatal = any(finding_of(self._ctx, r).severity is Severity.FATAL for r in linked)
        return replace(
            told,
            signature=signature,
            severity=Severity.FATAL if fatal else told.severity,
            time=self._began(root),
        )

    def _began(self, root: Root) -> float | None:
        """Seconds since boot at which the first of its CPUs got stuck."""
        parts = [root.stuck] if root.stuck is not None else []
        longest = max((part.seconds for part in (*parts, *root.victims)), default=None)
        return None if longest is None else self._facts.clock.now_ns / 1e9 - longest

    def _report_of(self, root: Root, told: Finding) -> Report | None:
        """The kernel's own report of the root itself, as opposed to that of a victim."""
        if root.cycle or root.cpu is None:
            return None
        for report in self._reports:
            if report.line in self._told or report.kind is Kind.WORKQUEUE_STALL:
                continue
            same_kind = told.kind is report.kind or (
                report.kind is Kind.RCU_STALL and told.kind is Kind.SOFT_LOCKUP
            )
            same_place = report.function is not None and report.function == told.culprit.function
            if same_kind and same_place and report.cpu in (root.cpu.number, None):
                return report
        return None

    def _concerns(self, root: Root, report: Report) -> bool:
        if report.line in self._told:
            return False
        return report.cpu is None or report.cpu in root.cpus or report.kind is not Kind.SOFT_LOCKUP

    # --- the rest

    def _pools(self) -> Iterator[Finding]:
        from postmortem.kernel.workqueues import waiting_pools

        found = self._ctx.attempt(
            "worker pools", lambda: waiting_pools(self._prog, self._facts.clock)
        )
        if found is None:
            return
        report = next((r for r in self._reports if r.kind is Kind.WORKQUEUE_STALL), None)
        stalled = [pool for pool in found.pools if pool.stalled_seconds >= found.thresh_seconds]
        if report is not None and not stalled:
            stalled = [pool for pool in found.pools if pool.stalled_seconds >= _NO_PROGRESS][:1]
        if not stalled:
            return
        own = self._pool_finding(stalled)
        if report is None:
            yield own
            return
        self._told.add(report.line)
        merged = finding_of(self._ctx, report)
        yield replace(
            merged,
            explanation=own.explanation,
            evidence=(*merged.evidence, *own.evidence),
            culprit=_more(merged.culprit, own.culprit),
            caused_by=merged.caused_by or own.caused_by,
            tables=own.tables,
        )

    def _pool_finding(self, stalled: Sequence[Pool]) -> Finding:
        pool = next((p for p in stalled if p.cpu in self._roots), stalled[0])
        cause = self._roots.get(pool.cpu) if pool.cpu is not None else None
        hog = None if cause else next(filter(None, map(self._hog, stalled)), None)
        where = f"of CPU {pool.cpu}" if pool.cpu is not None else "that is bound to no CPU"
        evidence = [
            Evidence(
                f"the worker pool {where} has taken up no work for {pool.stalled_seconds:.0f} s; "
                f"{pool.pending} items wait ({', '.join(pool.waiting) or 'functions not known'})",
                f"worker_pool {pool.id}, watchdog_ts",
            )
        ]
        explanation = f"Work queued {where.removeprefix('of ')} is not done."
        culprit = Culprit(cpu=pool.cpu)
        if hog is not None:
            evidence.append(
                Evidence(
                    f"{_worker(hog)} runs {hog.function}() and does not sleep, so no other "
                    "worker of the pool is started",
                    "worker.current_func",
                )
            )
            explanation = (
                f"The work item {hog.function}() keeps its pool's only running worker busy; "
                f"{pool.pending} items behind it get no turn."
            )
            culprit = Culprit(
                function=hog.function,
                module=hog.module,
                task=hog.task.ref if hog.task else None,
                cpu=pool.cpu,
            )
        elif cause is not None:
            explanation += f" CPU {pool.cpu} does not let its workers run."
        elif pool.busy:
            explanation += " " + _all_asleep(pool)
        return Finding(
            id="workqueue-stall",
            kind=Kind.WORKQUEUE_STALL,
            severity=Severity.WARNING if cause else Severity.ERROR,
            confidence=Confidence.CERTAIN if hog or cause else Confidence.LIKELY,
            title="BUG: workqueue lockup" + (f" behind {hog.function}" if hog else ""),
            explanation=explanation,
            evidence=tuple(evidence),
            culprit=culprit,
            caused_by=(cause,) if cause else (),
            next_steps=(
                "Look at what the busy workers do; long work belongs on a WQ_UNBOUND or "
                "WQ_CPU_INTENSIVE queue.",
            ),
            tables=(_pool_table(stalled),),
        )

    def _hog(self, pool: Pool) -> Worker | None:
        """A worker that counts as running and never sleeps."""
        busy = [w for w in pool.busy if w.counts and w.task is not None and w.task.state == "R"]
        busy.sort(key=lambda worker: not (worker.task and worker.task.on_cpu))
        return busy[0] if busy and pool.running > 0 else None

    def _grace_period(self) -> Iterator[Finding]:
        from postmortem.kernel.rcu import grace_period

        found = self._ctx.attempt("RCU", lambda: grace_period(self._prog, self._facts.clock))
        if found is None or any(r.kind is Kind.RCU_STALL for r in self._reports):
            return
        if found.age_seconds < found.timeout_seconds:
            return
        yield self._rcu_finding(found)

    def _rcu_finding(self, period: GracePeriod) -> Finding:
        cause = next((self._roots[cpu] for cpu in period.cpus if cpu in self._roots), None)
        thread_waits = period.thread is not None and period.thread.state == "R"
        if cause is None and thread_waits and period.thread is not None:
            cause = self._roots.get(period.thread.cpu)
        state = self._facts.cpu(period.cpus[0]) if period.cpus else None
        culprit = Culprit()
        if state is not None and not state.idle:
            culprit = _culprit(state, Kind.RCU_STALL)
        elif period.tasks:
            culprit = Culprit(task=period.tasks[0].ref)
        who = [f"CPU {cpu}" for cpu in period.cpus]
        who += [f"task {task.pid} ({task.comm})" for task in period.tasks[:8]]
        if thread_waits and period.thread is not None:
            who.append(f"its own thread {period.thread.comm}, which gets no CPU")
        where = f" in {culprit.function}" if culprit.function else ""
        return Finding(
            id="rcu-stall",
            kind=Kind.RCU_STALL,
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN if who else Confidence.LIKELY,
            title=f"INFO: rcu detected stall{where}",
            explanation=(
                f"An RCU grace period has lasted {period.age_seconds:.0f} s; held up by "
                f"{', '.join(who) or 'nobody that could be found'}. Memory that waits for it is "
                "not freed."
            ),
            evidence=(
                Evidence(
                    f"grace period {period.sequence:#x} is {period.age_seconds:.0f} s old",
                    "rcu_state.gp_start",
                ),
                Evidence(f"it waits for {', '.join(who) or 'nobody'}", "rcu_node.qsmask, gp_tasks"),
                *(
                    [Evidence(f"{period.callbacks} callbacks wait", "rcu_data.cblist")]
                    if period.callbacks
                    else []
                ),
            ),
            culprit=culprit,
            caused_by=(cause,) if cause else (),
            next_steps=NEXT_STEPS.get(Kind.RCU_STALL, ()),
        )

    def _as_consequence(self, report: Report) -> Finding:
        """A report whose root is told already."""
        self._told.add(report.line)
        finding = finding_of(self._ctx, report)
        cause = self._roots.get(report.cpu) if report.cpu is not None else None
        if cause is None and report.kind is not Kind.SOFT_LOCKUP:
            cause = self._last
        if finding.caused_by or not cause or cause == finding.id:
            return finding
        return replace(finding, caused_by=(cause,))


_NO_PROGRESS = 3.0
"""Seconds without progress that agree with a report of the workqueue watchdog."""


def _more(known: Culprit, own: Culprit) -> Culprit:
    """What the log says of the culprit, and what only the dump knows."""
    return Culprit(
        function=known.function or own.function,
        module=known.module if known.function else own.module,
        file=known.file,
        line=known.line,
        task=own.task if known.function is None else known.task or own.task,
        cpu=known.cpu if known.cpu is not None else own.cpu,
    )


# --- what is said of a root ------------------------------------------------------


def _tell(root: Root) -> Finding:
    if root.cycle:
        return _circle(root)
    if root.cpu is None:
        return _sleeping_holder(root)
    return _cpu_root(root, root.cpu)


def _seconds(stuck: Stuck | None) -> str:
    return f"{stuck.seconds:.0f} s" if stuck is not None else "some time"


def _guilty(frames: Sequence[StackFrame], kind: Kind) -> StackFrame | None:
    from postmortem.log.functions import guilty_frame

    logged = [_as_log_frame(frame) for frame in frames]
    found = guilty_frame(logged, kind)
    return None if found is None else frames[next(i for i, f in enumerate(logged) if f is found)]


def _as_log_frame(frame: StackFrame) -> Frame:
    return Frame(
        function=frame.function,
        offset=frame.offset,
        module=frame.module,
        address=frame.pc,
        segment=frame.segment,
    )


def _culprit(state: CpuState, kind: Kind) -> Culprit:
    frame = _guilty(state.frames, kind)
    return Culprit(
        function=frame.function if frame else None,
        module=frame.module if frame else None,
        task=state.cpu.task,
        cpu=state.number,
    )


def _signed(finding: Finding, frames: Sequence[StackFrame]) -> Finding:
    from postmortem.log.functions import signature

    logged = [_as_log_frame(frame) for frame in frames]
    return replace(finding, signature=signature(finding.kind, finding.culprit.function, logged))


def _cpu_root(root: Root, state: CpuState) -> Finding:
    from postmortem.kernel.stuck import How

    stuck = root.stuck
    how = stuck.how if stuck is not None else How.KERNEL
    kind = Kind.HARD_LOCKUP if how is How.INTERRUPTS_OFF else Kind.SOFT_LOCKUP
    culprit = _culprit(state, kind)
    name = f"{culprit.function}()" if culprit.function else f"task {culprit.task.comm}"  # type: ignore[union-attr]
    title = {
        How.INTERRUPTS_OFF: "hard lockup in {0}",
        How.KERNEL: "BUG: soft lockup in {0}",
        How.STARVING: "BUG: tasks starved on CPU {1} by {0}",
    }[how].format(culprit.function or state.cpu.task.comm, state.number)
    if how is How.INTERRUPTS_OFF:
        text = (
            f"CPU {state.number} has been in {name} with interrupts off for {_seconds(stuck)}: "
            "it answers nothing, not even the timer."
        )
    elif how is How.KERNEL:
        text = (
            f"CPU {state.number} has been running {name} for {_seconds(stuck)} without letting "
            "anything else run."
        )
    else:
        text = (
            f"Task {state.cpu.task.pid} ({state.cpu.task.comm}, {state.policy}) keeps CPU "
            f"{state.number}; others that could run have waited for {_seconds(stuck)}."
        )
    if root.holder is not None:
        text += f" It holds {_lock(root)}, which others wait for."
    sure = (stuck is not None and stuck.sure) or how is not How.KERNEL or bool(root.victims)
    finding = Finding(
        id=f"cpu{state.number}-stuck",
        kind=kind,
        severity=Severity.ERROR,
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
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


def _circle(root: Root) -> Finding:
    first = root.reasons[root.cycle[0]]
    spin, holder = first.spin, first.holder
    assert spin is not None and holder is not None and root.cpu is not None
    alone = len(root.cycle) == 1
    if alone:
        title = f"BUG: spinlock recursion in {spin.function}"
        text = (
            f"{spin.function}() on CPU {spin.cpu} waits for {spin.name}, which its own caller "
            f"{holder.frame.function}() holds: it waits for itself."
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
            f"Read {holder.frame.function}() down to its call of {spin.function}(): the lock is "
            "taken twice on this way."
            if alone
            else "Give the locks one order, and take them in that order everywhere.",
        ),
        blocks=_blocks(root),
    )
    return _signed(finding, root.cpu.frames)


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
                    f"call_single_queue of CPU {call.target}",
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


def _steps(root: Root, culprit: Culprit) -> tuple[str, ...]:
    name = f"{culprit.function}()" if culprit.function else "the program"
    if root.victims:
        return (
            f"Find out why {name} does not come to an end; the other CPUs only wait for it.",
            "If the lock is held across something slow, hold it for less.",
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
                    f"CPU {state.number}: {state.cpu.task.comm} {state.cpu.task.pid}", tuple(lines)
                )
            )
    return tuple(found)


# --- tables ---------------------------------------------------------------------


def _worker(worker: Worker) -> str:
    return f"{worker.task.comm} ({worker.task.pid})" if worker.task is not None else "a worker"


def _all_asleep(pool: Pool) -> str:
    names = sorted({worker.function or "?" for worker in pool.busy})
    return f"All its {len(pool.busy)} busy workers sleep, in {', '.join(names[:4])}."


def _pool_table(pools: Sequence[Pool]) -> Table:
    return Table(
        title="Worker pools that make no progress",
        columns=("pool", "CPU", "stalled s", "waiting", "workers", "idle", "busy with", "behind"),
        rows=tuple(
            (
                pool.id,
                pool.cpu,
                round(pool.stalled_seconds, 1),
                pool.pending,
                pool.workers,
                pool.idle,
                ", ".join(f"{_worker(w)}: {w.function}" for w in pool.busy[:4]) or None,
                ", ".join(pool.waiting[:4]) or None,
            )
            for pool in pools[:_MAX_POOLS]
        ),
    )


def _cpu_table(facts: Lockups) -> Table:
    def tenths(value: int | None) -> float | None:
        return None if value is None else round(value / 1e9, 1)

    return Table(
        title="CPUs",
        columns=(
            "CPU",
            "task",
            "policy",
            "for s",
            "context",
            "IRQs",
            "preempt_count",
            "timer late s",
            "watchdog s",
            "runnable",
            "waits longest s",
            "at",
        ),
        rows=tuple(
            (
                state.number,
                f"{state.cpu.task.comm} {state.cpu.task.pid}",
                None if state.cpu.idle else state.policy,
                tenths(state.running_ns),
                "idle" if state.idle else state.context,
                None if state.interrupts_on is None else "on" if state.interrupts_on else "off",
                str(state.preempt_count) if state.preempt_count is not None else None,
                tenths(state.silent_ns),
                tenths(state.watchdog_ns),
                state.runnable,
                tenths(state.waiting[0].wait_ns) if state.waiting else None,
                " < ".join(state.functions[:3]) or None,
            )
            for state in facts.cpus
        ),
        note="times are up to the panic, or to the dump; - where the kernel does not record it",
    )


def _what_waits(ctx: Context, prog: drgn.Program, facts: Lockups) -> Iterator[Table]:
    """The grace period, the worker pools and the calls that were under way, stuck or not."""
    from postmortem.kernel.csd import pending_calls
    from postmortem.kernel.rcu import grace_period
    from postmortem.kernel.workqueues import waiting_pools

    rows: list[tuple[str, float | None, str]] = []
    period = ctx.attempt("RCU", lambda: grace_period(prog, facts.clock))
    if period is not None:
        who = [f"CPU {cpu}" for cpu in period.cpus] + [task.comm for task in period.tasks]
        rows.append(
            ("RCU grace period", round(period.age_seconds, 1), ", ".join(who[:8]) or "nobody")
        )
    pools = ctx.attempt("worker pools", lambda: waiting_pools(prog, facts.clock))
    for pool in pools.pools[:_MAX_POOLS] if pools is not None else ():
        where = "unbound" if pool.cpu is None else f"CPU {pool.cpu}"
        rows.append(
            (
                f"worker pool {pool.id} ({where})",
                round(pool.stalled_seconds, 1),
                f"{pool.pending} items: {', '.join(pool.waiting[:4])}",
            )
        )
    calls = ctx.attempt(
        "cross-CPU calls", lambda: pending_calls(prog, [state.number for state in facts.cpus])
    )
    for call in calls or ():
        if call.function is not None:
            rows.append((f"call to CPU {call.target}", None, f"{call.function}()"))
    if rows:
        yield Table("Under way", ("what", "for s", "waits for"), tuple(rows))


def _interrupts(ctx: Context, prog: drgn.Program, facts: Lockups) -> Iterator[Finding | Table]:
    from postmortem.kernel.interrupts import interrupts

    seconds = facts.clock.now_ns / 1e9
    found = ctx.attempt("interrupts", lambda: interrupts(prog, seconds))
    if not found:
        return
    for line in found:
        if line.stormy:
            yield Finding(
                id=f"irq{line.number}-storm",
                kind=Kind.NONE,
                severity=Severity.INFO,
                confidence=Confidence.POSSIBLE,
                title=f"interrupt {line.number} ({line.name}) comes far too often",
                explanation=(
                    f"{line.total} interrupts since boot, {line.per_second:.0f} a second on "
                    f"average; {line.unhandled} of the last 100,000 that nobody claimed."
                ),
                evidence=(Evidence(f"irqs_unhandled {line.unhandled}", f"irq_desc {line.number}"),),
            )
    yield Table(
        "Interrupts since boot",
        ("IRQ", "device", "total", "a second", "not claimed"),
        tuple(
            (line.number, line.name, line.total, round(line.per_second, 1), line.unhandled)
            for line in found[:12]
        ),
    )
