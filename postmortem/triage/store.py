"""The store: what is written of a pile of crashes, and what can be asked of it.

Open it with :meth:`Store.open`, by a path (SQLite) or a URL (``postgresql+psycopg://...``)::

    with Store.open("crashes.db") as store:
        for bucket in store.buckets(limit=50):          # most crashes first, page by `after=`
            print(bucket.id, bucket.crashes, bucket.title)
            store.tallies(bucket.id, "release")         # {"6.1.0": 12, ...}: counters, no scan
            store.cases(bucket=bucket.id, limit=20)     # newest first, page by `after=`
            store.case(bucket.best_case)                # the example
            store.document(case.input_id)               # its whole analysis, docs/json.md

Writing is :meth:`Store.add` (outcomes of workers, in one transaction; what is known already is
left alone) and :meth:`Store.decide`. Writers of one store take turns, also from several machines:
each transaction holds the row ``writer``. Bucket counters, tallies and best examples are
kept up in the same transaction (:mod:`postmortem.triage.books`), so a list never counts.
"""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from postmortem.errors import PostmortemError, UnreadableInputError, UsageError
from postmortem.triage import schema as t
from postmortem.triage.books import Books
from postmortem.triage.grouping import GROUPING_VERSION, VERSIONS, Action, Decision, Grouping, Place
from postmortem.triage.model import Outcome
from postmortem.triage.store_document import unpacked

BUSY_SECONDS = 60
"""How long a writer waits for its turn."""
PAGE = 50


class StoreError(UnreadableInputError):
    """The store can't be read or written."""


@dataclass(frozen=True)
class Bucket:
    """A row of ``bucket``: what one bug left."""

    id: str
    version: int
    key: str
    generation: int
    successor_of: str | None
    state: str
    fixed_in: tuple[str, ...]
    title: str
    shown: str
    kind: str
    function: str | None
    module: str | None
    best_case: str
    cases: int
    crashes: int
    hosts: int
    first: int | None
    last: int | None
    created_run: int
    seen_run: int


@dataclass(frozen=True)
class StoredCase:
    """A row of ``cases``."""

    id: str
    input_id: str
    part: int
    state: str
    kind: str
    title: str
    shown: str
    summary: str
    confidence: str
    function: str | None
    module: str | None
    line: int | None
    source: str
    time: int | None
    time_from: str
    host: str | None
    release: str | None
    arch: str | None
    model: str | None
    firmware: str | None
    uptime: float | None
    features: tuple[tuple[str, str], ...]
    terms: tuple[tuple[str, float], ...]
    incident: str | None
    leads: bool
    rank: str
    bucket_id: str | None
    run_id: int


@dataclass(frozen=True)
class StoredInput:
    """A row of ``input``."""

    id: str
    name: str
    state: str
    reason: str | None
    kind: str | None
    format: str | None
    size: int
    complete: bool | None
    problems: tuple[tuple[str, str], ...]
    program: str
    seconds: float | None
    run_id: int


@dataclass(frozen=True)
class Run:
    """A row of ``run``."""

    id: int
    started: int
    ended: int | None
    state: str
    program: str
    machine: str
    arguments: tuple[str, ...]
    found: int
    known: int
    analysed: int
    failed: int


@dataclass(frozen=True)
class Seen:
    """What a name held when it was last read."""

    size: int
    changed: int
    input_id: str


@dataclass(frozen=True)
class Totals:
    """How much is in the store."""

    inputs: int
    cases: int
    buckets: int
    unsorted: int
    calm: int
    failed: int
    """Inputs that are not analysed."""


