"""Flame graphs: many stacks in one picture, wide where many are the same.

Two forms: folded text (a line a stack, ``outer;inner 42``), which other tools
read, and one SVG file that needs nothing else. Names come from a dump: they are
cleaned for the text and escaped for the SVG, and no script ever runs on them
but as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from postmortem.model.stacks import FoldedStack
from postmortem.render.clean import clean

WIDTH = 1200
ROW = 18
MARGIN = 12
TOP = 52
"""Without the legend."""
LETTER = 6.7
"""Width of a letter of the 11 px monospace font, roughly."""
TITLE_LETTER = 9.1
"""The same of the 15 px title."""
_LEGEND, _LEGENDS = 90, 4
"""Width of an entry of the legend, and how many stand in a row: a telephone has 400 px."""
MIN_WIDTH = 0.4
"""Narrower boxes are left out."""
MAX_DEPTH = 300
MAX_NODES = 50_000
_MAX_WHO = 8
"""Names of tasks that are told of a box."""

HUES = {
    "running": (128, 52, 64),
    "blocked": (6, 78, 69),
    "waking": (42, 85, 66),
    "sleeping": (212, 55, 76),
    "idle": (220, 9, 83),
    "other": (280, 30, 77),
}
"""By what the tasks do: hue, saturation and lightness; the lightness varies
a little with the frame's name."""


@dataclass
class _Node:
    name: str
    depth: int
    hue: str
    total: int = 0
    marked: bool = False
    who: Counter[str] = field(default_factory=Counter)
    children: dict[str, _Node] = field(default_factory=dict)


def folded(stacks: Iterable[FoldedStack]) -> str:
    """One line a stack: names from the outermost on, joined by ``;``, and the count."""
    lines: dict[str, int] = {}
    for stack in stacks:
        names = (*stack.groups, *stack.frames)
        line = ";".join(clean(name).replace(";", ":") for name in names)
        lines[line] = lines.get(line, 0) + stack.count
    return "".join(f"{line} {count}\n" for line, count in lines.items())


def svg(
    stacks: Sequence[FoldedStack], title: str, unit: str = "tasks", *, alone: bool = True
) -> str:
    """The flame graph as SVG: click on a box to zoom, on the lowest one to go back.

    :param unit: What is counted.
    :param alone: It is a file of its own, with the script that fits it to its window; else it
        stands in a page that has :func:`script`.
    """
    root = _tree(stacks)
    boxes = list(_boxes(root))
    legend, top = _legend(stacks)
    depth = max((node.depth for node, _x, _w in boxes), default=0)
    height = top + (depth + 1) * ROW + MARGIN
    body = "".join(_box(node, x, width, height, root.total, unit) for node, x, width in boxes)
    letters = int((WIDTH - 2 * MARGIN - 60) / TITLE_LETTER)
    heading = title if len(title) <= letters else title[: letters - 1] + "\u2026"
    return (
        f'<svg class="pm-flame" xmlns="http://www.w3.org/2000/svg"'
        f' viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        ' font-family="ui-monospace, Menlo, Consolas, monospace"'
        f' font-size="11">\n<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="out heading" x="{MARGIN}" y="22" font-size="15">{_text(heading)}</text>\n'
        f'<text class="out search" x="{WIDTH - MARGIN}" y="22" text-anchor="end">search</text>\n'
        f'<text class="out hint" x="{MARGIN}" y="42" fill="#555">{root.total} {_text(unit)};'
        " wide is many, high is deep</text>\n"
        f'{legend}<g class="boxes">\n{body}</g>\n'
        + (f"<script><![CDATA[{script()}]]></script>\n" if alone else "")
        + "</svg>\n"
    )


def script() -> str:
    """What fits the pictures to their window, zooms, and searches."""
    file = Path(__file__).with_name("templates") / "flame.js"
    return file.read_text(encoding="utf-8")


def _tree(stacks: Iterable[FoldedStack]) -> _Node:
    root = _Node("all", 0, "idle")
    nodes = 1
    for stack in stacks:
        if stack.count <= 0:
            continue
        node = root
        _count(node, stack)
        for name in (*stack.groups, *stack.frames)[:MAX_DEPTH]:
            child = node.children.get(name)
            if child is None:
                if nodes >= MAX_NODES:
                    break
                nodes += 1
                child = node.children[name] = _Node(name, node.depth + 1, stack.hue)
            _count(child, stack)
            node = child
    return root


def _count(node: _Node, stack: FoldedStack) -> None:
    node.total += stack.count
    node.marked = node.marked or stack.marked
    for name, count in stack.who:
        node.who[name] += count


