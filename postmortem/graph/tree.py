"""The graph as indented text: the root first, and below it who waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from postmortem.graph.model import Edge, Graph, Node, NodeKind
from postmortem.model.findings import Confidence

_MAX_LINES = 200
_MAX_DEPTH = 64


def seconds_text(seconds: float | None) -> str:
    """``3.1 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds is None:
        return "?"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def node_text(node: Node) -> str:
    """One line on a node."""
    parts = [node.label]
    if node.kind is NodeKind.TASK:
        said = []
        if node.seconds is not None:
            said.append(f"for {seconds_text(node.seconds)}")
        if node.function:
            module = f" [{node.module}]" if node.module else ""
            said.append(f"in {node.function}{module}")
        if node.state:
            said.append(node.state)
        parts.append(", ".join(said))
    elif node.state:
        parts.append(node.state)
    return ": ".join(part for part in parts if part)


def tree(graph: Graph, root: str) -> tuple[str, ...]:
    """The node, and indented below it what depends on it."""
    return tuple(_bounded(_below(graph, root)))


def circle(graph: Graph, cycle: Sequence[Edge]) -> tuple[str, ...]:
    """A circle, one edge a line, and then who else hangs on it."""
    lines = []
    members = {edge.source for edge in cycle}
    start = next(
        (n for n, edge in enumerate(cycle) if graph.nodes[edge.source].kind is NodeKind.TASK), 0
    )
    turned = [*cycle[start:], *cycle[:start]]
    for edge in turned:
        lines.append(node_text(graph.nodes[edge.source]))
        lines.append(f"  {edge.kind}")
    if turned:
        lines.append(f"{graph.nodes[turned[0].source].label}: the circle is closed")
    for edge in turned:
        for other in graph.into(edge.source):
            if other.source not in members:
                lines.append(f"and for {graph.nodes[edge.source].label} waits:")
                lines += [f"  {line}" for line in tree(graph, other.source)]
    return tuple(_bounded(iter(lines)))


def _below(graph: Graph, root: str) -> Iterator[str]:
    """Depth first, without recursion; what was shown is not shown again."""
    seen = {root}
    yield node_text(graph.nodes[root])
    pending = [(edge, 1) for edge in reversed(_ordered(graph, root))]
    while pending:
        edge, depth = pending.pop()
        node = graph.nodes[edge.source]
        words = edge.kind.from_below
        again = "" if edge.source not in seen else " (see above)"
        yield f"{'  ' * min(depth, _MAX_DEPTH)}{words} {node_text(node)}{again}"
        if again:
            continue
        seen.add(edge.source)
        pending += [(e, depth + 1) for e in reversed(_ordered(graph, edge.source))]


def _ordered(graph: Graph, node: str) -> list[Edge]:
    """Edges into a node: proven ones first, then the longest wait."""
    order = {Confidence.CERTAIN: 0, Confidence.LIKELY: 1, Confidence.POSSIBLE: 2}
    return sorted(
        graph.into(node),
        key=lambda e: (order[e.confidence], -(graph.nodes[e.source].seconds or 0.0)),
    )


def _bounded(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number >= _MAX_LINES:
            yield "..."
            return
        yield line
