"""Who waits for whom, as a graph that knows neither kernel nor drgn.

A node is a task, a lock, a work item, a device; an edge leads from who waits to
what it waits for, and from a lock to who holds it. Whoever follows the edges
comes to the root of the trouble or runs in a circle. All of it is iterative and
linear: a damaged dump may give any graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import NamedTuple

from postmortem.model.findings import Confidence
from postmortem.model.frame import Frame


class NodeKind(str, Enum):
    """What a node stands for."""

    TASK = "task"
    LOCK = "lock"
    EVENT = "event"
    """A completion, a wait queue, a bit: somebody must say that it has happened."""
    WORK = "work"
    DEVICE = "device"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


class Doing(Enum):
    """What a task is at that others wait for."""

    UNKNOWN = "unknown"
    RUNS = "runs"
    """On a CPU, or ready for one."""
    SLEEPS = "sleeps"
    """It waits for nothing but time."""
    STOPPED = "stopped"
    WAITS = "waits"
    GONE = "gone"
    """It has exited, or left the function, and does nothing more."""


class EdgeKind(str, Enum):
    """Why the source can't go on before the target does something; the words lead that way."""

    WAITS = "waits for"
    HELD = "held by"
    LIKELY_HELD = "likely held by"
    PERHAPS_HELD = "perhaps held by"
    EXECUTED = "executed by"
    ENDS = "ends with"
    ANSWERED = "answered by"
    COMMITTED = "committed by"
    NEEDS = "needs"
    PERHAPS_NEEDS = "perhaps needs"

    def __str__(self) -> str:
        return self.value

    @property
    def from_below(self) -> str:
        """The words read from the target: who ``waits for`` a lock, that is ``waited for by``."""
        return _FROM_BELOW[self]

    @property
    def holds(self) -> bool:
        """The target has the source in its hands: a lock and its holder."""
        return self in (EdgeKind.HELD, EdgeKind.LIKELY_HELD, EdgeKind.PERHAPS_HELD)


_FROM_BELOW = {
    EdgeKind.WAITS: "waited for by",
    EdgeKind.HELD: "holds",
    EdgeKind.LIKELY_HELD: "likely holds",
    EdgeKind.PERHAPS_HELD: "perhaps holds",
    EdgeKind.EXECUTED: "executes",
    EdgeKind.ENDS: "must end for",
    EdgeKind.ANSWERED: "must answer",
    EdgeKind.COMMITTED: "commits",
    EdgeKind.NEEDS: "must do",
    EdgeKind.PERHAPS_NEEDS: "perhaps must do",
}


@dataclass(frozen=True)
class Node:
    """A task or what tasks wait for."""

    id: str
    """Unique in the graph: ``task:ff..``, ``lock:ff..``, ``device:vda``."""
    kind: NodeKind
    label: str
    """For people: ``pm_reloader (173)``, ``mutex pm_config_mutex [pm_fault]``."""
    state: str = ""
    """What it is doing: ``sleeping in msleep``, ``held for writing``, ``on CPU 1``."""
    seconds: float | None = None
    """Since when, for a task that waits."""
    pid: int | None = None
    comm: str | None = None
    function: str | None = None
    """The function of a task that is to blame for its wait, or holds."""
    module: str | None = None
    address: int | None = None
    _: KW_ONLY
    count: int = 1
    """How many tasks it stands for: a convoy waits for the same thing in the same way."""
    stack: tuple[str, ...] = ()
    """Functions of a task, innermost first."""
    doing: Doing = Doing.UNKNOWN
    """``state`` of a task, for those who decide by it."""
    hung: bool = False
    """It has waited longer than the kernel thinks healthy, or the kernel has said so."""

    @property
    def exited(self) -> bool:
        """A task that is no more: what it holds is never given back."""
        return self.doing is Doing.GONE


@dataclass(frozen=True)
class Edge:
    """``source`` can't go on before ``target`` does something."""

    source: str
    target: str
    kind: EdgeKind
    confidence: Confidence = Confidence.CERTAIN
    proof: str = ""


