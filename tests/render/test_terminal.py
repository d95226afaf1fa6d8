"""Wrapping, and what is asked about the output."""

from __future__ import annotations

import io

import pytest

from postmortem.render.terminal import terminal, wrap


def lines(text: str, room: int) -> list[str]:
    return ["".join(string for string, _ in line) for line in wrap([(text, "")], room)]


def test_lines_break_between_words() -> None:
    assert lines("who freed the object that was read", 12) == [
        "who freed",
        "the object",
        "that was",
        "read",
    ]


def test_a_word_fills_a_line_exactly() -> None:
    assert lines("12345 678", 5) == ["12345", "678"]


def test_a_word_wider_than_the_line_is_broken() -> None:
    assert lines("see aaaaabbbbbcc now", 5) == ["see", "aaaaa", "bbbbb", "cc", "now"]


def test_nothing_is_one_empty_line() -> None:
    assert lines("", 20) == [""]


def test_a_style_goes_on_in_the_next_line() -> None:
    assert list(wrap([("the ", ""), ("bad function", "bad"), (".", "")], 9)) == [
        [("the ", ""), ("bad", "bad")],
        [("function", "bad"), (".", "")],
    ]


@pytest.mark.parametrize("columns", ["", "0", "wide", "-3"])
def test_a_senseless_width_is_not_taken(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal(io.StringIO()).width >= 1


def test_colours_can_be_forced_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not terminal(io.StringIO()).colours
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert terminal(io.StringIO()).colours
