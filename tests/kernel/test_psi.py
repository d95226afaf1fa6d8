"""Pressure: the kernel's fixed-point arithmetic, and what no machine can have."""

from __future__ import annotations

import math

import pytest

from postmortem.kernel.psi import _decayed, group_pressures, pressure, why_not
from tests.conftest import Machine


@pytest.mark.parametrize("periods", [1, 5, 30])
def test_an_average_of_steady_pressure_rises_as_an_exponential(periods: int) -> None:
    averages = (0, 0, 0)
    for _ in range(periods):
        averages = _decayed(averages, 0, 100)
    for average, window in zip(averages, (10, 60, 300), strict=True):
        # Samples are two seconds long; the kernel's factors have three digits.
        expected = 100 * (1 - math.exp(-2 * periods / window))
        assert average / 2048 == pytest.approx(expected, abs=0.6)


def test_periods_without_a_sample_count_as_nothing() -> None:
    """Five periods of 2 s: the average of 10 s falls to 1/e of that before, then once more."""
    ten, _, _ = _decayed((100 << 11, 0, 0), 5, 0)
    assert ten / 2048 == pytest.approx(100 * math.exp(-1.2), abs=0.6)


def test_nobody_waits_longer_than_the_machine_runs(machine: Machine) -> None:
    assert why_not(machine.prog) is None
    found = pressure(machine.prog)
    assert {one.resource for one in found.pressures} >= {"cpu", "memory", "io"}
    uptime = (machine.facts["uptime_seconds"] + 120) * 1e9
    for resource in ("memory", "io"):
        some, full = (one for one in found.pressures if one.resource == resource)
        assert (some.full, full.full) == (False, True)
        assert full.total_ns <= some.total_ns < uptime


def test_a_machine_without_control_groups_has_no_pressure_of_groups(machine: Machine) -> None:
    assert list(group_pressures(machine.prog)) == []
