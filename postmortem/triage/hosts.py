"""Which machines crash, and which of them are ill themselves.

Software fails alike on many machines; one machine that fails in many unlike ways, reports machine
checks, or shows single flipped bits has bad memory or a bad processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from postmortem.triage import schema as t
from postmortem.triage.store import Store

UNLIKE = 3
"""So many bugs that have nothing in common, on one host."""
_FLIPPED = "%With bit % flipped%"
"""How a summary tells of a flipped bit (judge/faults.py)."""


@dataclass(frozen=True)
class Host:
    """A machine and its crashes."""

    name: str
    crashes: int
    bugs: int
    """Buckets that its crashes are in."""
    functions: int
    """Guilty functions that differ: one bug may be several buckets, hardly in other functions."""
    machine_checks: int
    flipped: int
    """Crashes that one flipped bit explains."""
    first: int | None
    last: int | None

    @property
    def suspicion(self) -> tuple[str, ...]:
        """Why its hardware is suspected; empty if it is not."""
        found = []
        if self.functions >= UNLIKE:
            found.append(f"{self.functions} unlike bugs")
        if self.machine_checks:
            found.append(_counted(self.machine_checks, "machine check"))
        if self.flipped:
            found.append(f"one flipped bit explains {_counted(self.flipped, 'crash')}")
        return tuple(found)


def _counted(count: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("sh") else f"{what}s"
    return f"{count} {what if count == 1 else plural}"


def hosts(store: Store, limit: int = 500) -> list[Host]:
    """The hosts with the most crashes; those whose hardware is suspected first."""
    c = t.cases.c
    crashed = (c.leads, c.state != "calm", c.kind != "user-requested", c.host.is_not(None))
    checks = sa.func.sum(sa.case((c.kind == "machine-check", 1), else_=0))
    flips = sa.func.sum(sa.case((c.summary.like(_FLIPPED), 1), else_=0))
    unlike = sa.func.count(sa.distinct(c.function))
    query = (
        sa.select(
            c.host,
            sa.func.count().label("crashes"),
            sa.func.count(sa.distinct(c.bucket_id)).label("bugs"),
            unlike.label("functions"),
            checks.label("checks"),
            flips.label("flips"),
            sa.func.min(c.time).label("first"),
            sa.func.max(c.time).label("last"),
        )
        .where(*crashed)
        .group_by(c.host)
        .order_by(
            sa.case((sa.or_(unlike >= UNLIKE, checks > 0, flips > 0), 0), else_=1),
            sa.func.count().desc(),
            c.host,
        )
        .limit(limit)
    )
    with store.reading() as connection:
        return list(_read(connection.execute(query)))


def _read(rows: sa.CursorResult[tuple[object, ...]]) -> Iterator[Host]:
    for row in rows:
        found = row._mapping
        yield Host(
            name=found["host"],
            crashes=int(found["crashes"]),
            bugs=int(found["bugs"]),
            functions=int(found["functions"]),
            machine_checks=int(found["checks"]),
            flipped=int(found["flips"]),
            first=found["first"],
            last=found["last"],
        )
