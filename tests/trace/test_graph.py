"""Durations as ``trace_print_graph_duration()`` writes them."""

from __future__ import annotations

import pytest

from postmortem.trace.graph import duration
from postmortem.trace.printers import mark


@pytest.mark.parametrize(
    ("nanoseconds", "wanted"),
    [
        (0, "0.000 us    "),
        (990, "0.990 us    "),
        (50_968, "50.968 us   "),
        (1_234_567, "1234.567 us "),
        (123_456_789, "123456.7 us "),
        (1_234_567_890, "1234567 us  "),
    ],
)
def test_a_duration_has_at_most_seven_digits(nanoseconds: int, wanted: str) -> None:
    assert duration(nanoseconds) == wanted


@pytest.mark.parametrize(
    ("nanoseconds", "wanted"),
    [(10_000, " "), (10_001, "+"), (100_001, "!"), (1_000_001, "#"), (10_000_001, "*"),
     (100_000_001, "@"), (1_000_000_001, "$")],
)  # fmt: skip
def test_a_long_one_has_a_sign(nanoseconds: int, wanted: str) -> None:
    assert mark(nanoseconds) == wanted
