"""Truth by hand or from printed tables."""

from __future__ import annotations

import math

import pytest

from postmortem.triage.statistics import (
    fisher_greater,
    holm,
    poisson_interval,
    rate_is_higher,
    ratio_interval,
)


@pytest.mark.parametrize(
    ("table", "chance"),
    [
        ((3, 1, 1, 3), 17 / 70),  # Fisher's lady and her tea
        ((4, 0, 0, 4), 1 / 70),
        ((2, 0, 0, 2), 1 / 6),
        ((1, 0, 0, 9), 1 / 10),
        ((5, 5, 5, 5), 1.0),
        ((0, 5, 5, 0), 1.0),
        ((0, 0, 3, 3), 1.0),
        ((3, 0, 0, 0), 1.0),
        ((3, 2, 3, 2), 1.0),
    ],
)
def test_fisher_s_exact_test(table: tuple[int, int, int, int], chance: float) -> None:
    assert math.isclose(fisher_greater(*table), chance, rel_tol=1e-9)


def test_it_is_the_sum_of_all_tables_that_are_as_far_off() -> None:
    inside, group, outside, others = 7, 20, 30, 400
    having = inside + outside
    exact = sum(
        math.comb(group, k) * math.comb(others, having - k)
        for k in range(inside, min(group, having) + 1)
    ) / math.comb(group + others, having)
    found = fisher_greater(inside, group - inside, outside, others - outside)
    assert math.isclose(found, exact, rel_tol=1e-9)


def test_a_million_cases_are_no_trouble() -> None:
    assert 0 <= fisher_greater(90_000, 10_000, 10_000, 890_000) < 1e-300
    assert 0.2 < fisher_greater(50_100, 49_900, 450_000, 450_000) < 0.3


def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904),
     (100, 81.36, 121.63)],
)  # fmt: skip
def test_garwood_s_interval(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == (
        pytest.approx(low, abs=5e-3),
        pytest.approx(high, abs=5e-3),
    )


def test_a_large_count_is_nearly_normal() -> None:
    low, high = poisson_interval(10_000)
    assert low == pytest.approx(10_000 - 1.96 * 100, abs=5)
    assert high == pytest.approx(10_000 + 1.96 * 100, abs=5)


def test_a_rate_that_is_higher_than_before() -> None:
    # 3 of 3 events in a third of the time: (1/3) ** 3
    assert rate_is_higher(3, 1.0, 0, 2.0) == pytest.approx(1 / 27)
    # 2 or 3 of 3 in half of the time: 4 of 8
    assert rate_is_higher(2, 1.0, 1, 1.0) == pytest.approx(0.5)
    assert rate_is_higher(0, 1.0, 5, 1.0) == 1.0
    assert rate_is_higher(5, 0.0, 5, 1.0) == 1.0


def test_between_which_factors_a_rate_lies() -> None:
    # Clopper-Pearson of 5 of 10: 0.1871 to 0.8129, equal time.
    low, high = ratio_interval(5, 1.0, 5, 1.0)
    assert low == pytest.approx(0.1871 / 0.8129, rel=1e-3)
    assert high == pytest.approx(0.8129 / 0.1871, rel=1e-3)
    # 0 of 10: 0 to 0.3085
    low, high = ratio_interval(0, 1.0, 10, 1.0)
    assert (low, high) == (0.0, pytest.approx(0.3085 / 0.6915, rel=1e-3))
    assert ratio_interval(10, 1.0, 0, 1.0)[1] == math.inf
    assert ratio_interval(0, 1.0, 0, 1.0) == (0.0, math.inf)
    # Ten times the time, ten times the events.
    low, high = ratio_interval(1000, 10.0, 100, 1.0)
    assert low < 1 < high
