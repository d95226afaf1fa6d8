"""Counts by day as bars, for a page: how often, since when, and whether it grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

MAX_BARS = 180
MAX_DAYS = 3 * 366
"""What is older than that is counted, not drawn: one clock that was wrong stretches no axis."""
HEIGHT = 90
_BAR, _GAP = 8, 2


@dataclass(frozen=True)
class Timeline:
    """Bars from ``first`` to ``last``, each of ``step`` days."""

    first: date
    last: date
    step: int
    bars: tuple[int, ...]
    outside: int
    """How many have a day before or after that."""

    @property
    def most(self) -> int:
        """The height of the highest bar."""
        return max(self.bars, default=0)

    @property
    def total(self) -> int:
        """All that is drawn."""
        return sum(self.bars)

    @property
    def width(self) -> int:
        """Of the drawing, in em: few bars are not stretched over a whole window."""
        return max(len(self.bars) * 2, 24)


def timeline(days: Mapping[str, int], today: date) -> Timeline | None:
    """Bars of counts by day (``2026-11-26``); ``None`` if there is no day to draw.

    :param today: Days after it are a wrong clock's.
    """
    found: Counter[date] = Counter()
    outside = 0
    for text, count in days.items():
        day = _day(text)
        if day is None or day > today + timedelta(1):
            outside += count
        else:
            found[day] += count
    if not found:
        return None
    last = max(found)
    first = max(min(found), last - timedelta(MAX_DAYS))
    step = -(-((last - first).days + 1) // MAX_BARS)
    bars = [0] * (((last - first).days // step) + 1)
    for day, count in found.items():
        if day < first:
            outside += count
        else:
            bars[(day - first).days // step] += count
    return Timeline(first, last, step, tuple(bars), outside)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def svg(found: Timeline, what: str) -> str:
    """The bars alone, to stand in a page; nothing of it comes from an input.

    :param what: in the singular: ``crash``.
    """
    width = len(found.bars) * (_BAR + _GAP)
    rects = []
    for place, count in enumerate(found.bars):
        if not count:
            continue
        height = max(round(count / found.most * HEIGHT), 2)
        day = found.first + timedelta(place * found.step)
        until = "" if found.step == 1 else f" to {day + timedelta(found.step - 1)}"
        rects.append(
            f'<rect x="{place * (_BAR + _GAP)}" y="{HEIGHT - height}" width="{_BAR}"'
            f' height="{height}"><title>{day}{until}: {count}</title></rect>'
        )
    label = f"{found.total} {what} from {found.first} to {found.last}, at most {found.most} a bar"
    return (
        f'<svg class="timeline" role="img" aria-label="{label}" viewBox="0 0 {width} {HEIGHT}"'
        f' preserveAspectRatio="none" fill="currentColor">{"".join(rects)}</svg>'
    )
