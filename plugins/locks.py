"""Every sleeping task and what it waits for; every lock that somebody waits for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from postmortem.graph.model import Graph, Node, NodeKind, cycles, roots
from postmortem.graph.tree import circle, node_text, tree
from postmortem.judge.hangs import log_time, waiting
from postmortem.model.findings import Block, Cell, Column, Export, Holds, Table, Unit
from postmortem.plugin import DumpContext, option, plugin

if TYPE_CHECKING:
    from postmortem.kernel.locking.waits import Wait


_EACH = option("--each", type=bool, help="A row for each task, not for each group of them.")
_MAX_NAMES = 3


@plugin("waits", needs=("types",), in_analysis=False, options=(_EACH,))
def waits(ctx: DumpContext, *, each: bool = False) -> Iterator[Table]:
    """List what all sleeping tasks wait for; tasks that wait alike are one row.

    Uninterruptible waits (state D) come first, then the longest.
    """
    from postmortem.kernel.locking.waits import waits as read_waits

    prog = ctx.prog
    found = ctx.attempt("waits", lambda: read_waits(prog, log_time(ctx)))
    if found is None:
        return
    for problem in found.problems:
        ctx.problem(problem.what, problem.why)
    yield _each(found.waits) if each else _grouped(found.waits)


def _urgent(wait: Wait) -> tuple[bool, float]:
    return wait.task.state != "D", -(wait.since.longest or 0.0)


def _each(found: Iterable[Wait]) -> Table:
    columns = (
        Column("pid", Unit.ID),
        Column("comm"),
        Column("state", extra=1),
        Column("for", Unit.SECONDS),
        *_WHAT,
    )
    rows = tuple(
        (wait.task.pid, wait.task.comm, wait.task.state, wait.since.longest, *_what(wait))
        for wait in sorted(found, key=_urgent)
    )
    return Table("Waits", columns, rows, "for: since the task left the CPU")


def _grouped(found: Iterable[Wait]) -> Table:
    """Who waits for one thing in one way is a row; so are those whose thing has no name."""
    from postmortem.rules.waits import LOCKS

    groups: dict[tuple[object, ...], list[Wait]] = {}
    for wait in sorted(found, key=_urgent):
        thing = wait.address if wait.kind in LOCKS else wait.name
        key = (wait.task.state, wait.kind, thing, wait.name, wait.frame.function)
        groups.setdefault(key, []).append(wait)
    columns = (
        Column("tasks", Unit.COUNT),
        Column("state", extra=1),
        Column("longest", Unit.SECONDS),
        Column("who"),
        *_WHAT,
    )
    rows = tuple(
        (
            len(group),
            group[0].task.state,
            group[0].since.longest,
            _names(group),
            *(cell if _same(group, place) else None for place, cell in enumerate(_what(group[0]))),
        )
        for group in groups.values()
    )
    note = "longest: since the task left the CPU; --each lists every task"
    return Table("Waits", columns, rows, note)


_WHAT = (
    Column("waits for"),
    Column("name"),
    Column("address", Unit.HEX, extra=2),
    Column("in"),
    Column("detail", extra=3),
    Column("proof", extra=4),
)


def _what(wait: Wait) -> tuple[Cell, ...]:
    return (
        str(wait.kind),
        wait.name or None,
        wait.address,
        wait.frame.function,
        wait.detail or None,
        wait.proof or None,
    )


def _same(group: Sequence[Wait], place: int) -> bool:
    """Whether a cell is true of all; proofs name the first one's."""
    return len({_what(wait)[place] for wait in group[:_ALIKE]}) == 1


_ALIKE = 1000


def _names(group: Sequence[Wait]) -> str:
    """``pm_query (175), pm_query (176) and 3 more``"""
    names = [f"{wait.task.comm} ({wait.task.pid})" for wait in group[:_MAX_NAMES]]
    more = len(group) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


@plugin("locks", needs=("types",), in_analysis=False)
def locks(ctx: DumpContext) -> Iterator[Table | Block | Export]:
    """List every lock that somebody waits for: its holder, its waiters, and the graph."""
    from postmortem.kernel.locking.blocking import blocking

    prog = ctx.prog
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
