"""All cases of a store grouped by another version of the keys, or only what that would move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from postmortem.triage import schema as t
from postmortem.triage.books import LEVELS, Books
from postmortem.triage.grouping import VERSIONS, Decision, Grouping, moves

_PAGE = 5000


def regroup(
    connection: sa.Connection,
    version: int,
    decisions: Sequence[Decision],
    progress: Callable[[int], None] | None,
    *,
    dry: bool,
) -> dict[tuple[str, str], int]:
    """Place every case by the keys of ``version``; what moved, see :func:`grouping.moves`.

    :param decisions: with the keys of that version.
    :param dry: nothing is changed.
    """
    undone = connection.begin_nested()
    grouping = Grouping.of(decisions)
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    _copy_keys(connection, version)
    crashes: dict[str, list[Any]] = {}
    c = t.cases.c
    join = sa.and_(
        t.key.c.case_id == c.id,
        t.key.c.version == version,
        t.key.c.level == VERSIONS[version],
    )
    query = sa.select(
        c.id, c.release, c.incident, c.leads, c.bucket_id, t.key.c.value.label("key")
    ).outerjoin(t.key, join)
    for row in connection.execute(query.execution_options(yield_per=_PAGE)):
        before[row.id] = row.bucket_id or ""
        crashes.setdefault(row.incident or row.id, []).append(row)
        if progress is not None and len(before) % _PAGE == 0:
            progress(len(before))
    for members in crashes.values():
        leader = next((row for row in members if row.leads), members[0])
        names = sorted(row.id for row in members)
        for row in members:
            after[row.id] = (
                "" if leader.key is None else grouping.place(names, leader.key, leader.release).id
            )
    if dry:
        undone.rollback()
    else:
        undone.commit()
        books = Books(version, 0, grouping, connection)
        books.rebuild()
        change = t.meta.update().where(t.meta.c.name == "grouping")
        connection.execute(change.values(value=str(version)))
    return moves(before, after)


def _copy_keys(connection: sa.Connection, version: int) -> None:
    """Give every case the keys of ``version`` that it lacks: those of its newest before."""
    older = (
        sa.select(sa.func.max(t.key.c.version)).where(t.key.c.version != version).scalar_subquery()
    )
    here = t.key.alias()
    missing = ~sa.exists().where(
        here.c.case_id == t.key.c.case_id, here.c.version == version, here.c.level == t.key.c.level
    )
    rows = sa.select(t.key.c.case_id, sa.literal(version), t.key.c.level, t.key.c.value).where(
        t.key.c.version == older, t.key.c.level.in_(LEVELS), missing
    )
    connection.execute(t.key.insert().from_select(["case_id", "version", "level", "value"], rows))
