"""Text of the graph."""

from __future__ import annotations

import pytest

from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind, cycles
from postmortem.graph.tree import circle, seconds_text, tree


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (3.14, "3.1 s"), (110.2, "110 s"), (125.0, "2 min 5 s"), (7500.0, "2 h 5 min")],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


def chain() -> Graph:
    graph = Graph()
    graph.add(Node("t1", NodeKind.TASK, "reader (7)", "D", 5.0, function="load"))
    graph.add(Node("l1", NodeKind.LOCK, "mutex table", "held"))
    graph.add(Node("t2", NodeKind.TASK, "holder (8)", "sleeping in msleep"))
    graph.link(Edge("t1", "l1", EdgeKind.WAITS))
    graph.link(Edge("l1", "t2", EdgeKind.HELD))
    return graph


def test_tree_begins_with_the_root_and_indents_who_waits() -> None:
    assert tree(chain(), "t2") == (
        "holder (8): sleeping in msleep",
        "  holds mutex table: held",
        "    waited for by reader (7): for 5.0 s, in load, D",
    )


def test_tree_of_a_circle_ends() -> None:
    graph = chain()
    graph.link(Edge("t2", "l1", EdgeKind.WAITS))
    lines = tree(graph, "t2")
    assert sum("see above" in line for line in lines) == 1


def test_circle_says_where_it_closes() -> None:
    graph = chain()
    graph.link(Edge("t2", "l1", EdgeKind.WAITS))
    (found,) = cycles(graph)
    lines = circle(graph, found)
    assert any("the circle is closed" in line for line in lines)
    assert any("reader (7)" in line for line in lines)


def test_tree_is_bounded() -> None:
    graph = chain()
    for number in range(1000):
        graph.add(Node(f"w{number}", NodeKind.TASK, f"waiter {number}"))
        graph.link(Edge(f"w{number}", "l1", EdgeKind.WAITS))
    assert len(tree(graph, "t2")) <= 201
