"""Markdown for a bug tracker, as a reader of Markdown takes it: markdown-it, not our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from postmortem.model.findings import Column, Table, Text
from postmortem.render.clean import clean_prose
from postmortem.render.markdown import MAX_CHARACTERS, code, escaped, fence, markdown
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import ALL, CRASH, HEALTHY

READER = MarkdownIt("gfm-like", {"html": True})
TRICKS = (
    *ATTACKS,
    "@maintainer look, #12 and !7 and $9",
    "[click](https://evil.example)",
    "![](https://evil.example/x.png)",
    "https://evil.example/x and www.evil.example",
    "```\n# heading\n```",
    "`code` ``more`` *bold* __bold__ _it_ ~~gone~~",
    "# heading",
    "> quoted",
    "- point",
    "12. point",
    "3) point",
    "+ point",
    "===",
    "---",
    "a | b | c",
    "[x]: https://evil.example",
    "<!-- hidden",
    "<details><summary>",
    "&lt;b&gt; &#64;x",
    "\\",
    "a\\|b",
    "    indented",
    "a  \nb",
)
QUIET = {"text", "softbreak", "text_special"}
"""What prose may consist of for a reader."""


def flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def kinds(text: str) -> set[str]:
    return {token.type for token in flat(READER.parse(text))}


@pytest.mark.parametrize("trick", TRICKS)
def test_prose_is_text_and_nothing_else(trick: str) -> None:
    tokens = READER.parse(escaped(trick))
    if not clean_prose(trick):
        assert tokens == []
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    inline = tokens[1].children or []
    assert {token.type for token in inline} <= QUIET
    shown = "".join(token.content for token in inline).replace("\u200b", "")
    assert shown == clean_prose(trick)


@pytest.mark.parametrize("trick", TRICKS)
def test_fences_hold_what_is_in_them(trick: str) -> None:
    (token,) = READER.parse("\n".join(fence(["one", trick, "``````", "two"])))
    assert token.type == "fence"
    assert token.content.endswith("``````\ntwo\n")


@pytest.mark.parametrize("trick", TRICKS)
def test_a_name_in_backticks_is_code(trick: str) -> None:
    if not clean_prose(trick):
        assert code(trick) == "-"
        return
    (inline,) = (token for token in READER.parse(f"x {code(trick)}") if token.type == "inline")
    assert [token.type for token in inline.children or []] == ["text", "code_inline"]


def test_nobody_is_called_and_nothing_linked() -> None:
    shown = escaped("@maintainer #12 pm@example")
    assert "@m" not in shown
    assert "#1" not in shown
    assert "@e" not in shown


def test_names_of_c_stay_readable() -> None:
    assert escaped("pm_null_write() in do_exit") == "pm_null_write() in do_exit"
    assert escaped("__list_add") == "\\_\\_list_add"


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("trick", TRICKS)
def test_no_string_of_a_report_becomes_markup(trick: str, verbose: bool) -> None:
    found = kinds(markdown(poison(CRASH, trick), verbose=verbose))
    assert not found & {"html_block", "html_inline", "link_open", "image", "blockquote_open"}
    assert not found & {"hr", "code_block", "s_open"}


@pytest.mark.parametrize("name", ALL)
def test_it_says_what_the_text_says(name: str) -> None:
    analysis = ALL[name]
    told = [token.content for token in flat(READER.parse(markdown(analysis)))]
    assert told[1] == escaped(analysis.verdict.title)
    text = "\n".join(told)
    for evidence in analysis.verdict.evidence:
        assert escaped(evidence.what) in text


def test_its_headings_are_the_sections() -> None:
    tokens = READER.parse(markdown(CRASH))
    levels = [token.tag for token in tokens if token.type == "heading_open"]
    assert levels[0] == "h2"
    assert set(levels[1:]) == {"h3"}


def test_a_table_keeps_its_columns_whatever_is_in_its_cells() -> None:
    table = Table("t", (Column("a|b"), Column("c")), (("x|y", "z\\"), ("`|`", "|")))
    tokens = READER.parse(markdown(replace(HEALTHY, tables=(table,))))
    rows = [token.type for token in tokens if token.type in ("tr_open", "th_open", "td_open")]
    assert rows == ["tr_open", "th_open", "th_open", *["tr_open", "td_open", "td_open"] * 2]


def test_a_tracker_takes_it_whole() -> None:
    many = tuple(f"line {number} " + "x" * 150 for number in range(5000))
    analysis = replace(CRASH, texts=tuple(Text(f"t{n}", many) for n in range(9)))
    assert len(markdown(analysis)) < MAX_CHARACTERS + 1000
    assert "Left out" in markdown(analysis)
    assert "line 4999" in markdown(analysis, verbose=True)
