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

KNOWN = frozenset({"module", "option", "taint"})
"""A log may not have the list of these: only crashes count where it is known (``told``)."""

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
    compared = []
    for name in COMPARED:
        own, of_all = bucket.get(name, {}), everything.get(name, {})
        inside, in_all = _known(name, bucket, crashes), _known(name, everything, all_crashes)
        for value, count in own.items():
            compared.append(_compared(name, value, count, inside, of_all.get(value, 0), in_all))
    chances = holm([row.chance for row in compared])
    found = [
        Special(r.name, r.value, r.inside, r.inside_all, r.outside, r.outside_all, chance)
        for r, chance in zip(compared, chances, strict=True)
        if chance <= MAX_CHANCE
    ]
    return sorted(found, key=lambda row: (row.chance, -row.inside, row.name, row.value))


def _known(name: str, tallies: Tallies, crashes: int) -> int:
    """Of how many crashes it is known whether they have a value."""
    if name in ONE_EACH:
        return sum(tallies.get(name, {}).values())
    return tallies.get("told", {}).get(name, 0) if name in KNOWN else crashes


def _compared(
    name: str, value: str, count: int, crashes: int, everywhere: int, all_crashes: int
) -> Special:
    """One value with its own, uncorrected chance.

    :param crashes: Of the bucket, of which it is known; ``all_crashes``: the same of all.
    :param everywhere: How many of all have it.
    """
    outside = max(everywhere - count, 0)
    others = max(all_crashes - crashes, outside)
    inside = min(count, crashes)
    chance = fisher_greater(inside, crashes - inside, outside, others - outside)
    return Special(name, value, inside, crashes, outside, others, chance)
