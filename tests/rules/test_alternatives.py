"""Patterns that are only tried where they can match."""

from __future__ import annotations

import re

import pytest

from postmortem.log.fits import _FITS
from postmortem.rules import machinery
from postmortem.rules.alternatives import FEW, Alternatives, heads
from postmortem.rules.families import families


@pytest.mark.parametrize(("pattern", "known"), [
    ("acme", "a"), ("_*acme", "_a"), ("_?s?acme", "_sa"), ("(?:un)?lock", "ul"),
    ("(?:get|put)_page", "gp"), ("(?:a|(?:b|c)x)?d", "abcd"), ("[CB]all", "CB"), (r"\*p", "*"),
    ("acme|beta", "ab"), ("a+b", "a"), (r"x\d", "x"), ("(?:a|b[)|]c)d", "ab"),
])  # fmt: skip
def test_what_a_text_can_begin_with(pattern: str, known: str) -> None:
    assert heads(pattern) == frozenset(known)


@pytest.mark.parametrize("pattern", [
    r"\w*acme", r"\d+ locks", ".acme", "a*", "", "(?:a|b)?", "(?!a)b", "[0-9]a", "[^a]b", "^a",
    "a{0,2}b", "(?:a|)b", "$",
])  # fmt: skip
def test_what_is_not_understood_is_tried_always(pattern: str) -> None:
    assert heads(pattern) is None


def _lists() -> list[tuple[str, ...]]:
    texts = [
        *machinery.PARTLY.values(),
        *machinery.ELSEWHERE.values(),
        machinery.ANCHORS,
        machinery.STALL_MACHINERY,
        machinery.HANG_MACHINERY,
        machinery.CORE_MODULES,
    ]
    return [*(tuple(text.split()) for text in texts), _FITS.patterns]


@pytest.mark.parametrize("patterns", _lists(), ids=lambda patterns: patterns[0][:20])
def test_the_answer_is_that_of_the_whole(patterns: tuple[str, ...]) -> None:
    whole = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    asked = Alternatives(patterns)
    names = [*sorted(families())[::97], *re.findall(r"[\w.]{4,}", " ".join(patterns))]
    odd = [
        "",
        " ",
        "é",
        "0x1",
        "RAX: 0",
        "[<f",
        "x29: 1",
        "  at",
        "___might_sleep",
        "ʹ: ",
        "٣ locks held",
    ]
    texts = (["acme"] * FEW) + [*names, *odd]
    for text in texts:
        assert bool(asked.fullmatch(text)) == bool(whole.fullmatch(text)), text
        assert bool(asked.match(text)) == bool(whole.match(text)), text