class Store:
    """A store that is open. One thread, one process."""

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self.engine = engine
        self.where = where
        """Its path or URL for people, without a password."""
        self._books: Books | None = None
        self._made = False

    # --- life -------------------------------------------------------------------------

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, create: bool = True) -> Store:
        """Open a store; make it, or bring its tables up to date, where that is needed.

        :param where: A path, or a URL as SQLAlchemy writes it.
        :param create: Whether there may be none yet.
        :raises PostmortemError: it can't be opened; one sentence says why.
        """
        text = os.fspath(where)
        engine = _engine(text, create)
        store = cls(engine, _shown(engine, text))
        try:
            with store.writing() as connection:
                t.prepare(connection, GROUPING_VERSION)
            store._made = True
        except BaseException:
            engine.dispose()
            raise
        return store

    @property
    def file(self) -> str | None:
        """The absolute path of an SQLite file."""
        url = self.engine.url
        if "sqlite" not in url.drivername or not url.database:
            return None
        return os.path.abspath(url.database)  # noqa: PTH100 - links stay

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes: all of it or nothing, one writer at a time."""
        with self._explained():
            engine = self.engine.execution_options(postmortem_writes=True)
            with engine.begin() as connection:
                if self._made or sa.inspect(connection).has_table(t.meta.name):
                    lock = sa.select(t.meta.c.value).where(t.meta.c.name == "writer")
                    connection.execute(lock.with_for_update())
                elif connection.dialect.name == "postgresql":
                    # Two that make the same store at once: the second one waits, and finds it.
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(20566)"))
                yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            self._books = None
            raise StoreError(_sentence(self.where, str(error.orig))) from error
        except SQLAlchemyError as error:
            self._books = None
            raise StoreError(_sentence(self.where, str(error))) from error
        except BaseException:
            self._books = None  # what it remembers may have been rolled back
            raise

    # --- runs -------------------------------------------------------------------------

    def begin_run(self, arguments: Sequence[str]) -> int:
        """Write down that a run begins; its number."""
        from postmortem import __version__

        row = {
            "started": int(clock.time()),
            "state": "running",
            "program": __version__,
            "machine": os.uname().nodename,
            "arguments": json.dumps(list(arguments)),
        }
        with self.writing() as connection:
            result = connection.execute(t.run.insert().values(**row))
            found = result.inserted_primary_key
        assert found is not None
        return int(found[0])

    def end_run(self, number: int, *, complete: bool, **counts: int) -> None:
        """
        :param counts: found, known, analysed, failed.
        """
        state = "complete" if complete else "interrupted"
        change = t.run.update().where(t.run.c.id == number)
        with self.writing() as connection:
            connection.execute(change.values(ended=int(clock.time()), state=state, **counts))

    def runs(self, limit: int = PAGE) -> list[Run]:
        """The newest first."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(t.run).order_by(t.run.c.id.desc()).limit(limit))
            return [_read(Run, row) for row in rows]

    def last_complete_run(self, before: int | None = None) -> int:
        """The number of the last run that was complete; 0 if none was."""
        query = sa.select(sa.func.max(t.run.c.id)).where(t.run.c.state == "complete")
        if before is not None:
            query = query.where(t.run.c.id < before)
        with self.reading() as connection:
            return connection.execute(query).scalar() or 0

    # --- what is known already --------------------------------------------------------

    def seen(self, names: Collection[str]) -> dict[str, Seen]:
        """What the given names held when they were last read; those that were read."""
        ids = {name_id(name): name for name in names}
        f = t.file.c
        found: dict[str, Seen] = {}
        with self.reading() as connection:
            for some in _slices(list(ids)):
                query = sa.select(f.id, f.size, f.changed, f.input_id).where(f.id.in_(some))
                for row in connection.execute(query):
                    found[ids[row.id]] = Seen(row.size, row.changed, row.input_id)
        return found

    def remember(self, rows: Iterable[tuple[str, Seen]]) -> None:
        """Write down what names hold; the last word counts."""
        with self.writing() as connection:
            self._remember(connection, rows)

    def _remember(self, connection: sa.Connection, rows: Iterable[tuple[str, Seen]]) -> None:
        new = {
            name_id(name): {
                "id": name_id(name),
                "name": printable(name),
                "size": seen.size,
                "changed": seen.changed,
                "input_id": seen.input_id,
            }
            for name, seen in rows
        }
        for some in _slices(list(new)):
            connection.execute(t.file.delete().where(t.file.c.id.in_(some)))
        if new:
            connection.execute(t.file.insert(), list(new.values()))

    def known(self, input_ids: Collection[str]) -> dict[str, str]:
        """Of the given contents those that are in the store, and their states."""
        found: dict[str, str] = {}
        with self.reading() as connection:
            for some in _slices(list(input_ids)):
                query = sa.select(t.input.c.id, t.input.c.state).where(t.input.c.id.in_(some))
                found.update((row.id, row.state) for row in connection.execute(query))
        return found

    # --- writing ----------------------------------------------------------------------

    def add(
        self,
        run_id: int,
        outcomes: Sequence[Outcome],
        names: Iterable[tuple[str, Seen]] = (),
        *,
        again: bool = False,
    ) -> int:
        """Store what workers found; how many inputs were new.

        :param names: the files that were read for it.
        :param again: what is known already is replaced, not left alone.
        """
        with self.writing() as connection:
            books = self._open_books(connection)
            added = books.add(run_id, outcomes, again=again)
            self._remember(connection, names)
        return added

    def _open_books(self, connection: sa.Connection) -> Books:
        """The books, with all decisions as they are now."""
        newest = connection.execute(sa.select(sa.func.max(t.decision.c.id))).scalar() or 0
        version = self._grouping_version(connection)
        books = self._books
        if books is None or (books.decided, books.version) != (newest, version):
            books = Books(version, newest, Grouping.of(_decisions(connection, version)))
        self._books = books
        books.connection = connection
        return books

    # --- deciding ---------------------------------------------------------------------

    def decide(
        self,
        action: Action,
        *,
        bucket: str | None = None,
        case: str | None = None,
        other: str | None = None,
        releases: Sequence[str] = (),
        who: str = "",
        note: str = "",
    ) -> frozenset[str]:
        """Store a decision and place every case anew that it concerns; the buckets it changed.

        :param bucket: the id of the bucket that it is about; or
        :param case: the id of the case that it is about.
        :param other: the id of the other bucket, for links and moves.
        """
        with self.writing() as connection:
            row: dict[str, Any] = {
                "time": int(clock.time()),
                "who": who,
                "action": str(action),
                "version": self._grouping_version(connection),
                "releases": json.dumps(list(releases)),
                "note": note,
            }
            if bucket is not None:
                row |= _side(_bucket_row(connection, bucket), "")
            if other is not None:
                row |= _side(_bucket_row(connection, other), "other_")
            cases = () if case is None else (_case_row(connection, case).id,)
            if cases:
                row |= {"case_id": cases[0]}
                row |= self._own_key(connection, row) if action is Action.CANNOT_LINK else {}
            connection.execute(t.decision.insert().values(**row))
            keys = {row[name] for name in ("key", "other_key") if row.get(name)}
            return self._open_books(connection).place_again(keys, cases)

    def _own_key(self, connection: sa.Connection, row: Mapping[str, Any]) -> dict[str, Any]:
        """Where a case came into a bucket by a link of keys, it is the link that is undone."""
        version = self._grouping_version(connection)
        query = sa.select(t.key.c.value).where(
            t.key.c.case_id == row["case_id"],
            t.key.c.version == version,
            t.key.c.level == VERSIONS[version],
        )
        own = connection.execute(query).scalar()
        books = self._open_books(connection)
        if own is None or own == row["other_key"] or row["case_id"] in books.grouping.moved:
            return {}
        return {"key": own, "generation": 0}

    def decisions(self) -> list[Mapping[str, Any]]:
        """All of them, the first one first."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(t.decision).order_by(t.decision.c.id))
            return [dict(row._mapping) for row in rows]

    # --- asking -----------------------------------------------------------------------

    def grouping_version(self) -> int:
        """The version of the keys that this store groups by."""
        with self.reading() as connection:
            return self._grouping_version(connection)

    def _grouping_version(self, connection: sa.Connection) -> int:
        query = sa.select(t.meta.c.value).where(t.meta.c.name == "grouping")
        found = int(connection.execute(query).scalar_one())
        if found not in VERSIONS:
            raise UsageError(
                f"the store groups by version {found}, which this program does not know:"
                " use the newer postmortem that wrote it"
            )
        return found

    def totals(self) -> Totals:
        """From counters and short index ranges."""
        query = sa.select(t.tally.c.value, t.tally.c.count).where(
            t.tally.c.bucket_id == "", t.tally.c.name == "state"
        )
        with self.reading() as connection:
            found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
        return Totals(
            inputs=found.get("input", 0),
            cases=sum(found.get(state, 0) for state in ("bucket", "unsorted", "calm")),
            buckets=found.get("buckets", 0),
            unsorted=found.get("unsorted", 0),
            calm=found.get("calm", 0),
            failed=found.get("failed", 0) + found.get("refused", 0),
        )

    def buckets(
        self,
        *,
        limit: int = PAGE,
        after: Bucket | None = None,
        order: str = "crashes",
        state: str | None = None,
        new_since: int | None = None,
        seen_since: int | None = None,
    ) -> list[Bucket]:
        """A page of buckets, the greatest first.

        :param after: the last one of the page before.
        :param order: ``crashes`` or ``last`` (seen).
        :param new_since: only buckets that a run after this one made.
        :param seen_since: only buckets to which a run after this one brought a case.
        """
        b = t.bucket.c
        column = {"crashes": b.crashes, "last": b.last}[order]
        query = sa.select(t.bucket).order_by(*_falling(column, b.id)).limit(limit)
        if after is not None:
            query = query.where(_below(column, b.id, getattr(after, order), after.id))
        if state is not None:
            query = query.where(b.state == state)
        if new_since is not None:
            query = query.where(b.created_run > new_since)
        if seen_since is not None:
            query = query.where(b.seen_run > seen_since)
        with self.reading() as connection:
            return [_read(Bucket, row) for row in connection.execute(query)]

    def news(self, since: int) -> tuple[int, int]:
        """How many buckets are new since a run, and how many others got crashes."""
        b = t.bucket.c
        count = sa.select(sa.func.count()).select_from(t.bucket)
        with self.reading() as connection:
            new = connection.execute(count.where(b.created_run > since)).scalar_one()
            seen = connection.execute(count.where(b.seen_run > since)).scalar_one()
        return new, seen - new

    def bucket(self, name: str) -> Bucket:
        """
        :param name: its id, or the beginning of it.
        :raises UsageError: there is none, or several begin so.
        """
        with self.reading() as connection:
            found: Bucket = _read(Bucket, _bucket_row(connection, name))
        return found

    def bucket_of_key(self, key: str, release: str | None = None) -> Bucket | None:
        """The bucket where a case with this key would go, if there is one already."""
        with self.reading() as connection:
            books = self._open_books(connection)
            place = books.grouping.place((), key, release)
            row = connection.execute(sa.select(t.bucket).where(t.bucket.c.id == place.id)).first()
        return None if row is None else _read(Bucket, row)

    def successors(self, bucket_id: str) -> list[Bucket]:
        """Buckets of hits after this one's fix."""
        query = sa.select(t.bucket).where(t.bucket.c.successor_of == bucket_id)
        with self.reading() as connection:
            return [_read(Bucket, row) for row in connection.execute(query)]

    def tallies(
        self, bucket_id: str, name: str | None = None, limit: int = 1000
    ) -> dict[str, dict[str, int]]:
        """How many crashes of a bucket have which value: ``{"release": {"6.1.0": 12}}``.

        :param bucket_id: ``""`` for all cases together.
        :param name: one of :data:`postmortem.triage.model.FEATURES`; all if it is ``None``.
        :param limit: values of each name, the most frequent first.
        """
        columns = t.tally.c
        query = sa.select(columns.name, columns.value, columns.count).where(
            columns.bucket_id == bucket_id
        )
        if name is not None:
            query = query.where(columns.name == name)
        found: dict[str, dict[str, int]] = {}
        with self.reading() as connection:
            for row in connection.execute(query.order_by(columns.count.desc(), columns.value)):
                values = found.setdefault(row.name, {})
                if len(values) < limit:
                    values[row.value] = row[2]
        return found

    def cases(
        self,
        *,
        bucket: str | None = None,
        state: str | None = None,
        host: str | None = None,
        run: int | None = None,
        limit: int = PAGE,
        after: StoredCase | None = None,
    ) -> list[StoredCase]:
        """A page of cases: of a bucket the newest first, otherwise by id.

        :param after: the last one of the page before.
        """
        c = t.cases.c
        query = sa.select(t.cases).limit(limit)
        if bucket is not None:
            query = query.where(c.bucket_id == bucket).order_by(*_falling(c.time, c.id))
            if after is not None:
                query = query.where(_below(c.time, c.id, after.time, after.id))
        else:
            query = query.order_by(c.id)
            if after is not None:
                query = query.where(c.id > after.id)
        for column, value in ((c.state, state), (c.host, host), (c.run_id, run)):
            if value is not None:
                query = query.where(column == value)
        with self.reading() as connection:
            return [_read(StoredCase, row) for row in connection.execute(query)]

    def case(self, name: str) -> StoredCase:
        """
        :param name: its id, or the beginning of it.
        :raises UsageError: there is none, or several begin so.
        """
        with self.reading() as connection:
            found: StoredCase = _read(StoredCase, _case_row(connection, name))
        return found

    def keys(self, case_id: str) -> dict[str, str]:
        """The keys of a case by level, in the version that this store groups by."""
        with self.reading() as connection:
            query = sa.select(t.key.c.level, t.key.c.value).where(
                t.key.c.case_id == case_id, t.key.c.version == self._grouping_version(connection)
            )
            return {row.level: row.value for row in connection.execute(query)}

    def input(self, input_id: str) -> StoredInput | None:
        """One input by its id."""
        with self.reading() as connection:
            row = connection.execute(sa.select(t.input).where(t.input.c.id == input_id)).first()
        return None if row is None else _read(StoredInput, row)

    def inputs(
        self, *, state: str | None = None, limit: int = PAGE, after: str | None = None
    ) -> list[StoredInput]:
        """A page of inputs by id; ``state`` failed or refused are those that gave no case."""
        query = sa.select(t.input).order_by(t.input.c.id).limit(limit)
        if state is not None:
            query = query.where(t.input.c.state == state)
        if after is not None:
            query = query.where(t.input.c.id > after)
        with self.reading() as connection:
            return [_read(StoredInput, row) for row in connection.execute(query)]

    def files(self, input_id: str) -> list[str]:
        """All names under which a content was seen."""
        query = sa.select(t.file.c.name).where(t.file.c.input_id == input_id)
        with self.reading() as connection:
            return sorted(connection.execute(query).scalars())

    def reports(self, input_id: str) -> list[Mapping[str, Any]]:
        """The reports in the log of an input, in its order."""
        r = t.report
        query = sa.select(r).where(r.c.input_id == input_id).order_by(r.c.number)
        with self.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def document(self, input_id: str) -> dict[str, Any] | None:
        """The whole analysis (docs/json.md); ``postmortem.read_json`` makes an Analysis of it."""
        query = sa.select(t.document.c.data).where(t.document.c.input_id == input_id)
        with self.reading() as connection:
            data = connection.execute(query).scalar()
        return None if data is None else unpacked(data)

    def regroup(
        self, version: int, *, dry: bool, progress: Callable[[int], None] | None = None
    ) -> dict[tuple[str, str], int]:
        """Group all cases by another version of the keys; what moves, see grouping.moves().

        :param dry: nothing is changed.
        """
        if version not in VERSIONS:
            known = ", ".join(map(str, sorted(VERSIONS)))
            raise UsageError(f"there is no grouping version {version}: there are {known}")
        from postmortem.triage.regroup import regroup

        with self.writing() as connection:
            moved = regroup(connection, version, _decisions(connection, version), progress, dry=dry)
        self._books = None
        return moved


