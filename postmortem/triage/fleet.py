"""How often machines crash: crashes of a store over the days that a table of hosts tells of.

The table is CSV with the columns host, model, kernel, from, to: which machine ran which kernel
since when and until when (empty: still). A count of crashes says little; crashes per 1,000
machine-days say whether a release is worse than another.
"""

from __future__ import annotations

import csv
import math
import re
import time as clock
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

import sqlalchemy as sa

from postmortem.errors import UsageError
from postmortem.known.release import numbers
from postmortem.triage import schema as t
from postmortem.triage.model import storable
from postmortem.triage.statistics import poisson_interval, rate_is_higher, ratio_interval
from postmortem.triage.store import Store

DAY = 86_400
COLUMNS = ("host", "model", "kernel", "from", "to")
ASKED_FOR = "user-requested"
"""Crashes that somebody made are no failures."""
MAX_FIELD = 1 << 16
SURE = 0.05
"""A release is called worse if chance gives such a difference less often than that."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Stay:
    """A line of the table: a host that ran a kernel for a time."""

    host: str
    model: str
    kernel: str
    begin: float
    end: float | None
    """``None`` if it still does."""


@dataclass(frozen=True)
class Fleet:
    """Which machine ran which kernel, when."""

    spans: Mapping[tuple[str, str], tuple[Span, ...]]
    """By host and kernel; seconds since the epoch, without overlaps."""
    hosts: frozenset[str]
    problems: tuple[str, ...] = ()
    stays: tuple[Stay, ...] = ()
    """The lines of the table."""

    def days(self, kernel: str, since: float = 0, until: float = math.inf) -> float:
        """Machine-days of a kernel."""
        return self.all_days(since, until).get(kernel, (0.0, 0))[0]

    def all_days(self, since: float = 0, until: float = math.inf) -> dict[str, tuple[float, int]]:
        """Machine-days of each kernel, and on how many hosts."""
        found: dict[str, tuple[float, int]] = {}
        for (_, kernel), spans in self.spans.items():
            seconds = sum(max(min(b, until) - max(a, since), 0) for a, b in spans)
            if seconds > 0:
                days, hosts = found.get(kernel, (0.0, 0))
                found[kernel] = (days + seconds / DAY, hosts + 1)
        return found


def read_fleet(path: Path, now: float | None = None) -> Fleet:
    """Read a table of hosts.

    :param now: What an empty ``to`` stands for.
    :raises UsageError: it can't be read, or lacks a column.
    """
    csv.field_size_limit(MAX_FIELD)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _fleet(csv.DictReader(file), clock.time() if now is None else now)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no table of hosts: it is no UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
    except (csv.Error, ValueError) as error:
        raise UsageError(f"{path} is no table of hosts: {error}") from error


def _fleet(rows: csv.DictReader[str], now: float) -> Fleet:
    names = rows.fieldnames or ()
    missing = [name for name in COLUMNS if name not in names and name != "model"]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r} (host, model, kernel, from, to)")
    stays: list[Stay] = []
    problems: list[str] = []
    for row in rows:
        host, kernel = (row["host"] or "").strip().lower(), (row["kernel"] or "").strip()
        try:
            begin, end = _time(row["from"]), _time((row["to"] or "").strip() or str(int(now)))
        except ValueError as error:
            problems.append(f"line {rows.line_num}: {error}")
            continue
        if not host or not kernel or end < begin:
            problems.append(
                f"line {rows.line_num}: no host, no kernel, or it ends before it begins"
            )
            continue
        still = not (row["to"] or "").strip()
        model = (row.get("model") or "").strip()
        stays.append(Stay(host, model, kernel, begin, None if still else end))
    return _of_stays(stays, now, tuple(problems))


def _of_stays(stays: Sequence[Stay], now: float, problems: tuple[str, ...] = ()) -> Fleet:
    spans: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for stay in stays:
        end = now if stay.end is None else min(stay.end, now)
        spans[stay.host, stay.kernel].append((stay.begin, end))
    merged = {key: tuple(_merged(found)) for key, found in spans.items()}
    return Fleet(merged, frozenset(stay.host for stay in stays), problems, tuple(stays))


# --- the table in the store -------------------------------------------------------------


def keep_fleet(store: Store, fleet: Fleet) -> None:
    """Put a table of hosts into the store, in the place of the one before."""
    rows = [
        {
            "host": storable(stay.host, 250),
            "model": storable(stay.model, 250),
            "kernel": storable(stay.kernel, 250),
            "begin": int(stay.begin),
            "end": None if stay.end is None else int(stay.end),
        }
        for stay in fleet.stays
    ]
    with store.writing() as connection:
        connection.execute(t.machine.delete())
        for start in range(0, len(rows), 10_000):
            connection.execute(t.machine.insert(), rows[start : start + 10_000])


def kept_fleet(store: Store, now: float | None = None) -> Fleet:
    """The table of hosts in the store.

    :raises UsageError: there is none.
    """
    query = sa.select(t.machine).order_by(t.machine.c.id)
    with store.reading() as connection:
        stays = [
            Stay(row.host, row.model, row.kernel, row.begin, row.end)
            for row in connection.execute(query)
        ]
    if not stays:
        raise UsageError(
            "the store has no table of hosts: postmortem triage fleet HOSTS.csv keeps one in it,"
            " or give one with --fleet"
        )
    return _of_stays(stays, clock.time() if now is None else now)


def _time(text: str | None) -> float:
    """A date, a date and time (UTC unless it says otherwise), or seconds since the epoch."""
    value = (text or "").strip()
    if not value:
        raise ValueError("it does not say since when")
    if re.fullmatch(r"\d{9,11}(\.\d+)?", value):
        return float(value)
    try:
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{value[:40]!r} is no date (2026-11-26) and no time") from None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The same time once, also if two lines of the table have it."""
    begin = end = None
    for a, b in sorted(spans):
        if end is None or a > end:
            if begin is not None and end is not None:
                yield begin, end
            begin, end = a, b
        else:
            end = max(end, b)
    if begin is not None and end is not None:
        yield begin, end


