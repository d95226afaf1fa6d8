"""Bars by day: nothing is lost, and one wrong clock does not stretch the axis."""

from __future__ import annotations

from datetime import date, timedelta
from xml.etree import ElementTree

from postmortem.render.timeline import MAX_BARS, svg, timeline

TODAY = date(2026, 11, 26)


def test_a_bar_a_day() -> None:
    found = timeline({"2026-11-01": 2, "2026-11-03": 5}, TODAY)
    assert found is not None
    assert (found.first, found.last, found.step) == (date(2026, 11, 1), date(2026, 11, 3), 1)
    assert found.bars == (2, 0, 5)
    assert (found.most, found.total, found.outside) == (5, 7, 0)


def test_many_days_share_a_bar() -> None:
    days = {str(TODAY - timedelta(n)): 1 for n in range(730)}
    found = timeline(days, TODAY)
    assert found is not None
    assert len(found.bars) <= MAX_BARS
    assert found.total == 730


def test_clocks_that_were_wrong_are_counted_and_not_drawn() -> None:
    days = {"1970-01-01": 3, "2199-01-01": 4, "2026-11-20": 5, "no day": 6}
    found = timeline(days, TODAY)
    assert found is not None
    assert (found.total, found.outside) == (5, 13)


def test_no_day_no_drawing() -> None:
    assert timeline({}, TODAY) is None
    assert timeline({"2199-01-01": 4}, TODAY) is None


def test_the_drawing_is_well_formed_and_says_what_it_shows() -> None:
    found = timeline({"2026-11-01": 2, "2026-11-03": 5}, TODAY)
    assert found is not None
    root = ElementTree.fromstring(svg(found, "crashes"))
    assert root.get("aria-label", "").startswith("7 crashes from 2026-11-01 to 2026-11-03")
    assert [bar[0].text for bar in root] == ["2026-11-01: 2", "2026-11-03: 5"]
