"""The HTML page: self-contained, every string escaped."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from postmortem.render.html import page
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import ALL, CRASH

TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "dl", "dt", "dd", "p", "ul",
    "ol", "li", "pre", "span", "table", "tr", "th", "td", "details", "summary", "b",
}  # fmt: skip
VOID = {"meta"}


class Checker(HTMLParser):
    """Collects text; complains of unknown tags, foreign attributes and bad nesting."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"class", "lang", "charset", "name", "content"}
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
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import", "<script"):
        assert reference not in text


def test_all_that_matters_is_in_it() -> None:
    text = read(page(CRASH))
    for expected in ("pm_null_write", "sh (pid 312) on CPU 1", "log line 412", "rdi = 0"):
        assert expected in text
