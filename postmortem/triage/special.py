"""What is special about a bucket: values that its crashes have more often than all others.

A module that is always loaded says nothing; one that is loaded in all crashes of a bucket and
in few others says where to look. Counts decide, and a chance that is corrected for how
many values were looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from postmortem.triage.statistics import fisher_greater, holm

COMPARED = ("module", "release", "model", "firmware", "option", "taint", "arch")
"""Names of tallies; hosts and days are counted but not compared: each crash has its own."""
ONE_EACH = frozenset({"release", "model", "firmware", "arch"})
"""A crash has one of these or none: where none is known it is no evidence for another one."""
MAX_CHANCE = 0.01
MIN_CRASHES = 3
"""Fewer crashes of a bucket tell nothing about what they share."""

Tallies = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Special:
    """One value that is over-represented."""

    name: str
    """Of the tally: module, release ..."""
    value: str
    inside: int
    """Crashes of the bucket that have it, of ``inside_all``."""
    inside_all: int
    outside: int
    """All other crashes that have it, of ``outside_all``."""
    outside_all: int
    chance: float
    """That this is chance, corrected for all values that were compared."""


def special(bucket: Tallies, everything: Tallies, crashes: int, all_crashes: int) -> list[Special]:
    """The values that a bucket has more often than all others, the surest first.

    :param bucket: Its tallies; ``everything``: those of all cases, with the bucket's.
    :param crashes: How many crashes the bucket has; ``all_crashes``: there are in all.
    """
    if crashes < MIN_CRASHES:
        return []
    compared = [
        _compared(name, value, count, bucket[name], everything.get(name, {}), crashes, all_crashes)
        for name in COMPARED
        for value, count in bucket.get(name, {}).items()
    ]
    chances = holm([row.chance for row in compared])
    found = [
        Special(r.name, r.value, r.inside, r.inside_all, r.outside, r.outside_all, chance)
        for r, chance in zip(compared, chances, strict=True)
        if chance <= MAX_CHANCE
    ]
    return sorted(found, key=lambda row: (row.chance, -row.inside, row.name, row.value))


def _compared(
    name: str,
    value: str,
    count: int,
    own: Mapping[str, int],
    everything: Mapping[str, int],
    crashes: int,
    all_crashes: int,
) -> Special:
    """One value with its own, uncorrected chance."""
    if name in ONE_EACH:
        crashes, all_crashes = sum(own.values()), sum(everything.values())
    outside = max(everything.get(value, 0) - count, 0)
    others = max(all_crashes - crashes, outside)
    inside = min(count, crashes)
    chance = fisher_greater(inside, crashes - inside, outside, others - outside)
    return Special(name, value, inside, crashes, outside, others, chance)