def _boxes(root: _Node) -> Iterator[tuple[_Node, float, float]]:
    """Each node with its place; the first groups keep their order, frames go by number."""
    scale = (WIDTH - 2 * MARGIN) / root.total if root.total else 0.0
    pending = [(root, float(MARGIN))]
    while pending:
        node, x = pending.pop()
        width = node.total * scale
        if width < MIN_WIDTH:
            continue
        yield node, x, width
        children = list(node.children.values())
        if node.depth:
            children.sort(key=lambda child: (-child.total, child.name))
        for child in children:
            pending.append((child, x))
            x += child.total * scale


def _box(node: _Node, x: float, width: float, height: int, total: int, unit: str) -> str:
    name = clean(node.name)
    y = height - MARGIN - (node.depth + 1) * ROW
    share = 100 * node.total / total if total else 0
    letters = int((width - 6) / LETTER)
    label = name if len(name) <= letters else name[: letters - 1] + "\u2026" if letters > 3 else ""
    marked = ' class="marked"' if node.marked and node.depth else ""
    return (
        f"<g{marked}><title>{_text(name)}: {node.total} {_text(unit)}, {share:.1f} %"
        f"{_who(node)}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.3):.1f}" height="{ROW - 1}"'
        f' rx="2" fill="{_colour(node)}"/>'
        f'<text x="{x + 3:.1f}" y="{y + 13}">{_text(label)}</text></g>\n'
    )


def _who(node: _Node) -> str:
    """A line with the names of the tasks: a title is shown with its line breaks."""
    found = node.who.most_common()
    names = [f"{name} ({count})" if count > 1 else name for name, count in found[:_MAX_WHO]]
    if len(found) > _MAX_WHO:
        names.append("...")
    return f"\n{_text(', '.join(names))}" if names else ""


def _text(text: str) -> str:
    return escape(clean(text), quote=True)


def _colour(node: _Node) -> str:
    hue, saturation, lightness = HUES.get(node.hue, HUES["other"])
    # The same name has the same shade in every picture.
    shade = sum(ord(letter) * (n + 1) for n, letter in enumerate(node.name[:40])) % 13 - 6
    return _rgb(hue, saturation, lightness + shade)


def _rgb(hue: int, saturation: int, lightness: int) -> str:
    """``#rrggbb``: hsl() is CSS, which not every viewer of SVG understands."""
    parts = hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def _hues(stacks: Iterable[FoldedStack]) -> list[str]:
    return list(dict.fromkeys(stack.hue for stack in stacks if stack.hue in HUES))


def _legend(stacks: Iterable[FoldedStack]) -> tuple[str, int]:
    """What the colours say, and where the picture below it begins."""
    stacks = tuple(stacks)
    entries = [(name, f'fill="{_rgb(*HUES[name])}"') for name in _hues(stacks)]
    if any(stack.marked for stack in stacks):
        entries.append(("died here", 'class="death" fill="none"'))
    parts = []
    for place, (name, look) in enumerate(entries):
        x = MARGIN + place % _LEGENDS * _LEGEND
        y = TOP + place // _LEGENDS * ROW
        parts.append(
            f'<rect x="{x}" y="{y}" width="11" height="11" rx="2" {look}/>'
            f'<text class="out" x="{x + 15}" y="{y + 9}">{name}</text>\n'
        )
    return "".join(parts), TOP + (len(entries) + _LEGENDS - 1) // _LEGENDS * ROW


_STYLE = (
    ".pm-flame{max-width:100%;height:auto}"
    ".pm-flame text{fill:#111;pointer-events:none}"
    ".pm-flame .out.hint{fill:#57606a}"
    ".pm-flame .search{display:none;pointer-events:auto;cursor:pointer;text-decoration:underline}"
    ".pm-flame g g{cursor:pointer}"
    ".pm-flame .marked rect,.pm-flame .death{stroke:#b3261e;stroke-width:2}"
    ".pm-flame .marked text{font-weight:bold}"
    ".pm-flame .hit rect{fill:#ee82ee}"
    ".pm-flame g g:hover rect{stroke:#000;stroke-width:1}"
    "@media screen and (prefers-color-scheme:dark){"
    ".pm-flame .paper{fill:#14171a}.pm-flame .out{fill:#e6e8eb}"
    ".pm-flame .out.hint{fill:#a3abb5}"
    ".pm-flame .marked rect,.pm-flame .death{stroke:#ff5a4d}"
    ".pm-flame g g:hover rect{stroke:#fff}}"
)
