"""A crash that somebody asked for has a reason: what was wrong then, the worst first.

Who presses the button has seen a machine that did not answer. Locks and CPUs have judges of
their own; here is what needs none of them: memory, disks, run queues, the load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postmortem.judge.memory_holders import with_holders
from postmortem.judge.reports import index_of
from postmortem.model.findings import (
    Column,
    Confidence,
    Evidence,
    Finding,
    Kind,
    Severity,
    Strength,
    Table,
)
from postmortem.rules.kinds import DEADLY, STUCK, next_steps

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.devices import Device
    from postmortem.plugin import Context

ASKED = frozenset({Kind.USER_REQUESTED, Kind.NMI})
AVAILABLE_SHARE = 0.04
"""Of all memory: with less than this free or reclaimable, allocating is mostly waiting."""
REQUEST_SECONDS = 5.0
"""So long no disk that works takes for a request, and no flush of a full cache either."""
RUNNABLE_PER_CPU = 4
RUNNABLE_SECONDS = 0.3
"""So long a task waits for a CPU only where many want it all the time: slices are a few ms."""
LOAD_PER_CPU = 4.0
_MIB = 1 << 20
_MEASURES = "measures when asked"
_HANGS = "tasks behind hangs"
_RECLAIMS = frozenset(
    {
        "__alloc_pages_slowpath",
        "__alloc_pages_direct_reclaim",
        "try_to_free_pages",
        "shrink_node",
        "shrink_lruvec",
    }
)
"""Functions of a task that frees memory before it gets any."""


@dataclass(frozen=True)
class Measure:
    """One thing that was measured, and what would be too much of it."""

    what: str
    found: str
    limit: str
    over: bool
    where: str
    """The variable or member that it was read from."""


def is_asked(ctx: Context) -> bool:
    """Whether somebody asked for the crash, as far as the log says."""
    return any(index_of(ctx).by_kind.get(kind) for kind in ASKED)


def reasons(ctx: Context, prog: drgn.Program) -> Iterator[Finding | Table]:
    """Findings of what was wrong when the crash was asked for; by name, all that was measured."""
    measures: list[Measure] = []
    asked = is_asked(ctx) or ctx.named
    for finding in filter(None, (_memory(ctx, prog, measures), _disks(ctx, prog, measures))):
        if asked:
            yield finding
    _run_queues(ctx, prog, measures)
    _load(ctx, measures)
    ctx.memo[_MEASURES] = measures
    if ctx.named:
        yield Table(
            "What may have been wrong",
            (Column("what"), Column("found"), Column("too much"), Column("is it"), Column("where")),
            tuple((m.what, m.found, m.limit, "yes" if m.over else "no", m.where) for m in measures),
            "locks and CPUs: hung, locks, lockups",
        )


def noted(ctx: Context, finding: str, tasks: int, functions: Sequence[str]) -> None:
    """Keep how many tasks stand behind a hang, and whether its root was out for memory."""
    ctx.memo.setdefault(_HANGS, {})[finding] = (tasks, bool(_RECLAIMS.intersection(functions)))


# --- what is measured -------------------------------------------------------------


def _memory(ctx: Context, prog: drgn.Program, measures: list[Measure]) -> Finding | None:
    from postmortem.kernel.memory import memory

    totals = ctx.attempt("memory counters", lambda: memory(prog))
    if totals is None or not totals.total or totals.free is None or totals.file is None:
        return None
    # Files in tmpfs are counted among the page cache and can't be dropped.
    cache = max(0, totals.file - (totals.shmem or 0))
    available = totals.free + cache + (totals.slab_reclaimable or 0)
    measure = of_memory(totals.total, available, totals.free)
    measures.append(measure)
    if not measure.over:
        return None
    evidence = [Evidence(measure.found, measure.where, Strength.PROOF)]
    waiting = ctx.attempt("tasks that reclaim", lambda: _reclaiming(ctx))
    if waiting:
        said = f"{waiting} tasks were in direct reclaim, freeing memory before they get any"
        evidence.append(Evidence(said, "stacks of all tasks", Strength.SHOWN))
    finding = Finding(
        id="memory-exhausted",
        kind=Kind.OOM,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="memory exhausted",
        explanation=f"Memory was all but used up: {measure.found}.",
        evidence=tuple(evidence),
        next_steps=next_steps(Kind.OOM),
    )
    prog = ctx.prog
    return finding if prog is None else with_holders(ctx, prog, finding)


def of_memory(total: int, available: int, free: int) -> Measure:
    """Bytes in all, bytes that are free or can be had without waiting, bytes that are free."""
    found = f"{_mib(available)} of {_mib(total)} free or reclaimable ({_mib(free)} free)"
    limit = f"less than {AVAILABLE_SHARE:.0%} available"
    over = available < total * AVAILABLE_SHARE
    return Measure("memory", found, limit, over, "vm_zone_stat, vm_node_stat")


def _reclaiming(ctx: Context) -> int:
    stacks = ctx.case.stacks
    if stacks is None:
        return 0
    groups = (group for group in stacks.groups if _RECLAIMS.intersection(group.functions))
    return sum(
        member.task.mm != 0 or not member.task.kthread
        for group in groups
        for member in group.members
    )


def _disks(ctx: Context, prog: drgn.Program, measures: list[Measure]) -> Finding | None:
    from postmortem.judge.hangs import read_facts, troubles
    from postmortem.kernel.devices import devices

    facts = read_facts(ctx)
    found = ctx.attempt("disks", lambda: devices(prog, facts.now))
    disks = list((found or {}).values())
    slow = sorted(filter(_does_not_move, disks), key=lambda disk: -disk.oldest)
    count = sum(len(disk.requests) for disk in disks)
    measures.append(of_disks(count, max((disk.oldest for disk in disks), default=0.0)))
    # A disk that tasks are seen to wait for is told with them.
    roots = (facts.graph.nodes[trouble.root] for trouble in troubles(facts, asked=True))
    told = {node.address for node in roots}
    slow = [disk for disk in slow if disk.address not in told]
    if not slow:
        return None
    disk = slow[0]
    evidence = [
        Evidence(f"{one.label}: {one.state}", f"gendisk {one.address:#x}", Strength.PROOF)
        for one in slow[:4]
    ]
    return Finding(
        id=f"io-{disk.name}",
        kind=Kind.IO_ERROR,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"I/O does not move: {disk.name}",
        explanation=f"{disk.label[0].upper()}{disk.label[1:]} does not answer: {disk.state}.",
        evidence=tuple(evidence),
        next_steps=(
            f"Look at {disk.label}: its driver's messages in the log, the host or the storage"
            " behind it.",
        ),
    )


def of_disks(requests: int, oldest: float) -> Measure:
    """Requests in flight on all disks, and seconds since the oldest was given to its driver."""
    said = f"{requests} requests in flight"
    said += f", the oldest for {oldest:.1f} s" if requests else ""
    limit = f"a request older than {REQUEST_SECONDS:.0f} s"
    over = oldest >= REQUEST_SECONDS
    return Measure("disks", said, limit, over, "tags of each blk-mq queue")


def _does_not_move(disk: Device) -> bool:
    return disk.oldest >= REQUEST_SECONDS


def _run_queues(ctx: Context, prog: drgn.Program, measures: list[Measure]) -> None:
    from postmortem.judge.cpu_story import read_cpus

    facts = read_cpus(ctx, prog)
    if facts is None or not facts.cpus:
        return
    waiting = [item.wait_ns / 1e9 for state in facts.cpus for item in state.waiting]
    measures.append(of_run_queues(waiting, len(facts.cpus)))


def of_run_queues(waiting: Sequence[float], cpus: int) -> Measure:
    """Seconds that each runnable task has waited for a CPU, and how many CPUs there are."""
    count, longest = len(waiting), max(waiting, default=0.0)
    tasks = "task" if count == 1 else "tasks"
    said = f"{count} runnable {tasks} waited for one of {cpus} CPUs"
    if longest >= _SHOWN_SECONDS:
        said += f", the longest for {longest:.1f} s"
    over = count >= RUNNABLE_PER_CPU * cpus and longest >= RUNNABLE_SECONDS
    limit = f"{RUNNABLE_PER_CPU} a CPU, and one of them for {RUNNABLE_SECONDS:.1f} s"
    where = "task_struct.on_rq, sched_info.last_queued"
    return Measure("run queues", said, limit, over, where)


_SHOWN_SECONDS = 0.05
"""What is shorter would be told as 0.0 s."""


def _load(ctx: Context, measures: list[Measure]) -> None:
    load, cpus = ctx.system.load_average, ctx.system.cpus
    if load is not None and cpus:
        measures.append(of_load(load, cpus))


def of_load(load: Sequence[float], cpus: int) -> Measure:
    """The averages of 1, 5 and 15 minutes: what went on for a quarter of an hour is a habit."""
    said = f"load average {load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f} on {cpus} CPUs"
    over = max(load[:2]) >= LOAD_PER_CPU * cpus
    limit = f"{LOAD_PER_CPU:.0f} a CPU"
    return Measure("load", said, limit, over, "avenrun")


def _mib(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"


# --- which of it was the reason ---------------------------------------------------


def linked(findings: Sequence[Finding], ctx: Context) -> list[Finding]:
    """The request to crash becomes a consequence of the worst that was wrong then."""
    ranked = _ranked(findings, ctx)
    by_id = {finding.id: finding for finding in findings}
    result = []
    for finding in findings:
        if finding.kind in ASKED and not _explained(finding, by_id):
            finding = _with_reason(finding, ranked, ctx)
        result.append(finding)
    return result


def also(findings: Sequence[Finding], root: Finding, ctx: Context) -> str:
    """What else was wrong when the crash was asked for, in the order of its weight."""
    if not any(finding.kind in ASKED and root.id in finding.caused_by for finding in findings):
        return ""
    said = [finding.readable for finding in _ranked(findings, ctx) if finding.id != root.id]
    said += [measure.found for measure in _over(ctx) if measure.what in ("run queues", "load")]
    return f" Seen besides when the crash was asked for: {'; '.join(said[:5])}." if said else ""


def _explained(finding: Finding, by_id: dict[str, Finding]) -> bool:
    """Whether it is known to come from what is no hang: a death, another request."""
    causes = [by_id[name] for name in finding.caused_by if name in by_id]
    return any(cause.kind in DEADLY | ASKED for cause in causes)


_WRONG = STUCK | {Kind.IO_ERROR, Kind.OOM}
_CROWD = 10
_ORDER = (
    Kind.HARD_LOCKUP,
    Kind.DEADLOCK,
    Kind.SOFT_LOCKUP,
    Kind.OOM,
    Kind.IO_ERROR,
    Kind.HUNG_TASK,
    Kind.WORKQUEUE_STALL,
    Kind.RCU_STALL,
)


def _ranked(findings: Sequence[Finding], ctx: Context) -> list[Finding]:
    """What was wrong by itself, the worst first: by how much of the machine it stops."""
    hangs: dict[str, tuple[int, bool]] = ctx.memo.get(_HANGS, {})
    short = any(finding.id == "memory-exhausted" for finding in findings)

    def weight(finding: Finding) -> tuple[bool, bool, int, int]:
        tasks, reclaims = hangs.get(finding.id, (0, False))
        # Who hangs while freeing memory hangs for want of it.
        for_want = short and reclaims
        return for_want, tasks < _CROWD, _ORDER.index(finding.kind), -tasks

    wrong = [
        finding
        for finding in findings
        if finding.kind in _WRONG
        and finding.severity in (Severity.FATAL, Severity.ERROR)
        and not finding.caused_by
        and (finding.log_line is None or finding.id in hangs)
    ]
    return sorted(wrong, key=weight)


def _over(ctx: Context) -> list[Measure]:
    measures: list[Measure] = ctx.memo.get(_MEASURES, [])
    return [measure for measure in measures if measure.over]


def _before(earlier: Finding, request: Finding) -> bool:
    if earlier.log_line is not None and request.log_line is not None:
        return earlier.log_line < request.log_line
    return earlier.time is None or request.time is None or earlier.time < request.time


def _with_reason(finding: Finding, ranked: Sequence[Finding], ctx: Context) -> Finding:
    cause = next((item for item in ranked if _before(item, finding)), None)
    if cause is not None:
        why = Evidence(f"the crash was asked for after {cause.readable}", "state of the machine")
        known = [item for item in finding.evidence if item.where != "order of events"]
        return replace(finding, caused_by=(cause.id,), evidence=(*known, why))
    if finding.caused_by:
        return finding
    measures: list[Measure] = ctx.memo.get(_MEASURES, [])
    over = _over(ctx)
    said = [Evidence(m.found, m.where, Strength.SHOWN) for m in over]
    if over:
        text = f"What stands out: {'; '.join(m.found for m in over)}."
    elif measures:
        text = f"Nothing that was measured stands out: {'; '.join(m.found for m in measures)}."
    else:
        return finding
    return replace(
        finding,
        explanation=f"{finding.explanation} {text}",
        evidence=(*finding.evidence, *said),
    )
