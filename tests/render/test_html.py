"""The HTML page: self-contained, every string escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from postmortem.graph.model import Edge, Graph, Node, NodeKind
from postmortem.judge.verdict import only_asked
from postmortem.model.findings import Column, Export, Table, Unit
from postmortem.render.html import page
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import ALL, CONSEQUENCE, CRASH, HEALTHY, LOG

TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "dl", "dt", "dd", "p", "ul",
    "ol", "li", "pre", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
    "main", "header", "section", "div", "code", "button", "script",
    "svg", "defs", "marker", "path", "g", "rect", "text",
}  # fmt: skip
VOID = {"meta"}
DRAWN = {"svg", "defs", "marker", "path", "g", "rect", "text", "title"}
ATTRIBUTES = {
    "class", "lang", "charset", "name", "content", "http-equiv", "id", "tabindex", "scope", "type",
    "data-copy", "aria-label",
}  # fmt: skip


class Checker(HTMLParser):
    """Collects text; complains of unknown tags, foreign attributes and bad nesting."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert tag in DRAWN or {name for name, _ in attrs} <= ATTRIBUTES
        assert not any(name.startswith("on") for name, _ in attrs)
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(text: str) -> str:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert checker.scripts == 1
    return "".join(checker.words)


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_well_formed(name: str) -> None:
    assert ALL[name].verdict.title in read(page(ALL[name]))


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_string_becomes_markup(attack: str) -> None:
    text = page(poison(CRASH, attack))
    read(text)
    assert all(line.isprintable() for line in text.splitlines())
    text.encode("utf-8")


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = page(CRASH)
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import"):
        assert reference not in text


def test_all_that_matters_is_in_it() -> None:
    text = read(page(CRASH))
    for expected in ("pm_null_write", "sh (pid 312) on CPU 1", "log line 412", "rdi = 0"):
        assert expected in text


def test_the_only_script_is_the_one_that_the_policy_names() -> None:
    text = page(CRASH)
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_what_text_shows_the_page_shows() -> None:
    """One section model: stack, consequences and registers of a log too."""
    text = read(page(LOG))
    for expected in ("trigger_write+0x40", "Allocated by task 12", "Registers at the fault"):
        assert expected in text
    assert CONSEQUENCE.title in read(page(CRASH))


def test_the_badge_tells_how_bad_it_is() -> None:
    assert '<span class="badge fatal">fatal</span>' in page(CRASH)
    assert '<span class="badge none">no failure</span>' in page(HEALTHY)


def test_the_culprit_is_marked_in_code_and_stack() -> None:
    marked = re.findall(r'<span class="culprit">(.*?)</span>', page(CRASH))
    assert any("rdi = 0" in line for line in marked)
    assert any("#0 pm_null_write+0x12" in line for line in marked)


def test_a_drawing_of_ours_is_in_the_page_and_text_of_others_is_not() -> None:
    graph = Graph()
    graph.add(Node("t", NodeKind.TASK, "<b>sh (7)", pid=7))
    graph.add(Node("l", NodeKind.LOCK, "mutex m"))
    graph.link(Edge("t", "l", "waits for"))
    drawn = (Export("Waits", "svg", graph), Export("Theirs", "svg", "<svg onload=alert(1)>"))
    text = page(replace(CRASH, exports=drawn))
    assert "&lt;b&gt;sh (7)" in text
    assert "alert" not in text
    read(text)


def test_verbose_is_honoured() -> None:
    rows = tuple((n,) for n in range(100))
    analysis = replace(CRASH, tables=(Table("Many", (Column("n", Unit.ID),), rows),))
    assert '<td class="number">99</td>' in page(analysis, verbose=True)
    assert "... and 85 more rows" in page(analysis)
    assert '<td class="number">99</td>' not in page(analysis)


def test_one_plugin_is_no_verdict() -> None:
    """A machine that crashed must not look healthy because only its locks were asked for."""
    analysis = replace(CRASH, asked=("locks",), verdict=only_asked(("locks",)), findings=())
    text = page(analysis, plugin=True)
    assert "<h1>only locks was asked</h1>" in text
    assert '<span class="badge info">not judged</span>' in text
    assert "no failure" not in text


def test_the_title_keeps_its_numbers_for_people() -> None:
    verdict = replace(HEALTHY.verdict, title="on block(NUM,NUM)", shown="on block(0,0)")
    text = page(replace(HEALTHY, verdict=verdict))
    assert "<h1>on block(0,0)</h1>" in text
    assert "NUM" not in text


def test_the_head_tells_machine_and_file() -> None:
    head = page(CRASH).partition("</header>")[0]
    assert '<header class="fatal">' in head
    assert "guest, 6.1.0-56-cloud-amd64, vmcore" in head