# --- helpers --------------------------------------------------------------------------


def name_id(name: str) -> str:
    """The key of a file's name, which may be longer than a database indexes."""
    import hashlib

    return hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()


def printable(name: str) -> str:
    """A file's name as text that every database takes; bytes that are no UTF-8 as ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace").replace("\0", "�")


def _slices(items: Sequence[Any], count: int = 500) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]


_JSON = {"fixed_in", "features", "terms", "problems", "arguments"}


def _read(cls: Any, row: Any) -> Any:
    """A row as its dataclass; lists of lists are tuples again."""
    values = {}
    for name, value in row._mapping.items():
        if name in _JSON:
            value = tuple(tuple(v) if isinstance(v, list) else v for v in json.loads(value))
        values[name] = value
    return cls(**values)


def _falling(column: Any, name: Any) -> tuple[Any, Any]:
    """The greatest first, unknown ones at the end; as the index has it where none is unknown."""
    first = column.desc().nulls_last() if column.nullable else column.desc()
    return first, name.desc()


def _below(column: Any, name: Any, value: Any, last: str) -> Any:
    """What sorts after (value, last), both descending, unknown values at the end."""
    if value is None:
        return sa.and_(column.is_(None), name < last)
    rest = sa.or_(column < value, sa.and_(column == value, name < last))
    return rest if not column.nullable else sa.or_(rest, column.is_(None))


def _one_by_prefix(connection: sa.Connection, table: sa.Table, name: str, what: str) -> Any:
    query = sa.select(table).where(table.c.id == name)
    row = connection.execute(query).first()
    if row is not None:
        return row
    # A range of ids, not LIKE: what a user types is no pattern.
    query = sa.select(table).where(table.c.id >= name, table.c.id < name + "~").limit(2)
    rows = connection.execute(query).all() if len(name) >= 2 and name.isascii() else []
    if len(rows) == 1:
        return rows[0]
    shown = name[:40] if name.isprintable() else ascii(name[:40])
    if rows:
        raise UsageError(f"more than one {what} begins with {shown}: give more of its id")
    raise UsageError(f"there is no {what} {shown} in the store: postmortem triage list shows them")


def _bucket_row(connection: sa.Connection, name: str) -> Any:
    return _one_by_prefix(connection, t.bucket, name, "bucket")


def _case_row(connection: sa.Connection, name: str) -> Any:
    return _one_by_prefix(connection, t.cases, name, "case")


def _side(bucket: Any, prefix: str) -> dict[str, Any]:
    """A bucket in a decision: its key, and a case that finds it again under other keys."""
    return {
        f"{prefix}key": bucket.key,
        f"{prefix}generation": bucket.generation,
        f"{prefix}case_id": bucket.best_case,
    }


def _decisions(connection: sa.Connection, version: int) -> list[Decision]:
    """All decisions; those of another grouping version by the keys that their cases have now."""
    rows = connection.execute(sa.select(t.decision).order_by(t.decision.c.id)).all()
    wanted = {
        case for row in rows if row.version != version for case in (row.case_id, row.other_case_id)
    } - {None}
    now: dict[str, str] = {}
    for some in _slices(sorted(wanted)):
        query = sa.select(t.key.c.case_id, t.key.c.value).where(
            t.key.c.case_id.in_(some),
            t.key.c.version == version,
            t.key.c.level == VERSIONS[version],
        )
        now.update((row.case_id, row.value) for row in connection.execute(query))

    def translated(row: Any, key: str | None, case_id: str | None) -> str | None:
        return key if row.version == version or key is None else now.get(case_id or "")

    found = []
    for row in rows:
        about_case = row.key is None
        found.append(
            Decision(
                action=Action(row.action),
                key=translated(row, row.key, row.case_id),
                generation=row.generation or 0,
                case_id=row.case_id if about_case else None,
                other_key=translated(row, row.other_key, row.other_case_id),
                other_generation=row.other_generation or 0,
                releases=tuple(json.loads(row.releases)),
            )
        )
    return found


# --- engines --------------------------------------------------------------------------


def default_store() -> Path:
    """Where a store is if nobody says: below ``$XDG_DATA_HOME``."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "postmortem" / "triage.db"