# --- rates ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """How often the machines with one kernel crashed."""

    kernel: str
    hosts: int
    days: float
    """Machine-days."""
    crashes: int

    @property
    def per_thousand(self) -> float | None:
        """Crashes per 1,000 machine-days; ``None`` where no machine is known to have run it."""
        return self.crashes / self.days * 1000 if self.days else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which rates the true one is, in 95 of 100 such fleets."""
        if not self.days:
            return None
        low, high = poisson_interval(self.crashes)
        return low / self.days * 1000, high / self.days * 1000


@dataclass(frozen=True)
class Rates:
    """The rates of all kernels, and the crashes that are in none."""

    rates: tuple[Rate, ...]
    strangers: int = 0
    """Crashes of hosts that are not in the table."""
    undated: int = 0
    """Crashes whose time or kernel is not known."""
    problems: tuple[str, ...] = field(default=())


def rates(store: Store, fleet: Fleet, since: float = 0, until: float = math.inf) -> Rates:
    """Crashes per kernel over machine-days, the newest kernel first.

    Crashes that somebody asked for do not count.
    """
    counts: dict[str, int] = defaultdict(int)
    strangers = undated = 0
    for host, release, timed, count in _crashes(store, since, until):
        if not release or not timed:
            undated += count
        elif not _has(fleet, host):
            strangers += count
        else:
            counts[release] += count
    days = fleet.all_days(since, until)
    found = [
        Rate(kernel, days.get(kernel, (0.0, 0))[1], days.get(kernel, (0.0, 0))[0], counts[kernel])
        for kernel in {*days, *counts}
    ]
    found.sort(key=lambda rate: (numbers(rate.kernel), rate.kernel), reverse=True)
    return Rates(tuple(found), strangers, undated, fleet.problems)


def _has(fleet: Fleet, host: str | None) -> bool:
    """By the whole name, or by its first label where the table or the dump has no domain."""
    name = (host or "").lower()
    return name in fleet.hosts or name.partition(".")[0] in fleet.hosts


def _crashes(
    store: Store, since: float, until: float
) -> Iterator[tuple[str | None, str | None, bool, int]]:
    """Host, kernel, whether the time is known, and how many; each crash once."""
    c = t.cases.c
    timed = c.time.is_not(None)
    wanted = [c.leads, c.state != "calm", c.kind != ASKED_FOR]
    if since > 0:
        wanted.append(sa.or_(c.time >= int(since), c.time.is_(None)))
    if until < math.inf:
        wanted.append(sa.or_(c.time < int(until), c.time.is_(None)))
    query = (
        sa.select(c.host, c.release, timed.label("timed"), sa.func.count().label("count"))
        .where(*wanted)
        .group_by(c.host, c.release, timed)
    )
    with store.reading() as connection:
        for row in connection.execute(query):
            yield row[0], row[1], bool(row[2]), int(row[3])


# --- the gate -----------------------------------------------------------------------------


class Decision(str, Enum):
    """What a gate says of a release."""

    PASSED = "passed"
    WORSE = "worse"
    UNDECIDED = "undecided"
    """Too few machine-days to tell."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Gate:
    """A release against others."""

    decision: Decision
    candidate: Rate
    baseline: Rate
    """All that it is compared with, together."""
    low: float
    """The rate in rates of the baseline, at least ..."""
    high: float
    """... and at most (95%)."""
    chance: float
    """That a release that is as good shows so many crashes or more."""
    only_here: tuple[str, ...] = ()
    """Titles of bugs that were seen with this kernel alone."""

    def __str__(self) -> str:
        """One sentence."""
        at = f"{self.candidate.crashes} crashes in {self.candidate.days:.0f} machine-days"
        than = f"{self.baseline.crashes} in {self.baseline.days:.0f} of {self.baseline.kernel}"
        factor = f"{self.low:.2g} to {_factor(self.high)} times the rate"
        said = {
            Decision.PASSED: "passed",
            Decision.WORSE: "worse",
            Decision.UNDECIDED: "not decided, it needs more machine-days",
        }[self.decision]
        return f"{self.candidate.kernel}: {said}: {at} against {than}, {factor} (95%)"


