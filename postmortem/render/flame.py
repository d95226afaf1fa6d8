"""Flame graphs: many stacks in one picture, wide where many are the same.

Two forms: folded text (a line a stack, ``outer;inner 42``), which other tools
read, and one SVG file that needs nothing else. Names come from a dump: they are
cleaned for the text and escaped for the SVG, and no script ever runs on them
but as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass, field
from html import escape

from postmortem.model.stacks import FoldedStack
from postmortem.render.clean import clean

WIDTH = 1200
ROW = 18
MARGIN = 12
TOP = 64
LETTER = 6.7
"""Width of a letter of the 11 px monospace font, roughly."""
TITLE_LETTER = 9.1
"""The same of the 15 px title."""
_LEGEND = 90
MIN_WIDTH = 0.4
"""Narrower boxes are left out."""
MAX_DEPTH = 300
MAX_NODES = 50_000


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
    stacks: Sequence[FoldedStack], title: str, unit: str = "tasks", *, script: bool = True
) -> str:
    """The flame graph as one SVG file: click on a box to zoom, on the lowest one to go back.

    :param unit: What is counted.
    :param script: Clicking zooms; without it the picture can stand in a page.
    """
    root = _tree(stacks)
    boxes = list(_boxes(root))
    depth = max((node.depth for node, _x, _w in boxes), default=0)
    height = TOP + (depth + 1) * ROW + MARGIN
    body = "".join(_box(node, x, width, height, root.total, unit) for node, x, width in boxes)
    # The legend stands to the right of it; the whole title is there on hover.
    letters = int((WIDTH - 2 * MARGIN - _LEGEND * len(_hues(stacks))) / TITLE_LETTER)
    heading = title if len(title) <= letters else title[: letters - 1] + "\u2026"
    return (
        f'<svg class="pm-flame" xmlns="http://www.w3.org/2000/svg"'
        f' viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        ' font-family="ui-monospace, Menlo, Consolas, monospace"'
        f' font-size="11">\n<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="out" x="{MARGIN}" y="22" font-size="15">{_text(heading)}</text>\n'
        f'<text class="out" id="hint" x="{MARGIN}" y="42" fill="#555">{root.total} {_text(unit)};'
        " width is number, height is depth of the call; click to zoom</text>\n"
        f'{_legend(stacks)}<g id="boxes">\n{body}</g>\n'
        + (f"<script><![CDATA[{_SCRIPT}]]></script>\n" if script else "")
        + "</svg>\n"
    )


def _tree(stacks: Iterable[FoldedStack]) -> _Node:
    root = _Node("all", 0, "idle")
    nodes = 1
    for stack in stacks:
        if stack.count <= 0:
            continue
        node = root
        node.total += stack.count
        for name in (*stack.groups, *stack.frames)[:MAX_DEPTH]:
            child = node.children.get(name)
            if child is None:
                if nodes >= MAX_NODES:
                    break
                nodes += 1
                child = node.children[name] = _Node(name, node.depth + 1, stack.hue)
            child.total += stack.count
            node = child
    return root


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
    return (
        f"<g><title>{_text(name)}: {node.total} {_text(unit)}, {share:.1f} %</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.3):.1f}" height="{ROW - 1}"'
        f' rx="2" fill="{_colour(node)}"/>'
        f'<text x="{x + 3:.1f}" y="{y + 13}">{_text(label)}</text></g>\n'
    )


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


def _legend(stacks: Iterable[FoldedStack]) -> str:
    seen = _hues(stacks)
    parts = []
    x = WIDTH - MARGIN - _LEGEND * len(seen)
    for name in seen:
        parts.append(
            f'<rect x="{x}" y="13" width="11" height="11" rx="2" fill="{_rgb(*HUES[name])}"/>'
            f'<text class="out" x="{x + 15}" y="22">{name}</text>\n'
        )
        x += _LEGEND
    return "".join(parts)


_STYLE = (
    ".pm-flame text{fill:#111;pointer-events:none}"
    ".pm-flame g g{cursor:pointer}"
    ".pm-flame g g:hover rect{stroke:#000;stroke-width:1}"
    "@media screen and (prefers-color-scheme:dark){"
    ".pm-flame .paper{fill:#14171a}.pm-flame .out{fill:#e6e8eb}"
    ".pm-flame g g:hover rect{stroke:#fff}}"
)

_SCRIPT = r"""
(function () {
  var boxes = Array.prototype.map.call(document.querySelectorAll("#boxes g"), function (g) {
    var r = g.querySelector("rect");
    return { g: g, r: r, t: g.querySelector("text"), y: +r.getAttribute("y"),
             x: +r.getAttribute("x"), w: +r.getAttribute("width") + 0.5,
             name: g.querySelector("title").textContent.replace(/: [^:]*$/, "") };
  });
  if (!boxes.length) return;
  var left = boxes[0].x, room = boxes[0].w;
  function zoom(to) {
    var scale = room / to.w;
    boxes.forEach(function (b) {
      var x = left + (b.x - to.x) * scale, w = b.w * scale;
      var below = b.y > to.y && b.x <= to.x + 0.01 && b.x + b.w >= to.x + to.w - 0.6;
      if (below) { x = left; w = room; }
      var seen = x > left - 1 && x + w < left + room + 1 && w > 0.4 && (below || b.y <= to.y);
      b.g.style.display = seen ? "" : "none";
      if (!seen) return;
      b.r.setAttribute("x", x);
      b.r.setAttribute("width", Math.max(w - 0.5, 0.3));
      b.t.setAttribute("x", x + 3);
      var letters = Math.floor((w - 6) / 6.7);
      b.t.textContent = b.name.length <= letters ? b.name
        : letters > 3 ? b.name.slice(0, letters - 1) + "\u2026" : "";
    });
  }
  boxes.forEach(function (b) { b.g.addEventListener("click", function () { zoom(b); }); });
})();
"""
