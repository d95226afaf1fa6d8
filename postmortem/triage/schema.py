"""The tables of a triage store, and how a store of an older program becomes one of this program.

SQLite and PostgreSQL alike. Times are whole seconds since the epoch. Ids of inputs, cases and
buckets are hashes of what they stand for: two stores that saw the same crashes have the same
ids, and the order in which crashes were seen leaves no trace.

To add a table or a column: change it here, raise :data:`SCHEMA_VERSION` by one and give
:data:`MIGRATIONS` the step from the version before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    func,
    inspect,
    literal,
    select,
)

from postmortem.errors import UsageError

SCHEMA_VERSION = 3

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""``schema`` (version of the tables), ``grouping`` (version of the keys that buckets are made
by), ``writer`` (the row that whoever writes locks)."""

run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("state", Text, nullable=False),  # running, complete, interrupted
    Column("program", Text, nullable=False),  # version of postmortem
    Column("machine", Text, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON list
    Column("found", Integer, nullable=False, default=0),  # inputs
    Column("known", Integer, nullable=False, default=0),  # of them: seen before
    Column("analysed", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
)

file = Table(
    "file",
    metadata,
    Column("id", Text, primary_key=True),  # hash of the name: names may be longer than a key
    Column("name", Text, nullable=False),  # path or URL; ARCHIVE!/MEMBER inside an archive
    Column("size", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),  # mtime in ns, or what a server says instead
    Column("input_id", Text, nullable=False),
    Index("file_input", "input_id"),
)
"""What each name held when it was last read: not read again while size and time stay."""

input = Table(
    "input",
    metadata,
    Column("id", Text, primary_key=True),  # hash of the content
    Column("name", Text, nullable=False),  # one of its names, for people
    Column("state", Text, nullable=False),  # analysed, failed, refused
    Column("reason", Text),  # one sentence, where it is not analysed
    Column("kind", Text),  # vmcore, kcore, log
    Column("format", Text),
    Column("size", BigInteger, nullable=False),
    Column("complete", Boolean),
    Column("problems", Text, nullable=False),  # JSON list of {"what", "why"}
    Column("program", Text, nullable=False),  # version that analysed it
    Column("seconds", Double),
    Column("run_id", Integer, nullable=False),
    Index("input_state", "state", "id"),
)
"""A content: one file, or all the files of one crash (a dump and the log beside it)."""

document = Table(
    "document",
    metadata,
    Column("input_id", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),  # docs/json.md, as zstd
)

report = Table(
    "report",
    metadata,
    Column("input_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),  # order in the log, from 0
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("function", Text),
    Column("module", Text),
    Column("line", Integer, nullable=False),
    Column("boot", Integer, nullable=False),
    Column("seconds", Double),  # since boot
    Column("consequence_of", Integer),
    Column("count", Integer, nullable=False),
    Column("exact", Text),
    Column("frames", Text),
    Column("coarse", Text),
)
"""Every report in the logs of all inputs, bounded for each."""

cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("input_id", Text, nullable=False),
    Column("part", Integer, nullable=False),  # boot number in a log of several crashes, else 0
    Column("state", Text, nullable=False),  # bucket, unsorted, calm
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("confidence", Text, nullable=False),
    Column("function", Text),
    Column("module", Text),
    Column("line", Integer),  # of the report in the log
    Column("source", Text, nullable=False),  # vmcore, kcore, log
    Column("time", BigInteger),
    Column("time_from", Text, nullable=False),  # dump, log, file, unknown
    Column("host", Text),
    Column("release", Text),
    Column("arch", Text),
    Column("model", Text),
    Column("firmware", Text),
    Column("uptime", Double),
    Column("features", Text, nullable=False),  # JSON list of [name, value], see model.Features
    Column("terms", Text, nullable=False),  # JSON list of [term, weight], see similar.py
    Column("incident", Text),  # equal: the same crash, seen in two inputs
    Column("leads", Boolean, nullable=False),  # the one case of its crash that counts
    Column("rank", Text, nullable=False),  # the greatest of a bucket is its best example
    Column("bucket_id", Text),
    Column("run_id", Integer, nullable=False),
    Index("cases_input", "input_id"),
    Index("cases_bucket_rank", "bucket_id", "rank"),
    Index("cases_incident", "incident"),
    Index("cases_state", "state", "id"),
    Index("cases_host", "host", "id"),
    Index("cases_run", "run_id"),
)
"""One crash as one input tells of it."""


def _newest_first(name: str, column: Column[int], *before: Column[str]) -> None:
    """An index for lists that have the newest first and what has no time at the end.

    That is how SQLite sorts in any case; PostgreSQL takes NULL for the greatest unless told.
    """
    table = column.table
    last = table.c.id
    plain = Index(name, *before, column, last)
    plain.ddl_if(dialect="sqlite")
    told = Index(name, *before, column.desc().nulls_last(), last.desc())
    told.ddl_if(dialect="postgresql")


_newest_first("cases_bucket_time", cases.c.time, cases.c.bucket_id)

key = Table(
    "key",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("level", Text, primary_key=True),  # exact, frames, coarse
    Column("value", Text, nullable=False),
    Index("key_value", "version", "level", "value"),
)

bucket = Table(
    "bucket",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),  # of the grouping
    Column("key", Text, nullable=False),
    Column("generation", Integer, nullable=False),  # how many fixes came before its cases
    Column("successor_of", Text),  # the bucket of the generation before
    Column("state", Text, nullable=False),  # open, fixed
    Column("fixed_in", Text, nullable=False),  # JSON list of releases
    Column("title", Text, nullable=False),  # of the best case
    Column("shown", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("function", Text),
    Column("module", Text),
    Column("best_case", Text, nullable=False),
    Column("cases", Integer, nullable=False),  # inputs that tell of it
    Column("crashes", Integer, nullable=False),  # a dump and a log of one crash count once
    Column("hosts", Integer, nullable=False),  # known by name
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("created_run", Integer, nullable=False),
    Column("seen_run", Integer, nullable=False),  # the last one that brought a case
    Index("bucket_crashes", "crashes", "id"),
    Index("bucket_created", "created_run"),
    Index("bucket_seen", "seen_run"),
)
"""What one bug left. Its counters are kept up at every change: a list never counts."""

_newest_first("bucket_last", bucket.c.last)

tally = Table(
    "tally",
    metadata,
    Column("bucket_id", Text, primary_key=True),  # or ALL, or ALL_BUCKETS
    Column("name", Text, primary_key=True),  # host, release, day ... see model.Features
    Column("value", Text, primary_key=True),
    Column("count", Integer, nullable=False),  # of crashes
)
"""Counters of each bucket, of all cases together, and of all that are in buckets."""

ALL = ""
ALL_BUCKETS = "*"
OF_ALL_BUCKETS = ("day", "host")
"""What is counted for all buckets together, without what is calm or unsorted."""
TOLD = ("module", "option", "taint")
"""Lists that a log may not have at all: a crash has the value ``told`` for those that are known."""
LEADING = "leading"
"""The value of ``state`` that counts crashes, each once."""

machine = Table(
    "machine",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("host", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("kernel", Text, nullable=False),
    Column("begin", BigInteger, nullable=False),
    Column("end", BigInteger),  # it still does, if there is none
)
"""The table of hosts: which machine ran which kernel, when (:mod:`postmortem.triage.fleet`)."""

term = Table(
    "term",
    metadata,
    Column("term", Text, primary_key=True),
    Column("bucket_id", Text, primary_key=True),
    Column("weight", Double, nullable=False),
    Index("term_bucket", "bucket_id"),
)
"""The words of each bucket's best example, for ``similar``."""

decision = Table(
    "decision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),  # see grouping.Action
    Column("version", Integer, nullable=False),  # of the grouping that the keys are of
    Column("case_id", Text),  # the case it is about, or one of the bucket's
    Column("key", Text),  # of the bucket it is about
    Column("generation", Integer),
    Column("other_case_id", Text),  # the same of the other side
    Column("other_key", Text),
    Column("other_generation", Integer),
    Column("releases", Text, nullable=False, default="[]"),  # JSON list
    Column("note", Text, nullable=False, default=""),
)
"""What people decided; kept for ever and applied again at every grouping."""


def _from_1(connection: Connection) -> None:
    """Indexes that PostgreSQL can use, and counters of crashes, days and hosts of all buckets."""
    if connection.dialect.name == "postgresql":
        for name, table, columns in (
            ("cases_bucket_time", "cases", "bucket_id, time DESC NULLS LAST, id DESC"),
            ("bucket_last", "bucket", "last DESC NULLS LAST, id DESC"),
        ):
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
            connection.exec_driver_sql(f"CREATE INDEX {name} ON {table} ({columns})")
    c = tally.c
    of_buckets = (
        select(literal(ALL_BUCKETS), c.name, c.value, func.sum(c.count))
        .where(c.bucket_id != ALL, c.name.in_(OF_ALL_BUCKETS))
        .group_by(c.name, c.value)
    )
    _insert_tallies(connection, of_buckets)
    _insert_tallies(connection, _leading(literal(ALL), "state", LEADING, cases.c.leads))
    for name in TOLD:
        told = and_(cases.c.leads, cases.c.features.like(f'%["{name}", "%'))
        _insert_tallies(connection, _leading(literal(ALL), "told", name, told))
        in_bucket = and_(told, cases.c.bucket_id.is_not(None))
        _insert_tallies(connection, _leading(cases.c.bucket_id, "told", name, in_bucket))


def _leading(bucket_id: Any, name: str, value: str, where: Any) -> Any:
    """Rows for ``tally`` that count cases."""
    return (
        select(bucket_id, literal(name), literal(value), func.count())
        .select_from(cases)
        .where(where)
        .group_by(bucket_id)
    )


def _insert_tallies(connection: Connection, rows: Any) -> None:
    connection.execute(tally.insert().from_select(list(tally.c), rows))


def _from_2(connection: Connection) -> None:
    """The table of hosts."""
    machine.create(connection, checkfirst=True)


MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _from_1, 2: _from_2}
"""By the version that a step starts from."""


def prepare(connection: Connection, grouping: int) -> None:
    """Make the tables, or bring those of an older program up to date; in one transaction.

    :param grouping: version of the keys that a new store groups by.
    :raises UsageError: a newer program made the store.
    """
    if not inspect(connection).has_table(meta.name):
        metadata.create_all(connection)
        rows = {"schema": SCHEMA_VERSION, "grouping": grouping, "writer": 0}
        connection.execute(
            meta.insert(), [{"name": n, "value": str(value)} for n, value in rows.items()]
        )
        return
    found = version(connection)
    if found > SCHEMA_VERSION:
        raise UsageError(
            f"the store has version {found}, this program knows {SCHEMA_VERSION}:"
            " use the newer postmortem that wrote it"
        )
    for number in range(found, SCHEMA_VERSION):
        MIGRATIONS[number](connection)
    if found < SCHEMA_VERSION:
        connection.execute(
            meta.update().where(meta.c.name == "schema").values(value=str(SCHEMA_VERSION))
        )


def version(connection: Connection) -> int:
    """The version of the tables that are there."""
    return int(connection.execute(select(meta.c.value).where(meta.c.name == "schema")).scalar_one())
