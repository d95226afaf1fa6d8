"""The locks that a task held when it died, and who waits for them.

Nobody gives them back: whoever wants one waits for ever, long before a watchdog says so.
"""

from __future__ import annotations

from dataclasses import replace

from postmortem.graph.model import Edge, Graph, Node
from postmortem.judge.hangs import Facts, read_facts, sureness
from postmortem.model.findings import Evidence, Finding, Strength
from postmortem.model.report import Report
from postmortem.plugin import Context
from postmortem.rules.kinds import DEADLY

_MAX_LOCKS = 4
_MAX_WAITERS = 3


def with_left_locks(ctx: Context, finding: Finding, report: Report) -> Finding:
    """The finding of a death with what the dead task kept, where somebody waits for that."""
    if report.kind not in DEADLY or report.task is None:
        return finding
    facts = read_facts(ctx)
    for edge in _kept(ctx, facts.graph).get(report.task.pid, [])[:_MAX_LOCKS]:
        said, proof = _sentence(facts, edge)
        finding = replace(
            finding,
            explanation=f"{finding.explanation} {said}",
            evidence=(*finding.evidence, proof),
        )
    return finding


def _kept(ctx: Context, graph: Graph) -> dict[int, list[Edge]]:
    """By pid of a holder, the edges that lead there from locks that others wait for."""
    known = ctx.memo.get("kept locks")
    if known is None:
        known = ctx.memo["kept locks"] = {}
        for edge in graph.edges:
            pid = graph.nodes[edge.target].pid
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
    sure = sureness(edge.confidence)
    how = f"It {sure}died holding {name}" if holder.exited else f"It {sure}held {name} at the end"
    strength = Strength.SHOWN if facts.from_dump else Strength.SAID
    proof = f"{name} is {edge.kind} {holder.label}: {edge.proof}; {who}"
    where = f"{lock.address:#x}" if lock.address is not None else "log"
    return f"{how}; {who}.", Evidence(proof, where, strength)
