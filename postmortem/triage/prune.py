"""``postmortem triage prune``: what of a pile can be deleted, and nobody would miss.

Of a bug that is well understood the best example, the newest and the oldest dumps are enough. A
file is only ever named if it still is what was analysed: same size, same time. Nothing is deleted
unless somebody says so, and the store keeps the analysis of all.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from postmortem.triage import schema as t
from postmortem.triage.rows import Bucket
from postmortem.triage.store import Store

KEEP = 3
"""Dumps of a bug that stay beside the best example: the newest ones."""
UNDERSTOOD = 10
"""Crashes of a bug that was not said to be fixed; with fewer all are kept."""
_LOG = re.compile(r"dmesg|\.(?:txt|log)(?:\.|$)")
"""The log beside a dump stays, unless logs are to go: it is small, and tells the most."""


@dataclass(frozen=True)
class Doomed:
    """A file that can go."""

    path: str
    size: int
    bucket: str
    case: str


@dataclass(frozen=True)
class Pruned:
    """What came of it."""

    files: tuple[Doomed, ...]
    """That can go, or are gone."""
    problems: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(item.size for item in self.files)


def doomed(
    store: Store, *, keep: int = KEEP, understood: int = UNDERSTOOD, logs: bool = False
) -> Iterator[Doomed]:
    """Files that can be deleted.

    :param keep: Cases of each bucket that stay beside the best and the first.
    :param understood: Crashes from which on a bucket is well understood; fixed ones always are.
    :param logs: Logs too, not only dumps.
    """
    kept_inputs = _needed(store)
    for bucket in _buckets(store):
        if bucket.state != "fixed" and bucket.crashes < understood:
            continue
        staying = _staying(store, bucket, keep)
        # An input may tell of several crashes: it goes when none of them stays.
        kept_inputs |= {case.input_id for case in staying}
    for bucket in _buckets(store):
        if bucket.state != "fixed" and bucket.crashes < understood:
            continue
        for row in _others(store, bucket, logs):
            if row.input_id in kept_inputs or _tells_elsewhere(store, row.input_id, bucket.id):
                continue
            for path, size in _files(store, row.input_id):
                if not logs and _LOG.search(Path(path).name):
                    continue
                yield Doomed(path, size, bucket.id, row.id)


def delete(found: Iterator[Doomed]) -> Pruned:
    """Delete the files; each is looked at once more before it goes."""
    gone, problems = [], []
    for item in found:
        try:
            os.unlink(item.path)  # noqa: PTH108 - a link is not followed
            gone.append(item)
        except OSError as error:
            problems.append(f"{item.path} can't be deleted: {error.strerror or error}")
            continue
        with contextlib.suppress(OSError):  # the folder of a crash of which nothing is left
            Path(item.path).parent.rmdir()
    return Pruned(tuple(gone), tuple(problems))


def _buckets(store: Store) -> Iterator[Bucket]:
    after: Bucket | None = None
    while found := store.buckets(limit=500, after=after):
        yield from found
        after = found[-1]


def _needed(store: Store) -> set[str]:
    """Inputs that a decision of somebody is about."""
    d, c = t.decision.c, t.cases.c
    query = sa.select(c.input_id).where(
        c.id.in_(
            sa.union(
                sa.select(d.case_id).where(d.case_id.is_not(None)),
                sa.select(d.other_case_id).where(d.other_case_id.is_not(None)),
            )
        )
    )
    with store.reading() as connection:
        return set(connection.execute(query).scalars())


def _staying(store: Store, bucket: Bucket, keep: int) -> list[Any]:
    """The best example, the first crash and the newest ones."""
    c = t.cases.c
    base = sa.select(c.id, c.input_id).where(c.bucket_id == bucket.id)
    newest = base.where(c.leads).order_by(c.time.desc().nulls_last(), c.id.desc()).limit(keep)
    first = base.where(c.leads).order_by(c.time.asc().nulls_last(), c.id).limit(1)
    best = base.where(c.id == bucket.best_case)
    with store.reading() as connection:
        return [row for query in (newest, first, best) for row in connection.execute(query)]


def _others(store: Store, bucket: Bucket, logs: bool) -> list[Any]:
    c = t.cases.c
    query = sa.select(c.id, c.input_id).where(c.bucket_id == bucket.id)
    if not logs:
        query = query.where(c.source == "vmcore")
    with store.reading() as connection:
        return list(connection.execute(query.order_by(c.id)))


def _tells_elsewhere(store: Store, input_id: str, bucket: str) -> bool:
    """Whether the same input tells of another bug, or of one that nobody has sorted."""
    c = t.cases.c
    query = (
        sa.select(c.id)
        .where(c.input_id == input_id, sa.or_(c.bucket_id != bucket, c.bucket_id.is_(None)))
        .limit(1)
    )
    with store.reading() as connection:
        return connection.execute(query).first() is not None


def _files(store: Store, input_id: str) -> Iterator[tuple[str, int]]:
    """The plain files of an input that are what they were when they were analysed."""
    f = t.file.c
    query = sa.select(f.name, f.size, f.changed).where(f.input_id == input_id).order_by(f.name)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        try:
            found = os.lstat(row.name)
        except (OSError, ValueError):
            continue  # of an archive, on a server, or gone
        same = (found.st_size, found.st_mtime_ns) == (row.size, row.changed)
        if same and stat.S_ISREG(found.st_mode) and Path(row.name).is_absolute():
            yield row.name, row.size
