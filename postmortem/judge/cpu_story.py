"""CPUs that do not let go, worker pools and grace periods: facts and reports become findings.

One finding for each root; the kernel's own reports of it and of its victims follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.judge.asked import is_asked
from postmortem.judge.open_sections import with_open_section
from postmortem.judge.reports import LOCKUP_KINDS, finding_of, index_of, reports_of
from postmortem.judge.stall_words import with_last
from postmortem.judge.stalls import told
from postmortem.log.since import stalled_cpus
from postmortem.log.standstill import standstill
from postmortem.model.findings import (
    Column,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Severity,
    Strength,
    Table,
    Unit,
)
from postmortem.model.report import Report
from postmortem.plugin import Context
from postmortem.rules.blame import signature
from postmortem.rules.kinds import next_steps
from postmortem.rules.roles import STALLS

if TYPE_CHECKING:
    import drgn

    from postmortem.judge.stuck import Root
    from postmortem.kernel.cpu.lockups import CpuState, Lockups
    from postmortem.kernel.cpu.rcu import GracePeriod
    from postmortem.kernel.cpu.workqueues import Pool, PoolWorker

_MAX_POOLS = 20


def of_log(ctx: Context) -> Iterator[Finding]:
    """What the kernel's own reports say, where there is no memory to ask."""
    reports = reports_of(ctx, LOCKUP_KINDS)
    stood = standstill(reports)
    for report in reports:
        finding = told(finding_of(ctx, report), report, stood.get(report.line), reports)
        yield finding if report.line in stood else with_last(finding, report, reports)


def panic_ns(ctx: Context) -> int | None:
    """Log time of the first panic: what happens later does not count."""
    times = [report.time for report in index_of(ctx).panics if report.time]
    return int(min(times) * 1e9) if times else None


def read_cpus(ctx: Context, prog: drgn.Program) -> Lockups | None:
    """What each CPU was at, read once; its problems are noted."""
    from postmortem.kernel.cpu.lockups import lockups

    if "cpus" not in ctx.memo:
        found = ctx.attempt("CPUs", lambda: lockups(prog, panic_ns(ctx)))
        ctx.problems.extend(found.problems if found is not None else ())
        ctx.memo["cpus"] = found
    facts: Lockups | None = ctx.memo["cpus"]
    return facts


