"""The name of the output chooses the form; a form that nobody offers is said, not guessed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from postmortem.errors import UsageError
from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.model.findings import Column, Export, Table, Text, Unit
from postmortem.model.result import Analysis
from postmortem.model.stacks import FoldedStack, FoldedStacks
from postmortem.render.output import forms, writer
from tests.render.samples import CRASH, HEALTHY

TABLE = Table(
    "Waits",
    (
        Column("pid", Unit.ID),
        Column("comm"),
        Column("for", Unit.SECONDS),
        Column("address", Unit.HEX),
    ),
    ((7, "a,b", 1.5, 0xFFFF888000000000), (8, None, None, None)),
)
LISTED = replace(HEALTHY, tables=(TABLE,))
GRAPH = Graph()
GRAPH.add(Node("t", NodeKind.TASK, "sh (7)", pid=7))
GRAPH.add(Node("l", NodeKind.LOCK, "mutex m"))
GRAPH.link(Edge("t", "l", EdgeKind.WAITS))
DRAWN = replace(
    HEALTHY,
    exports=(
        Export("Who waits", "svg", GRAPH),
        Export("Who waits", "dot", GRAPH),
        Export("All tasks", "folded", FoldedStacks((FoldedStack(("D",), ("main",), 3),))),
        Export("Mine", "gpx", "a form of its own\n"),
    ),
)


def written(analysis: Analysis, name: str | None, **how: bool) -> str:
    out = io.StringIO()
    writer(analysis, name, **how)(out)
    return out.getvalue()


def test_csv_writes_the_table_as_values() -> None:
    assert list(csv.reader(io.StringIO(written(LISTED, "x.csv")))) == [
        ["pid", "comm", "for [seconds]", "address [hex]"],
        ["7", "a,b", "1.5", "0xffff888000000000"],
        ["8", "", "", ""],
    ]


def test_csv_of_several_tables_names_each() -> None:
    lines = written(replace(HEALTHY, tables=(TABLE, TABLE)), "x.csv").splitlines()
    assert [line for line in lines if line.startswith("#")] == ["# Waits", "# Waits"]


def test_a_spreadsheet_runs_no_name_of_the_dump() -> None:
    table = Table("t", (Column("comm"),), (("=cmd|' /c calc'!A0",), ("-1",)))
    rows = list(csv.reader(io.StringIO(written(replace(HEALTHY, tables=(table,)), "x.csv"))))
    assert [row[0][0] for row in rows[1:]] == ["'", "'"]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.svg", "<svg"),
        ("x.dot", "digraph"),
        ("x.folded", "D;main 3\n"),
        ("x.gpx", "a form of its own\n"),
        ("x.html", "<!DOCTYPE html>"),
        ("x.json", "{"),
        ("x.txt", "no crash"),
        ("report.2026", "no crash"),
        ("report", "no crash"),
        (None, "no crash"),
    ],
)
def test_the_suffix_chooses(name: str | None, start: str) -> None:
    assert written(DRAWN, name).startswith(start)


def test_a_picture_says_which_machine_it_shows() -> None:
    assert "Who waits: 6.12.117+deb12-cloud-amd64, snapshot" in written(DRAWN, "x.svg")


@pytest.mark.parametrize("name", ["x.csv", "x.pdf", "x.png", "x.svgz"])
def test_a_form_that_is_not_offered_is_an_error_that_names_the_others(name: str) -> None:
    with pytest.raises(UsageError, match=r"may end in \.txt, \.json, \.html, \.md, \.svg, \.dot"):
        writer(DRAWN, name)


def test_csv_is_offered_where_there_is_a_table() -> None:
    assert "csv" in forms(LISTED)
    assert "csv" not in forms(HEALTHY)


@pytest.mark.parametrize("name", ["x.html", "x.csv", "x.svg"])
def test_json_contradicts_another_suffix(name: str) -> None:
    with pytest.raises(UsageError, match="contradicts"):
        writer(CRASH, name, as_json=True)


def test_json_holds_numbers_and_what_programs_read() -> None:
    read = json.loads(written(replace(DRAWN, tables=(TABLE,)), None, as_json=True))
    (table,) = read["tables"]
    assert table["columns"][2] == {"name": "for", "unit": "seconds", "extra": 0}
    assert table["rows"][0] == [7, "a,b", 1.5, "0xffff888000000000"]
    drawn = {item["suffix"]: item["text"] for item in read["exports"]}
    assert drawn["svg"] is None
    assert drawn["dot"].startswith("digraph")
    assert drawn["gpx"] == "a form of its own\n"


VERBATIM = replace(HEALTHY, texts=(Text("From the kernel", ("  a\tb", "c\x1b[31m", "")),))


def test_verbatim_lines_are_unchanged_in_a_file() -> None:
    assert written(VERBATIM, "x.txt", plugin=True) == "  a\tb\nc\x1b[31m\n\n"


def test_verbatim_lines_are_lines_on_a_page_and_in_json() -> None:
    assert ">\n  a    b\nc\\x1b[31m" in written(VERBATIM, "x.html")
    read = json.loads(written(VERBATIM, "x.json"))
    assert read["texts"] == [{"title": "From the kernel", "lines": ["  a\tb", "c\x1b[31m", ""]}]
