"""The graph is plain data: every expectation here is drawn by hand."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind, cycles, roots


def graph_of(*pairs: tuple[str, str]) -> Graph:
    graph = Graph()
    for pair in pairs:
        for name in pair:
            kind = NodeKind.LOCK if name.startswith("lock") else NodeKind.TASK
            graph.add(Node(name, kind, name))
    for source, target in pairs:
        graph.link(Edge(source, target, EdgeKind.WAITS))
    return graph


def names(cycle: tuple[Edge, ...]) -> set[str]:
    return {edge.source for edge in cycle}


def test_chain_has_its_end_as_root() -> None:
    graph = graph_of(("a", "lock1"), ("lock1", "b"), ("b", "lock2"), ("lock2", "c"))
    assert roots(graph) == ["c"]
    assert cycles(graph) == []


def test_everything_before_the_root_is_blocked_by_it() -> None:
    graph = graph_of(("a", "lock1"), ("lock1", "b"), ("x", "lock1"))
    assert graph.blocked_by(["b"]) == {"lock1", "a", "x"}


def test_task_that_waits_for_its_own_lock_is_a_circle() -> None:
    graph = graph_of(("a", "lock1"), ("lock1", "a"))
    (cycle,) = cycles(graph)
    assert names(cycle) == {"a", "lock1"}


def test_edge_to_itself_is_a_circle() -> None:
    (cycle,) = cycles(graph_of(("a", "a")))
    assert [(edge.source, edge.target) for edge in cycle] == [("a", "a")]


def test_three_tasks_in_a_circle_with_one_that_hangs_on_it() -> None:
    graph = graph_of(
        ("a", "lock1"), ("lock1", "b"), ("b", "lock2"), ("lock2", "c"), ("c", "lock3"),
        ("lock3", "a"), ("watcher", "lock1"),
    )  # fmt: skip
    (cycle,) = cycles(graph)
    assert names(cycle) == {"a", "lock1", "b", "lock2", "c", "lock3"}
    assert graph.blocked_by(names(cycle)) >= {"watcher"}


def test_circle_is_closed_edge_by_edge() -> None:
    (cycle,) = cycles(graph_of(("a", "lock1"), ("lock1", "b"), ("b", "lock2"), ("lock2", "a")))
    for edge, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        assert edge.target == following.source


def test_two_circles_that_share_a_node_give_one_short_circle() -> None:
    graph = graph_of(("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "b"))
    (cycle,) = cycles(graph)
    assert names(cycle) == {"a", "b"}


def test_same_edge_is_kept_once() -> None:
    graph = graph_of(("a", "b"), ("a", "b"))
    assert len(graph.edges) == 1


def test_chain_of_fifty_thousand_needs_no_recursion_and_little_time() -> None:
    pairs = [(f"n{number}", f"n{number + 1}") for number in range(50_000)]
    graph = graph_of(*pairs)
    start = time.process_time()
    assert cycles(graph) == []
    assert len(graph.blocked_by(roots(graph))) == 50_000
    assert time.process_time() - start < 5


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_circles_are_found_if_and_only_if_there_are_any(pairs: list[tuple[int, int]]) -> None:
    graph = graph_of(*((f"n{a}", f"n{b}") for a, b in pairs))
    # Without circles, taking away nodes without outgoing edges takes away all.
    left = {f"n{a}": {f"n{b}" for c, b in pairs if c == a} for a, _ in pairs}
    while True:
        ends = [node for node, targets in left.items() if not any(t in left for t in targets)]
        if not ends:
            break
        for node in ends:
            del left[node]
    found = cycles(graph)
    assert bool(found) == bool(left)
    assert all(edge.source in left for cycle in found for edge in cycle)
