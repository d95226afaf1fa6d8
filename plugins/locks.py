"""Every sleeping task and what it waits for; every lock that somebody waits for."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.graph.model import Graph, Node, NodeKind, cycles, roots
from postmortem.graph.tree import circle, node_text, tree
from postmortem.judge.hangs import log_time, waiting
from postmortem.model.findings import Block, Cell, Column, Export, Holds, Table, Unit
from postmortem.plugin import Context, plugin


@plugin("waits", needs=("types",), in_analysis=False)
def waits(ctx: Context) -> Iterator[Table]:
    """List every sleeping task and what it waits for, the longest wait first."""
    from postmortem.kernel.locking.waits import waits as read_waits

    prog = ctx.prog
    assert prog is not None
    found = ctx.attempt("waits", lambda: read_waits(prog, log_time(ctx)))
    if found is None:
        return
    for problem in found.problems:
        ctx.problem(problem.what, problem.why)
    ordered = sorted(found.waits, key=lambda wait: -(wait.since.longest or 0.0))
    rows = tuple(
        (
            wait.task.pid,
            wait.task.comm,
            wait.task.state,
            wait.since.longest,
            str(wait.kind),
            wait.name or None,
            wait.address,
            wait.frame.function,
            wait.detail or None,
            wait.proof or None,
        )
        for wait in ordered
    )
    columns = (
        Column("pid", Unit.ID),
        Column("comm"),
        Column("state", extra=1),
        Column("for", Unit.SECONDS),
        Column("waits for"),
        Column("name"),
        Column("address", Unit.HEX, extra=2),
        Column("in"),
        Column("detail", extra=3),
        Column("proof", extra=4),
    )
    yield Table("Waits", columns, rows, "for: since the task left the CPU")


@plugin("locks", needs=("types",), in_analysis=False)
def locks(ctx: Context) -> Iterator[Table | Block | Export]:
    """List every lock that somebody waits for: its holder, its waiters, and the graph."""
    from postmortem.kernel.locking.blocking import blocking

    prog = ctx.prog
    assert prog is not None
    found = ctx.attempt("locks", lambda: blocking(prog, (), log_time(ctx)))
    if found is None:
        return
    for problem in found.problems:
        ctx.problem(problem.what, problem.why)
    graph = found.graph
    objects = [node for node in graph.nodes.values() if node.kind is not NodeKind.TASK]
    objects.sort(key=lambda node: -sum(waiting(graph, graph.into(node.id))))
    yield Table(
        "Locks and other things that are waited for",
        (
            Column("what"),
            Column("address", Unit.HEX, extra=2),
            Column("state", extra=1),
            Column("holder"),
            Column("how sure"),
            Column("waiters", Unit.COUNT),
            Column("longest", Unit.SECONDS),
        ),
        tuple(_lock_row(graph, node) for node in objects),
        "all that somebody waits for, however short; hung says from when on it is trouble",
    )
    for cycle in cycles(graph):
        yield Block("Deadlock", circle(graph, cycle), holds=Holds.WAITS)
    for root in roots(graph):
        title = f"Root: {node_text(graph.nodes[root])}"
        yield Block(title, tree(graph, root), holds=Holds.WAITS)
    if graph.nodes:
        yield Export("Who waits for whom", "svg", graph)
        yield Export("Who waits for whom", "dot", graph)


def _lock_row(graph: Graph, node: Node) -> tuple[Cell, ...]:
    out = graph.out(node.id)
    into = graph.into(node.id)
    longest = max((graph.nodes[edge.source].seconds or 0.0 for edge in into), default=None)
    return (
        node.label,
        node.address,
        node.state or None,
        ", ".join(graph.nodes[edge.target].label for edge in out) or None,
        str(out[0].confidence) if out else None,
        sum(waiting(graph, into)),
        longest,
    )