def _factor(value: float) -> str:
    return f"{value:.2g}" if value < math.inf else "any number of"


def gate(found: Rates, kernel: str, against: Iterable[str] = (), tolerated: float = 1.5) -> Gate:
    """Whether a release crashes more often than others.

    It is *worse* if chance hardly gives such a difference, *passed* if its rate is surely not
    above ``tolerated`` times that of the others, otherwise *undecided*.

    :param against: The kernels to compare with; all others of the table if there is none.
    :raises UsageError: nothing is known of one of them.
    """
    named = set(against)
    candidate = next((rate for rate in found.rates if rate.kernel == kernel), None)
    if candidate is None or not candidate.days:
        raise UsageError(f"no machine-day of kernel {kernel} is in the table of hosts")
    for name in named - {rate.kernel for rate in found.rates if rate.days}:
        raise UsageError(f"no machine-day of kernel {name} is in the table of hosts")
    others = [
        rate
        for rate in found.rates
        if rate.kernel != kernel and rate.days and (not named or rate.kernel in named)
    ]
    if not others:
        raise UsageError(f"there is no kernel to compare {kernel} with in the table of hosts")
    title = others[0].kernel if len(others) == 1 else f"{len(others)} other kernels"
    baseline = Rate(
        title,
        sum(rate.hosts for rate in others),
        sum(rate.days for rate in others),
        sum(rate.crashes for rate in others),
    )
    parts = (candidate.crashes, candidate.days, baseline.crashes, baseline.days)
    low, high = ratio_interval(*parts)
    chance = rate_is_higher(*parts)
    decision = Decision.UNDECIDED
    if chance < SURE:
        decision = Decision.WORSE
    elif high <= tolerated:
        decision = Decision.PASSED
    return Gate(decision, candidate, baseline, low, high, chance)


def only_with(store: Store, kernel: str, limit: int = 20) -> tuple[str, ...]:
    """Titles of bugs that were seen with one kernel alone, those with most crashes first."""
    tally, bucket = t.tally.c, t.bucket.c
    query = (
        sa.select(bucket.shown)
        .join(t.tally, tally.bucket_id == bucket.id)
        .where(tally.name == "release", tally.value == kernel, tally.count == bucket.crashes)
        .order_by(bucket.crashes.desc(), bucket.id)
        .limit(limit)
    )
    with store.reading() as connection:
        return tuple(connection.execute(query).scalars())
