"""The gate between hostile strings and a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.render.clean import clean, clean_prose

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_nothing_that_a_terminal_acts_on_gets_through(text: str) -> None:
    assert clean(text).isprintable()


@given(ANY_TEXT)
def test_printable_text_is_left_alone(text: str) -> None:
    printable = "".join(char for char in text if char.isprintable())
    assert clean(printable) == printable


@given(ANY_TEXT)
def test_clean_text_can_be_encoded(text: str) -> None:
    clean(text).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\bc", r"a\x0db\x08c"),
        ("\u202ecod.exe", r"\u202ecod.exe"),
        ("\U000e0001", r"\U000e0001"),
        ("a\tb", "a    b"),
        ("Grüße 日本", "Grüße 日本"),
    ],
)
def test_controls_are_shown_as_escapes(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_prose_is_one_line() -> None:
    assert clean_prose(" a\n  b\tc ") == "a b c"
