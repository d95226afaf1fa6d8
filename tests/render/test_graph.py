"""Drawings are well formed whatever the names in the dump are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.model.findings import Confidence
from postmortem.render.graph import dot, svg
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


def test_dark_screens_have_a_colour_for_every_box() -> None:
    text = svg(deadlock(), "t")
    assert "prefers-color-scheme:dark" in text
    assert all(f".pm-waits .{kind.value}{{fill:" in text for kind in NodeKind)
