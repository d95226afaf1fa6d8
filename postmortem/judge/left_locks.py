"""The locks that a task held when it died, and who waits for them.

Nobody gives them back: whoever wants one waits for ever, long before a watchdog says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.graph.model import Edge, Graph, Node
from postmortem.judge.hangs import Facts, read_facts, sureness
from postmortem.model.findings import Evidence, Finding, Strength
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.plugin import Context
from postmortem.rules.kinds import DEADLY

if TYPE_CHECKING:
    import drgn

_MAX_LOCKS = 4
_MAX_WAITERS = 3
_MAX_DEATHS = 8


def with_left_locks(ctx: Context, finding: Finding, report: Report) -> Finding:
    """The finding of a death with what the dead task kept, where somebody waits for that."""
    if report.kind not in DEADLY or report.task is None:
        return finding
    facts = read_facts(ctx)
    for edge in _kept(ctx, facts).get(report.task.pid, [])[:_MAX_LOCKS]:
        said, proof = _sentence(facts, edge)
        finding = replace(
            finding,
            explanation=f"{finding.explanation} {said}",
            evidence=(*finding.evidence, proof),
        )
    return finding


def owner_by_code(ctx: Context, facts: Facts) -> dict[str, Report]:
    """The death of each owner that is no more, not even by its pid: node to report.

    Its ``task_struct`` was freed, but its oops shows where it stood: behind the call that took
    this very lock.
    """
    known = ctx.memo.get("owners by code")
    if known is None:
        prog = ctx.prog
        found = None
        if prog is not None and facts.from_dump:
            found = ctx.attempt("locks of dead tasks", lambda: _by_code(ctx, prog, facts))
        known = ctx.memo["owners by code"] = found or {}
    result: dict[str, Report] = known
    return result


def _by_code(ctx: Context, prog: drgn.Program, facts: Facts) -> dict[str, Report]:
    from postmortem.kernel.locking.blocking import blocking
    from postmortem.kernel.locking.holders import Holders

    graph, holders = facts.graph, Holders(prog)
    waits = blocking(prog).by_node
    lost = [
        edge
        for edge in graph.edges
        if edge.kind.holds
        and graph.nodes[edge.target].exited
        and graph.nodes[edge.target].pid is None
    ][:_MAX_LOCKS]
    deaths = [r for r in ctx.reports if r.kind in DEADLY and r.task is not None][:_MAX_DEATHS]
    stacks = [(report, _placed(prog, report)) for report in deaths] if lost else []
    found: dict[str, Report] = {}
    for edge in lost:
        lock = graph.nodes[edge.source]
        waiter = next(iter(_waiters(graph, edge)), None)
        wait = waits.get(waiter.id) if waiter is not None else None
        for report, frames in stacks:
            if wait is None or lock.address is None or edge.target in found:
                break
            at = holders.acquirer(frames, wait.kind, lock.address)
            if at is not None and at[1]:
                found[edge.target] = report
    return found


def _placed(prog: drgn.Program, report: Report) -> list[Frame]:
    """The frames of a report with their addresses in the dump, the program counter first."""
    from postmortem.kernel.code.fault import text_address

    placed = []
    for frame in [*([report.pc] if report.pc is not None else []), *report.frames]:
        if not frame.reliable or frame.function is None or frame.offset is None:
            continue
        at = text_address(prog, frame.function, frame.offset, frame.size, frame.module)
        if at is not None:
            placed.append(replace(frame, address=at, interrupted=frame is report.pc))
    return placed


def _kept(ctx: Context, facts: Facts) -> dict[int, list[Edge]]:
    """By pid of a holder, the edges that lead there from locks that others wait for."""
    known = ctx.memo.get("kept locks")
    if known is None:
        graph, by_code = facts.graph, owner_by_code(ctx, facts)
        known = ctx.memo["kept locks"] = {}
        for edge in graph.edges:
            report = by_code.get(edge.target)
            dead = report.task.pid if report is not None and report.task is not None else None
            pid = graph.nodes[edge.target].pid or dead
            if edge.kind.holds and pid is not None and _waiters(graph, edge):
                known.setdefault(pid, []).append(edge)
    found: dict[int, list[Edge]] = known
    return found


def _waiters(graph: Graph, edge: Edge) -> list[Node]:
    """Who waits for the lock, without its holder."""
    sources = {other.source for other in graph.into(edge.source)} - {edge.target}
    return graph.tasks(sources)


def _sentence(facts: Facts, edge: Edge) -> tuple[str, Evidence]:
    graph = facts.graph
    lock, holder = graph.nodes[edge.source], graph.nodes[edge.target]
    # Of a log only the sort of lock is known.
    name = lock.label if facts.from_dump else f"a {lock.label.partition(' of ')[0]}"
    waiters = _waiters(graph, edge)
    count = sum(node.count for node in waiters)
    who = ", ".join(node.label for node in waiters[:_MAX_WAITERS])
    if count > _MAX_WAITERS:
        who = f"{count} tasks wait for it ({who})"
    else:
        who += " waits for it" if count == 1 else " wait for it"
    # The owner word leads to a task that is no more; the code on the oops's stack names it.
    sure = "most likely " if holder.pid is None else sureness(edge.confidence)
    how = f"It {sure}died holding {name}" if holder.exited else f"It {sure}held {name} at the end"
    strength = Strength.SHOWN if facts.from_dump else Strength.SAID
    proof = f"{name} is {edge.kind} {holder.label}: {edge.proof}; {who}"
    where = f"{lock.address:#x}" if lock.address is not None else "log"
    return f"{how}; {who}.", Evidence(proof, where, strength)
