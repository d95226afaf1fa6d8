"""Where the boxes of a wait graph stand, and how its arrows run between them.

Time flows to the right: on the left stand those who wait, on the right the root. A
circle of four and more is laid as a ring of two rows, so that its last arrow is as
short as the others; who waits for a member comes from the left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from postmortem.graph.model import Edge, Graph, NodeKind, cycles, roots

WIDTH, HEIGHT = 268, 58
COLUMN, ROW = 350, 80
MARGIN = 24
LOOP = 30
"""Room above a row for an arrow that goes back."""
_RING = 4
"""Circles of so many nodes are rings."""
_APART = 1.4
"""Rows between the two rows of a ring: its arrows up and down have words."""
_CHANNEL = 20
"""How far an arrow keeps from the boxes that it passes."""


@dataclass
class Place:
    """Where a box stands."""

    column: int
    """From the right."""
    row: float
    ring: int | None = None
    """Which ring it belongs to; rings have two rows."""
    width: int = 0
    """Columns of that ring: who waits for a member stands to the left of all."""
    upper: bool = True


@dataclass(frozen=True)
class Route:
    """An arrow: its path, and where its words stand off the line."""

    path: str
    label: tuple[float, float]
    anchor: str = "middle"
    closes: bool = False
    """It closes a circle."""
    in_circle: bool = False


@dataclass
class Layout:
    """All boxes; :meth:`at` and :meth:`route` give pixels."""

    places: dict[str, Place] = field(default_factory=dict)
    closing: frozenset[tuple[str, str]] = frozenset()
    circular: frozenset[tuple[str, str]] = frozenset()

    @property
    def columns(self) -> int:
        """The number of the leftmost column."""
        return max((place.column for place in self.places.values()), default=0)

    @property
    def rows(self) -> float:
        """The number of the last row."""
        return max((place.row for place in self.places.values()), default=0)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the boxes with their margins, in pixels."""
        height = 3 * MARGIN + self.rows * ROW + HEIGHT + 2 * LOOP + 10
        return 2 * MARGIN + self.columns * COLUMN + WIDTH, height

    def at(self, node: str) -> tuple[float, float]:
        """The upper left corner of a box."""
        place = self.places[node]
        return (
            MARGIN + (self.columns - place.column) * COLUMN,
            2 * MARGIN + LOOP + place.row * ROW,
        )

    def route(self, edge: Edge) -> Route:
        """The way of an arrow."""
        key = (edge.source, edge.target)
        source, target = self.places[edge.source], self.places[edge.target]
        marks = {"closes": key in self.closing, "in_circle": key in self.circular}
        if source.ring is not None and source.ring == target.ring:
            return _in_ring(self.at(edge.source), self.at(edge.target), **marks)
        if target.column >= source.column:
            return _back(self.at(edge.source), self.at(edge.target), **marks)
        if source.column - target.column > 1 and target.ring is not None:
            return _past(self.at(edge.source), self.at(edge.target), target.upper, **marks)
        return _forward(self.at(edge.source), self.at(edge.target), **marks)


def layout(graph: Graph, nodes: Iterable[str]) -> Layout:
    """A column for each node by its distance from the root, and a row of its own."""
    allowed = set(nodes)
    found = Layout()
    next_row = 0.0
    circles = [_turned(graph, cycle) for cycle in cycles(graph)]
    for start in [*circles, *([root] for root in roots(graph))]:
        start = [node for node in start if node in allowed and node not in found.places]
        if start:
            next_row = _family(graph, start, allowed, found.places, next_row)
    for node in allowed:
        if node not in found.places:
            found.places[node] = Place(0, next_row)
            next_row += 1
    pairs = [list(zip(circle, [*circle[1:], circle[0]], strict=True)) for circle in circles]
    found.circular = frozenset(pair for circle in pairs for pair in circle)
    found.closing = frozenset(circle[-1] for circle in pairs)
    return found


def _turned(graph: Graph, cycle: tuple[Edge, ...]) -> list[str]:
    """The nodes of a circle in the order of its arrows, a task first."""
    tasks = [n for n, edge in enumerate(cycle) if graph.nodes[edge.source].kind is NodeKind.TASK]
    start = tasks[0] if tasks else 0
    return [edge.source for edge in (*cycle[start:], *cycle[:start])]


