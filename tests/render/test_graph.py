"""Drawings are well formed whatever the names in the dump are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.model.findings import Confidence
from postmortem.render.graph import dot, svg
from postmortem.render.graph_layout import COLUMN, HEIGHT, ROW, WIDTH, layout
from tests.render.hostile import ATTACKS


def deadlock(name: str = "left") -> Graph:
    graph = Graph()
    graph.add(Node("t1", NodeKind.TASK, f"{name} (7)", "D", 5.0, function=name, stack=(name,)))
    graph.add(Node("t2", NodeKind.TASK, "right (8)", "D", 4.0))
    graph.add(Node("l1", NodeKind.LOCK, f"mutex {name}"))
    graph.add(Node("l2", NodeKind.LOCK, "mutex b"))
    graph.link(Edge("t1", "l2", EdgeKind.WAITS, proof=name))
    graph.link(Edge("l2", "t2", EdgeKind.HELD, Confidence.LIKELY))
    graph.link(Edge("t2", "l1", EdgeKind.WAITS))
    graph.link(Edge("l1", "t1", EdgeKind.HELD))
    return graph


@pytest.mark.parametrize("name", [*ATTACKS, "<script>&", '"quoted\\'])
def test_svg_is_xml_without_active_content(name: str) -> None:
    root = ET.fromstring(svg(deadlock(name), name))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "defs", "marker", "path", "rect", "text", "g", "style"}


@pytest.mark.parametrize("name", [*ATTACKS, "<script>&", '"quoted\\'])
def test_dot_quotes_every_name(name: str) -> None:
    for line in dot(deadlock(name)).splitlines():
        bare = line.replace("\\\\", "").replace('\\"', "")
        assert bare.count('"') % 2 == 0


def test_every_node_of_a_circle_is_drawn() -> None:
    text = "".join(ET.fromstring(svg(deadlock(), "t")).itertext())
    for name in ("left (7)", "right (8)", "mutex left", "mutex b"):
        assert name in text


def test_boxes_do_not_overlap() -> None:
    root = ET.fromstring(svg(deadlock(), "t"))
    boxes = [
        (float(r.get("x", "0")), float(r.get("y", "0")))
        for r in root.iter("{http://www.w3.org/2000/svg}rect")
        if r.get("x")
    ]
    for number, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:number]:
            assert abs(x - other_x) >= 268 or abs(y - other_y) >= 58


def test_convoy_of_thousands_is_bounded() -> None:
    graph = deadlock()
    for number in range(5000):
        graph.add(Node(f"w{number}", NodeKind.TASK, f"waiter {number}"))
        graph.link(Edge(f"w{number}", "l1", EdgeKind.WAITS))
    drawing = svg(graph, "t")
    assert len(drawing) < 1_000_000
    assert "more nodes are not drawn" in drawing


def test_empty_graph() -> None:
    ET.fromstring(svg(Graph(), "nothing"))
    assert dot(Graph()).startswith("digraph")


def test_the_title_and_the_note_fit() -> None:
    title = "waits: " + "a-machine-with-a-long-name.example " * 3
    width = float(ET.fromstring(svg(deadlock(), title)).get("width", "0"))
    assert width > len(title) * 8


def test_the_arrow_that_closes_a_circle_stands_out() -> None:
    root = ET.fromstring(svg(deadlock(), "t"))
    closing = [p for p in root.iter("{http://www.w3.org/2000/svg}path") if p.get("class") == "root"]
    assert [p.get("marker-end") for p in closing] == ["url(#tip-root)"]


def ring(tasks: int) -> Graph:
    """So many tasks in a circle, and one that waits for each lock."""
    graph = Graph()
    for n in range(tasks):
        graph.add(Node(f"t{n}", NodeKind.TASK, f"task {n}", "D", 5.0))
        graph.add(Node(f"l{n}", NodeKind.LOCK, f"mutex {n}"))
        graph.add(Node(f"w{n}", NodeKind.TASK, f"waiter {n}", "D", 1.0))
    for n in range(tasks):
        graph.link(Edge(f"t{n}", f"l{n}", EdgeKind.WAITS))
        graph.link(Edge(f"l{n}", f"t{(n + 1) % tasks}", EdgeKind.HELD))
        graph.link(Edge(f"w{n}", f"l{n}", EdgeKind.WAITS))
    return graph


def test_a_circle_of_four_and_more_is_a_ring_without_long_arrows() -> None:
    graph = ring(3)
    found = layout(graph, list(graph.nodes))
    for edge in graph.edges:
        route = found.route(edge)
        if route.in_circle:
            (x1, y1), (x2, y2) = found.at(edge.source), found.at(edge.target)
            assert abs(x1 - x2) <= COLUMN and abs(y1 - y2) <= 2 * ROW
    assert sum(found.route(edge).closes for edge in graph.edges) == 1


@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 7])
def test_boxes_of_a_ring_and_its_waiters_have_places_of_their_own(tasks: int) -> None:
    graph = ring(tasks)
    found = layout(graph, list(graph.nodes))
    places = [found.at(node) for node in graph.nodes]
    for number, (x, y) in enumerate(places):
        assert all(abs(x - a) >= WIDTH or abs(y - b) >= HEIGHT for a, b in places[:number])
    width, height = found.size
    assert all(0 <= x <= width - WIDTH and 0 <= y <= height - HEIGHT for x, y in places)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_words_stand_in_no_box(tasks: int) -> None:
    graph = ring(tasks)
    found = layout(graph, list(graph.nodes))
    places = [found.at(node) for node in graph.nodes]
    for edge in graph.edges:
        x, y = found.route(edge).label
        assert not any(a < x < a + WIDTH and b < y < b + HEIGHT for a, b in places)


def test_a_picture_fits_its_window_and_on_a_page_stays_readable() -> None:
    assert ".pm-waits{max-width:100%;height:auto}" in svg(deadlock(), "t")
    alone, page = svg(deadlock(), "t"), svg(deadlock(), "t", least=50)
    width = int(ET.fromstring(alone).get("width", "0"))
    assert "min-width" not in alone
    assert f"min-width:{width // 2}px" in page


def test_dark_screens_have_a_colour_for_every_box() -> None:
    text = svg(deadlock(), "t")
    assert "prefers-color-scheme:dark" in text
    assert all(f".pm-waits .{kind.value}{{fill:" in text for kind in NodeKind)