class Taken(NamedTuple):
    """Where a task took what others wait for."""

    frame: Frame
    proof: str
    sure: bool
    """The code names this very lock, or the task is known to execute that function."""


@dataclass
class Graph:
    """Nodes and edges."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    _out: dict[str, list[Edge]] = field(default_factory=dict)
    _in: dict[str, list[Edge]] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Add a node; a second one with the same id is ignored."""
        self.nodes.setdefault(node.id, node)

    def link(self, edge: Edge) -> None:
        """Add an edge between nodes that are there; the same pair is linked once."""
        if edge.source not in self.nodes or edge.target not in self.nodes:
            raise KeyError(f"no node for {edge.source} -> {edge.target}")
        known = self._out.setdefault(edge.source, [])
        if any(other.target == edge.target for other in known):
            return
        known.append(edge)
        self._in.setdefault(edge.target, []).append(edge)
        self.edges.append(edge)

    def out(self, node: str) -> list[Edge]:
        """What ``node`` depends on."""
        return self._out.get(node, [])

    def into(self, node: str) -> list[Edge]:
        """What depends on ``node``."""
        return self._in.get(node, [])

    def blocked_by(self, nodes: Iterable[str]) -> set[str]:
        """Every node that depends on one of ``nodes``, directly or through others."""
        found: set[str] = set()
        pending = list(nodes)
        while pending:
            for edge in self.into(pending.pop()):
                if edge.source not in found:
                    found.add(edge.source)
                    pending.append(edge.source)
        return found

    def tasks(self, nodes: Iterable[str]) -> list[Node]:
        """The tasks among ``nodes``, the longest wait first."""
        found = [self.nodes[node] for node in nodes if self.nodes[node].kind is NodeKind.TASK]
        return sorted(found, key=lambda node: (-(node.seconds or 0.0), node.pid or 0))


def cycles(graph: Graph) -> list[tuple[Edge, ...]]:
    """One circle, the shortest, of every part of the graph that runs in circles."""
    return [_shortest(graph, part) for part in _components(graph) if _is_circular(graph, part)]


def roots(graph: Graph) -> list[str]:
    """Nodes that depend on nothing and that others depend on."""
    return [node for node in graph.nodes if not graph.out(node) and graph.into(node)]


def _is_circular(graph: Graph, part: list[str]) -> bool:
    return len(part) > 1 or any(edge.target == part[0] for edge in graph.out(part[0]))


def _components(graph: Graph) -> list[list[str]]:
    """Strongly connected components (Tarjan), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[list[str]] = []
    for start in graph.nodes:
        if start in index:
            continue
        work: list[tuple[str, int]] = [(start, 0)]
        while work:
            node, position = work.pop()
            if position == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            edges = graph.out(node)
            descended = False
            for number in range(position, len(edges)):
                target = edges[number].target
                if target not in index:
                    work.append((node, number + 1))
                    work.append((target, 0))
                    descended = True
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            if descended:
                continue
            if low[node] == index[node]:
                part = []
                while True:
                    member = stack.pop()
                    on_stack.discard(member)
                    part.append(member)
                    if member == node:
                        break
                found.append(part)
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
    return found


def _shortest(graph: Graph, part: list[str]) -> tuple[Edge, ...]:
    """The shortest circle through the part's most depended-on node."""
    members = set(part)
    start = min(part, key=lambda node: (-len(graph.into(node)), node))
    came: dict[str, Edge] = {}
    pending = [start]
    while pending:
        following: list[str] = []
        for node in pending:
            for edge in graph.out(node):
                if edge.target == start:
                    path = [edge]
                    while path[-1].source != start:
                        path.append(came[path[-1].source])
                    return tuple(reversed(path))
                if edge.target in members and edge.target not in came:
                    came[edge.target] = edge
                    following.append(edge.target)
        pending = following
    return ()