class Story:
    """Puts reports and facts together: one finding for each root, the rest follows from it."""

    def __init__(
        self, ctx: Context, prog: drgn.Program, facts: Lockups, reports: Sequence[Report]
    ) -> None:
        self._ctx = ctx
        self._prog = prog
        self._facts = facts
        self._reports = [report for report in reports if not report.is_panic]
        self._panics = [report for report in reports if report.is_panic]
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
        from postmortem.judge.stuck import roots, stuck_cpus

        reported = [
            state.number
            for state in self._facts.cpus
            if any(self._still_there(report, state) for report in self._reports)
        ]
        stuck = stuck_cpus(self._facts, reported, bool(self._reports))
        found = self._ctx.attempt(
            "who holds up the CPUs",
            lambda: roots(self._prog, self._facts, stuck, self._ctx.problems),
        )
        for root in found or ():
            cpu_number = root.cpu.number if root.cpu is not None else None
            finding = with_open_section(self._ctx, self._finding(root), cpu_number)
            for cpu in root.cpus:
                self._roots[cpu] = finding.id
            self._last = self._last or finding.id
            yield finding

    def _still_there(self, report: Report, state: CpuState) -> bool:
        """Whether a CPU still does what a report said."""
        if state.idle or report.kind is Kind.WORKQUEUE_STALL:
            return False
        if report.cpu is None and report.function is None:
            return stalled_cpus(report) == [state.number]
        if report.cpu is None:
            # A stall that another CPU noticed: the report has only the stack.
            return report.function in state.functions
        if report.cpu != state.number:
            return False
        if report.task is not None and report.task.pid != state.cpu.task.pid:
            return False
        return report.function is None or report.function in state.functions

    def _finding(self, root: Root) -> Finding:
        from postmortem.judge.lockups import tell

        told = tell(root)
        report = self._report_of(root, told)
        if report is not None:
            self._told.add(report.line)
            merged = _with_place(finding_of(self._ctx, report), report, told.culprit, root.cpu)
            return replace(
                merged,
                confidence=told.confidence,
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
            if not same_kind or report.cpu not in (root.cpu.number, None):
                continue
            if report.function is None and self._still_there(report, root.cpu):
                return report
            if report.function is not None and report.function == told.culprit.function:
                return report
        return None

    def _concerns(self, root: Root, report: Report) -> bool:
        if report.line in self._told:
            return False
        return report.cpu is None or report.cpu in root.cpus or report.kind is not Kind.SOFT_LOCKUP

    # --- the rest

    def _pools(self) -> Iterator[Finding]:
        from postmortem.kernel.cpu.workqueues import waiting_pools

        found = self._ctx.attempt(
            "worker pools", lambda: waiting_pools(self._prog, self._facts.clock)
        )
        if found is None:
            return
        report = next((r for r in self._reports if r.kind is Kind.WORKQUEUE_STALL), None)
        # Who asks for a crash does not wait for the watchdog.
        asked = is_asked(self._ctx) or self._ctx.named
        thresh = min(found.thresh_seconds, _ASKED) if asked else found.thresh_seconds
        stalled = [pool for pool in found.pools if pool.stalled_seconds >= thresh]
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
                f"worker_pool {pool.id}, last progress",
            )
        ]
        explanation = f"Work queued {where.removeprefix('of ')} is not done."
        culprit = Culprit(cpu=pool.cpu)
        if hog is not None:
            evidence.append(
                Evidence(
                    f"{_worker(hog)} executes {hog.function}() and is in state R: while a worker "
                    "runs no other of its pool is started",
                    "worker.current_func",
                    Strength.SHOWN,
                )
            )
            only = "only running worker" if pool.running == 1 else "running worker"
            explanation = (
                f"The work item {hog.function}() keeps its pool's {only} busy; "
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

    def _hog(self, pool: Pool) -> PoolWorker | None:
        """A worker that counts as running and never sleeps."""
        busy = [w for w in pool.busy if w.counts and w.task is not None and w.task.state == "R"]
        busy.sort(key=lambda worker: not (worker.task and worker.task.on_cpu))
        return busy[0] if busy and pool.running > 0 else None

    def _grace_period(self) -> Iterator[Finding]:
        from postmortem.kernel.cpu.rcu import grace_period

        found = self._ctx.attempt("RCU", lambda: grace_period(self._prog, self._facts.clock))
        if found is None or any(r.kind is Kind.RCU_STALL for r in self._reports):
            return
        if found.age_seconds < found.timeout_seconds:
            return
        yield self._rcu_finding(found)

    def _rcu_finding(self, period: GracePeriod) -> Finding:
        from postmortem.judge.lockups import culprit_of

        cause = next((self._roots[cpu] for cpu in period.cpus if cpu in self._roots), None)
        thread_waits = period.thread is not None and period.thread.state == "R"
        if cause is None and thread_waits and period.thread is not None:
            cause = self._roots.get(period.thread.cpu)
        state = self._facts.cpu(period.cpus[0]) if period.cpus else None
        culprit = Culprit()
        # A CPU that is idle holds up no grace period: what it is in says nothing.
        idle = state is not None and state.cpu.idle
        if state is not None and not idle:
            culprit = culprit_of(state, Kind.RCU_STALL)
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
            confidence=Confidence.CERTAIN if who and not idle else Confidence.LIKELY,
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
            next_steps=next_steps(Kind.RCU_STALL),
        )

    def _as_consequence(self, report: Report) -> Finding:
        """A report whose root is told already."""
        self._told.add(report.line)
        finding = self._from_its_cpu(report, finding_of(self._ctx, report))
        cause = self._roots.get(report.cpu) if report.cpu is not None else None
        if cause is None and report.kind is not Kind.SOFT_LOCKUP:
            cause = self._last
        if finding.caused_by or not cause or cause == finding.id:
            return finding
        return replace(finding, caused_by=(cause,))

    def _from_its_cpu(self, report: Report, finding: Finding) -> Finding:
        """A report without a stack: what its CPU was at in the dump, if it is still there."""
        from postmortem.judge.lockups import culprit_of

        if report.function is not None or report.kind not in STALLS or report.is_panic:
            return finding
        state = next((s for s in self._facts.cpus if self._still_there(report, s)), None)
        if state is None or not state.frames:
            return finding
        culprit = culprit_of(state, report.kind)
        finding = _with_place(finding, report, culprit, state)
        return replace(finding, culprit=_more(finding.culprit, culprit))


def _with_place(
    finding: Finding, report: Report, culprit: Culprit, state: CpuState | None
) -> Finding:
    """Where memory knows the place that the log lacks: in the title, with what was missing."""
    if report.function is not None or culprit.function is None or state is None:
        return finding
    missing = f"the log has no stack for CPU {state.number}; this is from the dump's own"
    stack = " < ".join(state.functions[:6])
    known = tuple(item for item in finding.evidence if item.what != report.corrupted)
    return replace(
        finding,
        title=f"{finding.title} in {culprit.function}",
        shown="",
        confidence=Confidence.LIKELY,
        evidence=(*known, Evidence(f"{missing}: {stack}", f"CPU {state.number}", Strength.SHOWN)),
        signature=signature(report.kind, culprit.function, state.frames),
    )


_ASKED = 5.0
"""Seconds without progress that are too long for somebody who made the machine crash."""
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


def _worker(worker: PoolWorker) -> str:
    return f"{worker.task.comm} ({worker.task.pid})" if worker.task is not None else "a worker"


def _all_asleep(pool: Pool) -> str:
    names = sorted({worker.function or "?" for worker in pool.busy})
    return f"All its {len(pool.busy)} busy workers sleep, in {', '.join(names[:4])}."


def _pool_table(pools: Sequence[Pool]) -> Table:
    return Table(
        title="Worker pools that make no progress",
        columns=(
            Column("pool", Unit.ID),
            Column("CPU", Unit.ID),
            Column("stalled", Unit.SECONDS),
            Column("waiting", Unit.COUNT),
            Column("workers", Unit.COUNT, extra=1),
            Column("idle", Unit.COUNT, extra=1),
            Column("busy with"),
            Column("behind"),
        ),
        rows=tuple(
            (
                pool.id,
                pool.cpu,
                pool.stalled_seconds,
                pool.pending,
                pool.workers,
                pool.idle,
                ", ".join(f"{_worker(w)}: {w.function}" for w in pool.busy) or None,
                ", ".join(pool.waiting) or None,
            )
            for pool in pools
        ),
    )
