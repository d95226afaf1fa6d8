"""Who waits for whom, drawn: DOT for graphviz, and an SVG that needs nothing else.

In the picture time flows to the right: on the left stand those who wait, each
arrow leads to what they wait for, and on the right stands the root. A circle is
drawn as a row whose last arrow goes back to its first box.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from postmortem.graph.model import Edge, Graph, Node, NodeKind, cycles, roots
from postmortem.graph.tree import seconds_text
from postmortem.model.findings import Confidence
from postmortem.render.clean import clean

_MAX_NODES = 400
_WIDTH, _HEIGHT = 268, 58
_COLUMN, _ROW = 350, 80
_MARGIN = 24
_LOOP = 30
"""Room above a row for the arrow that closes a circle."""
_CHARACTERS = 38
"""What fits into a box in one line."""

_FILL = {
    NodeKind.TASK: "#e8f0fa",
    NodeKind.LOCK: "#fdf3d8",
    NodeKind.EVENT: "#eef3e6",
    NodeKind.WORK: "#efe8f7",
    NodeKind.DEVICE: "#e4ecec",
    NodeKind.UNKNOWN: "#f2f2f2",
}
_DARK_FILL = {
    NodeKind.TASK: "#1d2b3d",
    NodeKind.LOCK: "#3a3115",
    NodeKind.EVENT: "#25301b",
    NodeKind.WORK: "#2c2238",
    NodeKind.DEVICE: "#1c2b2b",
    NodeKind.UNKNOWN: "#26292d",
}
_STYLE = (
    "@media screen and (prefers-color-scheme:dark){"
    ".pm-waits .paper{fill:#14171a}"
    ".pm-waits text{fill:#e6e8eb}"
    ".pm-waits .faint{fill:#a3abb5}"
    ".pm-waits rect{stroke:#7a828c}"
    ".pm-waits path{stroke:#a3abb5}"
    ".pm-waits .tip{fill:#a3abb5;stroke:none}"
    ".pm-waits .root{stroke:#ff9a91}"
    ".pm-waits .tip.root{fill:#ff9a91;stroke:none}"
    + "".join(f".pm-waits .{kind.value}{{fill:{fill}}}" for kind, fill in _DARK_FILL.items())
    + "}"
)
"""What is light is said by attributes, which every viewer understands; this is for the others."""
_LETTER, _BOLD = 6.4, 8.8
"""Width of a letter of the note and of the title, roughly and at most."""
_LINE = {Confidence.CERTAIN: "", Confidence.LIKELY: "6 3", Confidence.POSSIBLE: "2 4"}


def dot(graph: Graph) -> str:
    """The graph in graphviz's language."""
    shapes = {NodeKind.TASK: "box", NodeKind.LOCK: "hexagon", NodeKind.DEVICE: "cylinder"}
    culprits = _culprits(graph)
    lines = ["digraph waits {", "  rankdir=LR;", '  node [fontname="sans-serif" style=filled];']
    nodes = _chosen(graph)
    for node in nodes:
        label = "\\n".join(_quoted(line) for line in _lines(node))
        color = "red" if node.id in culprits else "black"
        lines.append(
            f'  "{_quoted(node.id)}" [label="{label}" shape={shapes.get(node.kind, "ellipse")}'
            f' fillcolor="{_FILL[node.kind]}" color={color}];'
        )
    shown = {node.id for node in nodes}
    styles = {Confidence.LIKELY: "dashed", Confidence.POSSIBLE: "dotted"}
    for edge in graph.edges:
        if edge.source in shown and edge.target in shown:
            style = styles.get(edge.confidence, "solid")
            lines.append(
                f'  "{_quoted(edge.source)}" -> "{_quoted(edge.target)}"'
                f' [label="{_quoted(str(edge.kind))}" style={style}];'
            )
    lines.append("}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')


def _culprits(graph: Graph) -> set[str]:
    """Roots and the members of circles."""
    circular = {edge.source for cycle in cycles(graph) for edge in cycle}
    return circular | set(roots(graph))


def _chosen(graph: Graph) -> list[Node]:
    """What is drawn: the culprits and those nearest to them, up to a bound."""
    order = list(_culprits(graph))
    seen = set(order)
    for node in order:
        for edge in graph.into(node):
            if edge.source not in seen:
                seen.add(edge.source)
                order.append(edge.source)
    return [graph.nodes[node] for node in order[:_MAX_NODES]]


def _lines(node: Node) -> list[str]:
    """Up to three short lines of text on a node."""
    lines = [node.label]
    if node.kind is NodeKind.TASK:
        where = f"in {node.function}" if node.function else ""
        since = f"waits for {seconds_text(node.seconds)}" if node.seconds is not None else ""
        if node.state.startswith(("running", "sleeping", "runnable", "stopped", "has exited")):
            since = node.state
        lines += [where, since]
    else:
        lines.append(node.state)
    return [line for line in lines if line]


# --- SVG --------------------------------------------------------------------------


@dataclass
class _Place:
    """Where a box stands: its column from the right, its row."""

    column: int
    row: float


def svg(graph: Graph, title: str) -> str:
    """A drawing of the graph as one SVG document without scripts or fonts."""
    nodes = _chosen(graph)
    shown = {node.id for node in nodes}
    edges = [edge for edge in graph.edges if edge.source in shown and edge.target in shown]
    places = _places(graph, [node.id for node in nodes])
    columns = max((place.column for place in places.values()), default=0)
    rows = max((place.row for place in places.values()), default=0)
    left_out = len(graph.nodes) - len(nodes)
    note = "red: at the root; dashed: likely; dotted: possible"
    if left_out > 0:
        note += f"; {left_out} more nodes are not drawn"
    inner = max(columns * _COLUMN + _WIDTH, len(title) * _BOLD, len(note) * _LETTER)
    width = 2 * _MARGIN + int(inner)
    height = 3 * _MARGIN + int(rows * _ROW) + _HEIGHT + _LOOP + 10

    def at(node: str) -> tuple[float, float]:
        place = places[node]
        return (
            _MARGIN + (columns - place.column) * _COLUMN,
            2 * _MARGIN + _LOOP + place.row * _ROW,
        )

    parts = [
        '<svg class="pm-waits" role="img" xmlns="http://www.w3.org/2000/svg"'
        f' viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f"<defs>{_tip('tip', 'tip', '#555')}{_tip('tip-root', 'tip root', _RED)}</defs>",
        f'<rect class="paper" width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 4}" font-size="15" font-weight="bold">'
        f"{_text(title)}</text>",
    ]
    parts += [_arrow(edge, at(edge.source), at(edge.target), places) for edge in edges]
    culprits = _culprits(graph)
    parts += [_box(node, at(node.id), node.id in culprits) for node in nodes]
    parts.append(
        f'<text class="faint" x="{_MARGIN}" y="{height - _MARGIN / 2}" fill="#555">'
        f"{_text(note)}</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(graph: Graph, nodes: Iterable[str]) -> dict[str, _Place]:
    """A column for each node by its distance from the root, and a row of its own."""
    allowed = set(nodes)
    places: dict[str, _Place] = {}
    next_row = 0.0
    starts = [_unrolled(graph, cycle) for cycle in cycles(graph)]
    starts += [[root] for root in roots(graph)]
    for start in starts:
        start = [node for node in start if node in allowed and node not in places]
        if not start:
            continue
        columns: dict[int, float] = {}
        for column, node in enumerate(start):
            places[node] = _Place(column, next_row)
            columns[column] = next_row + 1
        pending = list(start)
        for node in pending:
            column = places[node].column + 1
            for edge in graph.into(node):
                if edge.source in places or edge.source not in allowed:
                    continue
                row = max(columns.get(column, next_row), places[node].row)
                places[edge.source] = _Place(column, row)
                columns[column] = row + 1
                pending.append(edge.source)
        next_row = max(columns.values()) + 0.6
    for node in allowed:
        if node not in places:
            places[node] = _Place(0, next_row)
            next_row += 1
    return places


def _unrolled(graph: Graph, cycle: tuple[Edge, ...]) -> list[str]:
    """The nodes of a circle as a row, the rightmost first."""
    tasks = [n for n, edge in enumerate(cycle) if graph.nodes[edge.source].kind is NodeKind.TASK]
    start = tasks[0] if tasks else 0
    turned = [*cycle[start:], *cycle[:start]]
    return [edge.source for edge in reversed(turned)]


_RED = "#c0392b"


def _tip(name: str, style: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        ' markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="{style}" d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def _arrow(
    edge: Edge,
    source: tuple[float, float],
    target: tuple[float, float],
    places: dict[str, _Place],
) -> str:
    dashes = _LINE[edge.confidence]
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    middle = _HEIGHT / 2
    look = ' stroke="#555" marker-end="url(#tip)"'
    forward = places[edge.target].column < places[edge.source].column
    if forward:
        x1, y1 = source[0] + _WIDTH, source[1] + middle
        x2, y2 = target[0], target[1] + middle
        bend = (x2 - x1) / 2
        path = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
        label_x, label_y = (x1 + x2) / 2, (y1 + y2) / 2 - 5
    else:
        # Back to an earlier box: above the row, where nothing else is. It closes the circle.
        look = f' class="root" stroke="{_RED}" stroke-width="2" marker-end="url(#tip-root)"'
        x1, y1 = source[0] + _WIDTH / 2, source[1]
        x2, y2 = target[0] + _WIDTH / 2, target[1]
        if edge.source == edge.target:
            x1, x2 = x1 - 40, x2 + 40
        high = min(y1, y2) - 36
        path = f"M{x1:g} {y1:g}C{x1:g} {high:g} {x2:g} {high:g} {x2:g} {y2:g}"
        label_x, label_y = (x1 + x2) / 2, min(y1, y2) - 31
    return (
        f'<path{look} d="{path}" fill="none"{dash}>'
        f"<title>{_text(edge.proof or str(edge.kind))}</title></path>"
        f'<text class="faint" x="{label_x:g}" y="{label_y:g}" text-anchor="middle" font-size="10"'
        f' fill="#555">{_text(str(edge.kind))}</text>'
    )


def _box(node: Node, at: tuple[float, float], culprit: bool) -> str:
    x, y = at
    stroke = _RED if culprit else "#888"
    style = f"{node.kind.value} root" if culprit else node.kind.value
    thick = 2 if culprit else 1
    round_ = 6 if node.kind is NodeKind.TASK else 0
    frame = (
        f'class="{style}" width="{_WIDTH}" height="{_HEIGHT}" rx="{round_}"'
        f' fill="{_FILL[node.kind]}" stroke="{stroke}" stroke-width="{thick}"'
    )
    lines = _lines(node)
    full = "\n".join([*lines, *node.stack[:30]])
    parts = [f"<g><title>{_text(full, keep_lines=True)}</title>"]
    if node.count > 1:
        # A convoy is a pile.
        parts += [f'<rect x="{x + d}" y="{y - d}" {frame}/>' for d in (8, 4)]
    parts.append(f'<rect x="{x:g}" y="{y:g}" {frame}/>')
    for number, line in enumerate(lines[:3]):
        weight = ' font-weight="bold"' if number == 0 else ' class="faint" fill="#444"'
        parts.append(
            f'<text x="{x + 8:g}" y="{y + 17 + number * 16:g}"{weight}>'
            f"{_text(_short(line, _CHARACTERS if number else _CHARACTERS - 5))}</text>"
        )
    return "".join([*parts, "</g>"])


def _short(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _text(text: str, *, keep_lines: bool = False) -> str:
    if keep_lines:
        return "\n".join(escape(clean(line)) for line in text.split("\n"))
    return escape(clean(text))
