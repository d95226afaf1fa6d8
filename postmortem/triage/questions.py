"""What can be asked of a store; :mod:`postmortem.triage.store` writes it.

Lists come in pages and read counters and indexes only, so that a million cases cost no more than a
thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from postmortem.errors import UsageError
from postmortem.triage import schema as t
from postmortem.triage.engine import StoreError, sentence
from postmortem.triage.grouping import VERSIONS
from postmortem.triage.rows import (
    Bucket,
    Run,
    Seen,
    StoredCase,
    StoredInput,
    Totals,
    name_id,
    read_row,
)
from postmortem.triage.store_document import unpacked

PAGE = 50


class Questions:
    """A store that is open, and what it can be asked. One thread, one process."""

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self.engine = engine
        self.where = where
        """Its path or URL for people, without a password."""

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(sentence(self.where, str(error.orig))) from error
        except SQLAlchemyError as error:
            raise StoreError(sentence(self.where, str(error))) from error

    # --- runs -------------------------------------------------------------------------

    def runs(self, limit: int = PAGE) -> list[Run]:
        """The newest first."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(t.run).order_by(t.run.c.id.desc()).limit(limit))
            return [read_row(Run, row) for row in rows]

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
            for some in slices(list(ids)):
                query = sa.select(f.id, f.size, f.changed, f.input_id).where(f.id.in_(some))
                for row in connection.execute(query):
                    found[ids[row.id]] = Seen(row.size, row.changed, row.input_id)
        return found

    def known(self, input_ids: Collection[str]) -> dict[str, str]:
        """Of the given contents those that are in the store, and their states."""
        found: dict[str, str] = {}
        with self.reading() as connection:
            for some in slices(list(input_ids)):
                query = sa.select(t.input.c.id, t.input.c.state).where(t.input.c.id.in_(some))
                found.update((row.id, row.state) for row in connection.execute(query))
        return found

    # --- buckets ----------------------------------------------------------------------

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
        query = sa.select(t.bucket)
        last = None if after is None else (getattr(after, order), after.id)
        if state is not None:
            query = query.where(b.state == state)
        if new_since is not None:
            query = query.where(b.created_run > new_since)
        if seen_since is not None:
            query = query.where(b.seen_run > seen_since)
        with self.reading() as connection:
            rows = _page(connection, query, column, b.id, last, limit)
            return [read_row(Bucket, row) for row in rows]

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
            found: Bucket = read_row(Bucket, bucket_row(connection, name))
        return found

    def successors(self, bucket_id: str) -> list[Bucket]:
        """Buckets of hits after this one's fix."""
        query = sa.select(t.bucket).where(t.bucket.c.successor_of == bucket_id)
        with self.reading() as connection:
            return [read_row(Bucket, row) for row in connection.execute(query)]

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

    # --- cases and inputs -------------------------------------------------------------

    def counted(self, bucket_id: str, name: str) -> int:
        """How many values of a name a bucket has: hosts, days."""
        c = t.tally.c
        query = sa.select(sa.func.count()).where(c.bucket_id == bucket_id, c.name == name)
        with self.reading() as connection:
            return connection.execute(query).scalar_one()

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
        wanted = ((c.bucket_id, bucket), (c.state, state), (c.host, host), (c.run_id, run))
        where = [column == value for column, value in wanted if value is not None]
        query = sa.select(t.cases).where(*where)
        with self.reading() as connection:
            if bucket is not None:
                last = None if after is None else (after.time, after.id)
                rows = _page(connection, query, c.time, c.id, last, limit)
                return [read_row(StoredCase, row) for row in rows]
            if after is not None:
                query = query.where(c.id > after.id)
            found = connection.execute(query.order_by(c.id).limit(limit)).all()
            return [read_row(StoredCase, row) for row in found]

    def case(self, name: str) -> StoredCase:
        """
        :param name: its id, or the beginning of it.
        :raises UsageError: there is none, or several begin so.
        """
        with self.reading() as connection:
            found: StoredCase = read_row(StoredCase, case_row(connection, name))
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
        return None if row is None else read_row(StoredInput, row)

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
            return [read_row(StoredInput, row) for row in connection.execute(query)]

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

    def decisions(self) -> list[Mapping[str, Any]]:
        """All of them, the first one first."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(t.decision).order_by(t.decision.c.id))
            return [dict(row._mapping) for row in rows]


# --- helpers --------------------------------------------------------------------------


def slices(items: Sequence[Any], count: int = 500) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]


def _page(
    connection: sa.Connection,
    query: Any,
    column: Any,
    name: Any,
    last: tuple[Any, str] | None,
    limit: int,
) -> list[Any]:
    """A page of a list that falls by a column, then by id; rows where it is unknown at the end.

    Two ranges of the index, one after the other: a condition that holds for both would be held
    against every row of the pages before.

    :param last: column and id of the last row of the page before.
    """
    # Said for the index only where it may be unknown: the order is the same.
    falling = column.desc().nulls_last() if column.nullable else column.desc()
    rows: list[Any] = []
    if last is None or last[0] is not None:
        known = query if last is None else query.where(sa.tuple_(column, name) < sa.tuple_(*last))
        rows += connection.execute(known.order_by(falling, name.desc()).limit(limit))
        if last is None:
            return rows
    if column.nullable and len(rows) < limit:
        unknown = query.where(column.is_(None))
        if last is not None and last[0] is None:
            unknown = unknown.where(name < last[1])
        rows += connection.execute(unknown.order_by(name.desc()).limit(limit - len(rows)))
    return rows


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


def bucket_row(connection: sa.Connection, name: str) -> Any:
    return _one_by_prefix(connection, t.bucket, name, "bucket")


def case_row(connection: sa.Connection, name: str) -> Any:
    return _one_by_prefix(connection, t.cases, name, "case")
