"""Hung tasks and deadlocks: who waits for whom, and who is at the root."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.graph.model import Graph, NodeKind
from postmortem.judge.hangs import Facts, hangs, read_facts, troubles
from postmortem.model.findings import Column, Export, Finding, Table, Unit
from postmortem.plugin import Context, option, plugin


@plugin(
    "hung",
    needs=("log",),
    options=(
        option(
            "--seconds",
            type=float,
            help="A task hangs once it has waited so long (default: khungtaskd's timeout).",
            metavar="S",
        ),
    ),
)
def hung(ctx: Context, *, seconds: float | None = None) -> Iterator[Finding | Table | Export]:
    """Find tasks that hang, what they wait for, and who is at the root of it.

    In a dump every lock is looked up and its holder followed, through work
    items and other tasks, to the one that waits for nobody, or to a circle. Of
    a log the kernel's own hung-task reports are taken.
    """
    facts = read_facts(ctx)
    yield from hangs(ctx, facts, seconds)
    if ctx.named:
        yield from _listed(facts)
    if ctx.named or troubles(facts, seconds=seconds):
        yield from drawings(facts.graph, "Who waits for whom")


def _listed(facts: Facts) -> Iterator[Table]:
    """Every blocked task that memory or the log shows, in a log also those of sysrq w and t."""
    graph = facts.graph
    rows = tuple(
        (
            node.pid,
            node.comm,
            node.seconds,
            graph.nodes[edge.target].label,
            node.function,
            ", ".join(graph.nodes[e.target].label for e in graph.out(edge.target)) or None,
            edge.proof or None,
        )
        for node in graph.nodes.values()
        if node.kind is NodeKind.TASK
        for edge in graph.out(node.id)
    )
    columns = (
        Column("pid", Unit.ID),
        Column("comm"),
        Column("for", Unit.SECONDS),
        Column("waits for"),
        Column("in"),
        Column("holder"),
        Column("where", extra=1),
    )
    if rows:
        yield Table(
            "Blocked tasks" if facts.from_dump else "Blocked tasks in the log",
            columns,
            rows,
            "at least so long; a finding from khungtaskd's timeout on (120 s by default), once 10"
            " tasks have waited behind one thing for 5 s, or a holder has kept a lock for 20 s",
        )


def drawings(graph: Graph, title: str) -> Iterator[Export]:
    """``-o FILE.svg`` and ``-o FILE.dot``."""
    if graph.nodes:
        yield Export(title, "svg", graph)
        yield Export(title, "dot", graph)