def _family(
    graph: Graph, start: list[str], allowed: set[str], places: dict[str, Place], row: float
) -> float:
    """Place a root or a circle, and left of it who depends on it; the next free row."""
    taken: dict[int, float] = {}
    for node, place in _start(start, row):
        places[node] = place
        taken[place.column] = max(place.row + 1, taken.get(place.column, 0.0))
    pending = list(start)
    for node in pending:
        place = places[node]
        column = max(place.column + 1, place.width)
        for edge in graph.into(node):
            if edge.source in places or edge.source not in allowed:
                continue
            own = max(taken.get(column, row), place.row)
            places[edge.source] = Place(column, own)
            taken[column] = own + 1
            pending.append(edge.source)
    ring = len(start) >= _RING
    return max(taken.values()) + (0.9 if ring else 0.6)


def _start(nodes: list[str], row: float) -> list[tuple[str, Place]]:
    if len(nodes) < _RING:
        return [(node, Place(column, row)) for column, node in enumerate(reversed(nodes))]
    half = (len(nodes) + 1) // 2
    ring = id(nodes)
    upper = [(n, Place(half - 1 - i, row, ring, half)) for i, n in enumerate(nodes[:half])]
    lower = [(n, Place(i, row + _APART, ring, half, False)) for i, n in enumerate(nodes[half:])]
    return [*upper, *lower]


_At = tuple[float, float]


def _in_ring(source: _At, target: _At, *, closes: bool, in_circle: bool) -> Route:
    """To the neighbour: sideways, or between the two rows."""
    (x1, y1), (x2, y2) = source, target
    middle = HEIGHT / 2
    if y1 == y2:
        right = x2 > x1
        start, end = (x1 + WIDTH, x2) if right else (x1, x2 + WIDTH)
        path = f"M{start:g} {y1 + middle:g}L{end:g} {y2 + middle:g}"
        label = ((start + end) / 2, y1 + middle - 6)
        return Route(path, label, "middle", closes, in_circle)
    down = y2 > y1
    start, end = (y1 + HEIGHT, y2) if down else (y1, y2 + HEIGHT)
    x1, x2 = x1 + WIDTH / 2, x2 + WIDTH / 2
    path = f"M{x1:g} {start:g}L{x2:g} {end:g}"
    return Route(path, (max(x1, x2) + 8, (start + end) / 2 + 4), "start", closes, in_circle)


def _forward(source: _At, target: _At, *, closes: bool, in_circle: bool) -> Route:
    """To the next column; the words stand where the line is level, on the side it leaves free."""
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT / 2
    x2, y2 = target[0], target[1] + HEIGHT / 2
    bend = (x2 - x1) / 2
    path = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    if y1 == y2:
        return Route(path, ((x1 + x2) / 2, y1 - 6), "middle", closes, in_circle)
    return Route(path, (x1 + 4, y1 - 6 if y2 > y1 else y1 + 14), "start", closes, in_circle)


def _past(source: _At, target: _At, above: bool, *, closes: bool, in_circle: bool) -> Route:
    """Past the other members of a ring, above its upper or below its lower row."""
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT / 2
    x2 = target[0] + WIDTH / 2
    edge = target[1] if above else target[1] + HEIGHT
    level = edge - _CHANNEL if above else edge + _CHANNEL
    turn = x1 + (COLUMN - WIDTH) / 2
    path = f"M{x1:g} {y1:g}H{turn:g}V{level:g}H{x2:g}V{edge:g}"
    return Route(path, (turn + 6, level - 5 if above else level + 12), "start", closes, in_circle)


def _back(source: _At, target: _At, *, closes: bool, in_circle: bool) -> Route:
    """Back to an earlier box: above the row, where nothing else is."""
    x1, y1 = source[0] + WIDTH / 2, source[1]
    x2, y2 = target[0] + WIDTH / 2, target[1]
    if source == target:
        x1, x2 = x1 - 40, x2 + 40
    high = min(y1, y2) - 36
    path = f"M{x1:g} {y1:g}C{x1:g} {high:g} {x2:g} {high:g} {x2:g} {y2:g}"
    return Route(path, ((x1 + x2) / 2, min(y1, y2) - 31), "middle", True, in_circle)