def _engine(where: str, create: bool) -> sa.Engine:
    if "://" not in where:
        path = Path(where)
        if path.is_dir():
            raise UsageError(f"{printable(where)} is a directory: name a file for the store")
        if not path.exists():
            if not create:
                raise StoreError(
                    f"there is no store at {printable(where)}: postmortem triage PATH... makes one"
                )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(_sentence(printable(where), error.strerror or "")) from None
        url: sa.URL | str = sa.URL.create("sqlite", database=where)
    else:
        url = where.replace("postgresql://", "postgresql+psycopg://", 1)
        url = url.replace("postgres://", "postgresql+psycopg://", 1)
    try:
        engine = sa.create_engine(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise UsageError(f"the store can't be opened: {_first_line(str(error))}") from None
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine)
    return engine


def _tune_sqlite(engine: sa.Engine) -> None:
    """Readers beside one writer (WAL), and a transaction that is what BEGIN says.

    The driver begins one by itself, and only before it writes: two that read before they
    write would both hold a lock that the other one waits for.
    """

    @sa.event.listens_for(engine, "connect")
    def connected(raw: Any, _record: Any) -> None:
        raw.isolation_level = None
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("postmortem_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _shown(engine: sa.Engine, where: str) -> str:
    return engine.url.render_as_string(hide_password=True) if "://" in where else printable(where)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0][:300]


def _sentence(where: str, why: str) -> str:
    advice = "check the path and the rights"
    if "full" in why or "No space" in why:
        advice = "make room, then run the same command again: it goes on where it stopped"
    elif "locked" in why:
        advice = "another program holds it: run the same command again"
    elif "not a database" in why or "malformed" in why:
        advice = "it is no store, or damaged: name another file"
    return f"the store {where} can't be used ({_first_line(why)}): {advice}"


__all__ = ["Bucket", "Place", "PostmortemError", "Run", "Seen", "Store", "StoredCase"]
