"""Who waits for whom, drawn: DOT for graphviz, and an SVG that needs nothing else.

In the picture on the left stand those who wait, each arrow leads to what they wait
for, and on the right stands the root: :mod:`postmortem.render.graph_layout`.
"""

from __future__ import annotations

from html import escape

from postmortem.graph.model import Edge, Graph, Node, NodeKind, cycles, roots
from postmortem.graph.tree import seconds_text
from postmortem.model.findings import Confidence
from postmortem.render.clean import clean
from postmortem.render.graph_layout import HEIGHT, MARGIN, WIDTH, Route, layout

_MAX_NODES = 400
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
    ".pm-waits{max-width:100%;height:auto}"
    ".pm-waits .label{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}"
    "@media screen and (prefers-color-scheme:dark){"
    ".pm-waits .paper{fill:#14171a}"
    ".pm-waits text{fill:#e6e8eb}"
    ".pm-waits .faint{fill:#a3abb5}"
    ".pm-waits .label{stroke:#14171a}"
    ".pm-waits rect{stroke:#7a828c}"
    ".pm-waits path{stroke:#a3abb5}"
    ".pm-waits .tip{fill:#a3abb5;stroke:none}"
    ".pm-waits .root,.pm-waits .circle{stroke:#ff9a91}"
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


def svg(graph: Graph, title: str, *, least: int = 0) -> str:
    """A drawing of the graph as one SVG document without scripts or fonts.

    :param least: In a page: it is not made smaller than so many percent of its size, so that
        its words stay readable.
    """
    nodes = _chosen(graph)
    shown = {node.id for node in nodes}
    edges = [edge for edge in graph.edges if edge.source in shown and edge.target in shown]
    placed = layout(graph, [node.id for node in nodes])
    left_out = len(graph.nodes) - len(nodes)
    note = "red: at the root; dashed: likely; dotted: possible"
    if left_out > 0:
        note += f"; {left_out} more nodes are not drawn"
    inner, height = map(int, placed.size)
    width = max(inner, 2 * MARGIN + int(max(len(title) * _BOLD, len(note) * _LETTER)))
    floor = f' style="min-width:{width * least // 100}px"' if least else ""
    parts = [
        '<svg class="pm-waits" role="img" xmlns="http://www.w3.org/2000/svg"'
        f' viewBox="0 0 {width} {height}"{floor}'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f"<defs>{_tip('tip', 'tip', '#555')}{_tip('tip-root', 'tip root', _RED)}</defs>",
        f'<rect class="paper" width="{width}" height="{height}" fill="white"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 4}" font-size="15" font-weight="bold">'
        f"{_text(title)}</text>",
    ]
    routes = [(edge, placed.route(edge)) for edge in edges]
    parts += [_arrow(edge, route) for edge, route in routes]
    culprits = _culprits(graph)
    parts += [_box(node, placed.at(node.id), node.id in culprits) for node in nodes]
    parts += [_words(edge, route) for edge, route in routes]
    parts.append(
        f'<text class="faint" x="{MARGIN}" y="{height - MARGIN / 2}" fill="#555">'
        f"{_text(note)}</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


_RED = "#c0392b"


def _tip(name: str, style: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        ' markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="{style}" d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def _arrow(edge: Edge, route: Route) -> str:
    dashes = _LINE[edge.confidence]
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    look = ' stroke="#555" marker-end="url(#tip)"'
    if route.in_circle:
        look = f' class="circle" stroke="{_RED}" stroke-width="2" marker-end="url(#tip-root)"'
    if route.closes:
        look = f' class="root" stroke="{_RED}" stroke-width="3" marker-end="url(#tip-root)"'
    return (
        f'<path{look} d="{route.path}" fill="none"{dash}>'
        f"<title>{_text(edge.proof or str(edge.kind))}</title></path>"
    )


def _words(edge: Edge, route: Route) -> str:
    """What the arrow means: painted last, so that no line runs through it."""
    x, y = route.label
    return (
        f'<text class="faint label" x="{x:g}" y="{y:g}" text-anchor="{route.anchor}"'
        f' font-size="10" fill="#555">{_text(str(edge.kind))}</text>'
    )


def _box(node: Node, at: tuple[float, float], culprit: bool) -> str:
    x, y = at
    stroke = _RED if culprit else "#888"
    style = f"{node.kind.value} root" if culprit else node.kind.value
    thick = 2 if culprit else 1
    round_ = 6 if node.kind is NodeKind.TASK else 0
    frame = (
        f'class="{style}" width="{WIDTH}" height="{HEIGHT}" rx="{round_}"'
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
