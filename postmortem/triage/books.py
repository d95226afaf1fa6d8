"""How buckets and their counters are kept up while cases come, move and go.

All of it is one transaction of one writer. A case *counts* in its bucket by what it tells: its
host, kernel, modules. Where a dump and a log show the same crash, the better one leads: it alone
counts, and its bucket is the other's, too. What a bucket shows (title, best example, first
and last, counters) depends on its cases and the decisions only, never on the order of coming.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from postmortem.triage import schema as t
from postmortem.triage.grouping import VERSIONS, Grouping, Place
from postmortem.triage.model import CaseRow, CaseState, Outcome, case_id

_SLICE = 400
"""Values in one statement: a database allows so many."""
_PAGE = 1000


@dataclass
class Entry:
    """A case while it is placed."""

    id: str
    key: str | None
    """What its own signature groups by; ``None`` if that tells it from nothing."""
    state: str
    release: str | None
    incident: str | None
    rank: str
    leads: bool
    bucket_id: str | None
    run_id: int
    time: int | None
    features: tuple[tuple[str, str], ...]
    title: dict[str, Any]
    """What a bucket shows of its best case: title, shown, kind, function, module, terms."""
    stored: bool = True
    place: Place | None = None


@dataclass
class _Change:
    """What happened to one bucket in this transaction."""

    cases: int = 0
    crashes: int = 0
    came: list[Entry] = field(default_factory=list)
    left: bool = False
    place: Place | None = None


@dataclass
class Books:
    """The placing of cases, by all decisions up to one of them."""

    version: int
    decided: int
    grouping: Grouping
    connection: Any = None
    _changes: dict[str, _Change] = field(default_factory=lambda: defaultdict(_Change))
    _tally: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    # --- inputs -----------------------------------------------------------------------

    def add(self, run_id: int, outcomes: Sequence[Outcome], *, again: bool) -> int:
        """Store what is new, and place its cases; how many inputs that were."""
        unique = {outcome.id: outcome for outcome in outcomes}
        known = set(self._select(t.input.c.id, t.input.c.id, unique))
        if again:
            self._remove(known)
            known = set()
        new = [outcome for outcome in unique.values() if outcome.id not in known]
        self._insert(t.input, [_input_row(run_id, outcome) for outcome in new])
        for outcome in new:
            self._tally["", "state", "input"] += 1
            if outcome.state != "analysed":
                self._tally["", "state", str(outcome.state)] += 1
        self._insert(
            t.document,
            [{"input_id": o.id, "data": o.document} for o in new if o.document is not None],
        )
        self._insert(t.report, [row for outcome in new for row in _report_rows(outcome)])
        self._insert(t.key, [row for outcome in new for row in self._key_rows(outcome)])
        fresh = {
            case_id(outcome.id, row.part): (outcome.id, row)
            for outcome in new
            for row in outcome.cases
        }
        entries = [self._entry(run_id, name, row) for name, (_, row) in fresh.items()]
        changed = self._settle(self._with_their_crash(entries))
        came = [entry for entry in changed if not entry.stored]
        self._insert(t.cases, [_case_row(entry, *fresh[entry.id]) for entry in came])
        self._write(changed)
        self._finish()
        return len(new)

    def _remove(self, input_ids: set[str]) -> None:
        """Take inputs out, with all that came of them."""
        gone = self._entries(t.cases.c.input_id, input_ids)
        for entry in gone:
            self._count(entry, -1)
        names = [entry.id for entry in gone]
        for table, column, values in (
            (t.cases, t.cases.c.id, names),
            (t.key, t.key.c.case_id, names),
            (t.report, t.report.c.input_id, list(input_ids)),
            (t.document, t.document.c.input_id, list(input_ids)),
        ):
            self._delete(table, column, values)
        states = self._select(t.input.c.state, t.input.c.id, input_ids)
        for state in states:
            self._tally["", "state", "input"] -= 1
            if state != "analysed":
                self._tally["", "state", state] -= 1
        self._delete(t.input, t.input.c.id, list(input_ids))
        # Another input of the same crash leads now.
        self._write(self._settle(self._with_their_crash(gone, but=set(names))))

    # --- placing ----------------------------------------------------------------------

    def place_again(self, keys: Collection[str], cases: Collection[str]) -> frozenset[str]:
        """Place every case anew that sits in a bucket of these keys, and these cases.

        :return: the buckets that these were and are.
        """
        wanted = set(keys) | {self.grouping.root(key) for key in keys}
        b = t.bucket.c
        concerned = set(self._select(b.id, b.key, wanted))
        concerned |= {
            name for name in self._select(t.cases.c.bucket_id, t.cases.c.id, cases) if name
        }
        for name in sorted(concerned):
            self._changes[name].place = self._place_of(name)
            last = ""
            while entries := self._entries(t.cases.c.bucket_id, [name], after=last, limit=_PAGE):
                last = entries[-1].id
                self._write(self._settle(self._with_their_crash(entries)))
        self._write(self._settle(self._with_their_crash(self._entries(t.cases.c.id, cases))))
        changed = frozenset(self._changes)
        self._finish()
        return changed

    def rebuild(self) -> None:
        """Place all cases from nothing: buckets, tallies and terms are made anew."""
        for table in (t.bucket, t.term):
            self.connection.execute(table.delete())
        kept = t.tally.c.value.in_(("input", "failed", "refused"))
        self.connection.execute(
            t.tally.delete().where(sa.not_(sa.and_(t.tally.c.name == "state", kept)))
        )
        self.connection.execute(t.cases.update().values(bucket_id=None, leads=False))
        last = ""
        placed: set[str] = set()
        while entries := self._entries(None, (), after=last, limit=_PAGE):
            last = entries[-1].id
            whole = self._with_their_crash(entries)
            for entry in whole:
                entry.stored = entry.id in placed  # with an earlier page's, as the same crash
            placed |= {entry.id for entry in whole if entry.incident}
            self._write(self._settle(whole), all_of_them=True)
            self._finish()

    def _place_of(self, bucket_id: str) -> Place | None:
        row = self.connection.execute(
            sa.select(t.bucket.c.key, t.bucket.c.generation).where(t.bucket.c.id == bucket_id)
        ).first()
        return None if row is None else Place(row.key, row.generation)

    def _with_their_crash(self, entries: list[Entry], but: Collection[str] = ()) -> list[Entry]:
        """These, and all stored cases that show the same crashes."""
        known = {entry.id for entry in entries}
        incidents = {entry.incident for entry in entries if entry.incident}
        others = self._entries(t.cases.c.incident, incidents)
        found = [*entries, *(entry for entry in others if entry.id not in known)]
        return [entry for entry in found if entry.id not in but]

    def _settle(self, entries: list[Entry]) -> list[Entry]:
        """Say for each entry which bucket it belongs to and whether it leads; count changes.

        :return: those that changed or are new.
        """
        crashes: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            crashes[entry.incident or f"only {entry.id}"].append(entry)
        changed = []
        for members in crashes.values():
            leader = max(members, key=_leading)
            place = None
            if leader.key is not None:
                names = sorted(entry.id for entry in members)
                place = self.grouping.place(names, leader.key, leader.release)
            for entry in members:
                if self._move(entry, place, leads=entry is leader):
                    changed.append(entry)
        return changed

    def _move(self, entry: Entry, place: Place | None, *, leads: bool) -> bool:
        bucket = None if place is None else place.id
        if entry.stored and (entry.bucket_id, entry.leads) == (bucket, leads):
            return False
        if entry.stored:
            self._count(entry, -1)
        entry.bucket_id, entry.leads, entry.place = bucket, leads, place
        if entry.state != CaseState.CALM:
            entry.state = str(CaseState.UNSORTED if bucket is None else CaseState.BUCKET)
        self._count(entry, 1)
        return True

    def _count(self, entry: Entry, sign: int) -> None:
        """Let an entry count in its bucket, or no longer."""
        self._tally["", "state", entry.state] += sign
        buckets = [t.ALL] if entry.bucket_id is None else [t.ALL, entry.bucket_id]
        if entry.leads:
            self._tally[t.ALL, "state", t.LEADING] += sign
            for name, value in _counted(entry):
                for bucket in buckets:
                    self._tally[bucket, name, value] += sign
                if name in t.OF_ALL_BUCKETS and entry.bucket_id is not None:
                    self._tally[t.ALL_BUCKETS, name, value] += sign
        if entry.bucket_id is None:
            return
        change = self._changes[entry.bucket_id]
        change.cases += sign
        change.crashes += sign if entry.leads else 0
        if sign > 0:
            change.came.append(entry)
            change.place = entry.place
        else:
            change.left = True

    def _write(self, entries: Iterable[Entry], *, all_of_them: bool = False) -> None:
        """Write where stored entries belong now."""
        rows = [
            {"b_id": e.id, "state": e.state, "leads": e.leads, "bucket_id": e.bucket_id}
            for e in entries
            if e.stored or all_of_them
        ]
        if rows:
            statement = t.cases.update().where(t.cases.c.id == sa.bindparam("b_id"))
            named: dict[str, Any] = {}
            for name in ("state", "leads", "bucket_id"):
                named[name] = sa.bindparam(name)
            self.connection.execute(statement.values(**named), rows)

    # --- counters ---------------------------------------------------------------------

    def _finish(self) -> None:
        """Write what this transaction changed in buckets and counters."""
        changes, self._changes = self._changes, defaultdict(_Change)
        hosts: Counter[str] = Counter()
        old = self._stored_buckets(changes)
        for name, change in changes.items():
            if name not in old and change.cases > 0:
                self._tally["", "state", "buckets"] += 1
            elif name in old and old[name]["cases"] + change.cases == 0:
                self._tally["", "state", "buckets"] -= 1
        tally, self._tally = self._tally, Counter()
        self._write_tally({key: delta for key, delta in tally.items() if delta}, hosts)
        for name, change in changes.items():
            self._write_bucket(name, change, old.get(name), hosts[name])

    def _stored_buckets(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for some in _slices(sorted(names)):
            query = (
                sa.select(t.bucket, t.cases.c.rank.label("best_rank"))
                .outerjoin(t.cases, t.cases.c.id == t.bucket.c.best_case)
                .where(t.bucket.c.id.in_(some))
            )
            for row in self.connection.execute(query):
                found[row.id] = dict(row._mapping)
        return found

    def _write_tally(self, deltas: dict[tuple[str, str, str], int], hosts: Counter[str]) -> None:
        """:param hosts: is told by how many each bucket has more or fewer of them."""
        columns = list(t.tally.c)
        together = sa.tuple_(*columns[:3])
        there: dict[tuple[str, str, str], int] = {}
        for some in _slices(sorted(deltas)):
            query = sa.select(*columns).where(together.in_(list(some)))
            there.update(
                ((row[0], row[1], row[2]), row[3]) for row in self.connection.execute(query)
            )
        new, changed, gone = [], [], []
        for (bucket, name, value), delta in sorted(deltas.items()):
            before = there.get((bucket, name, value))
            row = {"bucket_id": bucket, "name": name, "value": value}
            count = (before or 0) + delta
            if before is None:
                new.append({**row, "count": count})
                hosts[bucket] += name == "host"
            elif count:
                changed.append({f"b_{key}": text for key, text in row.items()} | {"count": count})
            else:
                gone.append({f"b_{key}": text for key, text in row.items()})
                hosts[bucket] -= name == "host"
        self._insert(t.tally, new)
        here = sa.and_(*(column == sa.bindparam(f"b_{column.name}") for column in columns[:3]))
        if changed:
            update = t.tally.update().where(here).values(count=sa.bindparam("count"))
            self.connection.execute(update, changed)
        if gone:
            self.connection.execute(t.tally.delete().where(here), gone)

    def _write_bucket(
        self, name: str, change: _Change, old: dict[str, Any] | None, hosts: int
    ) -> None:
        cases = change.cases + (old["cases"] if old else 0)
        if cases == 0:
            self._delete(t.bucket, t.bucket.c.id, [name])
            self._delete(t.term, t.term.c.bucket_id, [name])
            return
        place = change.place or (Place(old["key"], old["generation"]) if old else None)
        assert place is not None
        fixed = self.grouping.fixes.get(place, ())
        row: dict[str, Any] = {
            "cases": cases,
            "crashes": change.crashes + (old["crashes"] if old else 0),
            "hosts": hosts + (old["hosts"] if old else 0),
            "state": "fixed" if fixed else "open",
            "fixed_in": json.dumps(list(fixed)),
        }
        if change.left:
            row |= self._from_all(name)
        else:
            row |= _from_new(change.came, old)
        if old is None:
            row |= {"id": name, "version": self.version, "key": place.key}
            row |= {"generation": place.generation}
            row["successor_of"] = place.before.id if place.before else None
        best = self._best_of(name, change, old)
        if best is not None:
            terms = best.title["terms"]
            row |= {"best_case": best.id}
            row |= {key: text for key, text in best.title.items() if key != "terms"}
            self._delete(t.term, t.term.c.bucket_id, [name])
            rows = [{"term": word, "bucket_id": name, "weight": weight} for word, weight in terms]
            self._insert(t.term, rows)
        if old is None:
            self._insert(t.bucket, [row])
        else:
            self.connection.execute(t.bucket.update().where(t.bucket.c.id == name).values(**row))

    def _from_all(self, name: str) -> dict[str, Any]:
        """What a bucket says of its cases, asked of all: some left."""
        c = t.cases.c
        functions = {
            "first": sa.func.min(c.time),
            "last": sa.func.max(c.time),
            "created_run": sa.func.min(c.run_id),
            "seen_run": sa.func.max(c.run_id),
        }
        query = sa.select(*(f.label(label) for label, f in functions.items()))
        row = self.connection.execute(query.where(c.bucket_id == name)).one()
        return dict(row._mapping)

    def _best_of(self, name: str, change: _Change, old: dict[str, Any] | None) -> Entry | None:
        """The best example, if it is another one than before."""
        if change.left:
            c = t.cases.c
            query = sa.select(c.id).where(c.bucket_id == name)
            found = self.connection.execute(query.order_by(c.rank.desc(), c.id.desc()).limit(1))
            (best,) = self._entries(c.id, [found.scalar_one()])
            return best
        if not change.came:
            return None
        best = max(change.came, key=lambda entry: (entry.rank, entry.id))
        if old is not None and (best.rank, best.id) <= (old["best_rank"], old["best_case"]):
            return None
        return best

    # --- rows -------------------------------------------------------------------------

    def _entry(self, run_id: int, name: str, row: CaseRow) -> Entry:
        key = None
        if row.state is CaseState.BUCKET and row.signature is not None:
            key = row.keys().get(VERSIONS[self.version])
        return Entry(
            id=name,
            key=key,
            state=str(row.state),
            release=row.release,
            incident=row.incident,
            rank=row.rank,
            leads=True,
            bucket_id=None,
            run_id=run_id,
            time=row.time,
            features=row.features,
            title={
                "title": row.title,
                "shown": row.shown,
                "kind": row.kind,
                "function": row.function,
                "module": row.module,
                "terms": row.terms,
            },
            stored=False,
        )

    def _entries(
        self, column: Any, values: Collection[str], *, after: str | None = None, limit: int = 0
    ) -> list[Entry]:
        """Stored cases by one column; a page of them if there is a limit."""
        if column is None:
            return [_read_entry(row) for row in self._case_rows(sa.true(), after, limit)]
        found = []
        for some in _slices(sorted(values)):
            found += [_read_entry(r) for r in self._case_rows(column.in_(some), after, limit)]
        return found

    def _case_rows(self, where: Any, after: str | None, limit: int) -> Iterator[Any]:
        join = sa.and_(
            t.key.c.case_id == t.cases.c.id,
            t.key.c.version == self.version,
            t.key.c.level == VERSIONS[self.version],
        )
        query = sa.select(t.cases, t.key.c.value.label("key")).outerjoin(t.key, join).where(where)
        if after is not None:
            query = query.where(t.cases.c.id > after).order_by(t.cases.c.id).limit(limit)
        yield from self.connection.execute(query).all()

    def _key_rows(self, outcome: Outcome) -> Iterator[dict[str, Any]]:
        for row in outcome.cases:
            if row.signature is None or row.state is not CaseState.BUCKET:
                continue
            name = case_id(outcome.id, row.part)
            for level, value in row.keys().items():
                yield {"case_id": name, "version": self.version, "level": level, "value": value}

    def _select(self, wanted: Any, column: Any, values: Collection[str]) -> list[Any]:
        found: list[Any] = []
        for some in _slices(sorted(values)):
            found += self.connection.execute(sa.select(wanted).where(column.in_(some))).scalars()
        return found

    def _insert(self, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            self.connection.execute(table.insert(), list(rows))

    def _delete(self, table: sa.Table, column: Any, values: Sequence[str]) -> None:
        for some in _slices(values):
            self.connection.execute(table.delete().where(column.in_(some)))


def _leading(entry: Entry) -> tuple[bool, str, str]:
    """Of the cases of one crash the greatest leads."""
    return entry.key is not None, entry.rank, entry.id


LEVELS = ("exact", "frames", "coarse")
"""Of a signature."""


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _SLICE):
        yield items[start : start + _SLICE]


def _counted(entry: Entry) -> Iterator[tuple[str, str]]:
    yield from entry.features
    names = {name for name, _ in entry.features}
    if "told" not in names:  # of a program that did not say it
        yield from (("told", name) for name in t.TOLD if name in names)
    if entry.time is not None and 0 <= entry.time < 1 << 37:
        day = datetime.datetime.fromtimestamp(entry.time, datetime.timezone.utc).date()
        yield "day", day.isoformat()


def _from_new(came: Sequence[Entry], old: dict[str, Any] | None) -> dict[str, Any]:
    """What a bucket says of its cases, if cases only came."""
    if not came:
        return {}
    times = [entry.time for entry in came if entry.time is not None]
    runs = [entry.run_id for entry in came]
    if old is not None:
        times += [time for time in (old["first"], old["last"]) if time is not None]
        runs += [old["created_run"], old["seen_run"]]
    return {
        "first": min(times, default=None),
        "last": max(times, default=None),
        "created_run": min(runs),
        "seen_run": max(runs),
    }


def _read_entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        key=row.key,
        state=row.state,
        release=row.release,
        incident=row.incident,
        rank=row.rank,
        leads=row.leads,
        bucket_id=row.bucket_id,
        run_id=row.run_id,
        time=row.time,
        features=tuple((name, value) for name, value in json.loads(row.features)),
        title={
            "title": row.title,
            "shown": row.shown,
            "kind": row.kind,
            "function": row.function,
            "module": row.module,
            "terms": tuple((word, weight) for word, weight in json.loads(row.terms)),
        },
    )


def _input_row(run_id: int, outcome: Outcome) -> dict[str, Any]:
    from postmortem.triage.rows import printable

    return {
        "id": outcome.id,
        "name": printable(outcome.names[0]) if outcome.names else "",
        "state": str(outcome.state),
        "reason": outcome.reason,
        "kind": outcome.kind,
        "format": outcome.format,
        "size": outcome.size,
        "complete": outcome.complete,
        "problems": json.dumps([{"what": what, "why": why} for what, why in outcome.problems]),
        "program": outcome.program,
        "seconds": outcome.seconds,
        "run_id": run_id,
    }


def _report_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    for row in outcome.reports:
        found = {name: getattr(row, name) for name in _REPORT}
        for level in LEVELS:
            found[level] = None if row.signature is None else getattr(row.signature, level)
        yield {"input_id": outcome.id, **found}


_REPORT = (
    *("number", "kind", "title", "function", "module", "line", "boot", "seconds"),
    *("consequence_of", "count"),
)
_CASE = (
    *("part", "kind", "title", "shown", "summary", "confidence", "function", "module", "line"),
    *("source", "time", "time_from", "host", "release", "arch", "model", "firmware", "uptime"),
    *("incident", "rank"),
)


def _case_row(entry: Entry, input_id: str, row: CaseRow) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in _CASE}
    return {
        "id": entry.id,
        "input_id": input_id,
        **found,
        "state": entry.state,
        "features": json.dumps(row.features),
        "terms": json.dumps(row.terms),
        "leads": entry.leads,
        "bucket_id": entry.bucket_id,
        "run_id": entry.run_id,
    }
