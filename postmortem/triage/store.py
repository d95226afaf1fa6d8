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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from postmortem.errors import UsageError
from postmortem.triage import schema as t
from postmortem.triage.books import Books
from postmortem.triage.engine import open_engine, shown
from postmortem.triage.grouping import GROUPING_VERSION, VERSIONS, Action, Decision, Grouping
from postmortem.triage.model import Outcome
from postmortem.triage.questions import Questions, bucket_row, case_row, slices
from postmortem.triage.rows import Bucket, Seen, name_id, printable, read_row


class Store(Questions):
    """A store that is open. One thread, one process."""

    def __init__(self, engine: sa.Engine, where: str) -> None:
        super().__init__(engine, where)
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
        engine = open_engine(text, create)
        store = cls(engine, shown(engine, text))
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
            with super()._explained():
                yield
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
        for some in slices(list(new)):
            connection.execute(t.file.delete().where(t.file.c.id.in_(some)))
        if new:
            connection.execute(t.file.insert(), list(new.values()))

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
                row |= _side(bucket_row(connection, bucket), "")
            if other is not None:
                row |= _side(bucket_row(connection, other), "other_")
            cases = () if case is None else (case_row(connection, case).id,)
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

    def bucket_of_key(self, key: str, release: str | None = None) -> Bucket | None:
        """The bucket where a case with this key would go, if there is one already."""
        with self.reading() as connection:
            books = self._open_books(connection)
            place = books.grouping.place((), key, release)
            row = connection.execute(sa.select(t.bucket).where(t.bucket.c.id == place.id)).first()
        return None if row is None else read_row(Bucket, row)

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
    for some in slices(sorted(wanted)):
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
