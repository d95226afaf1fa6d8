"""All cases of a store grouped by another version of the keys, or only what that would move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

import postmortem
from postmortem.triage import schema as t
from postmortem.triage.books import Books
from postmortem.triage.facts import bugs_of
from postmortem.triage.grouping import VERSIONS, Decision, Grouping, moves
from postmortem.triage.store_document import unpacked

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
    rows = sa.select(t.key.c.case_id, sa.literal(version), t.key.c.level, t.key.c.value).where(
        t.key.c.version == older, _lacks(version, t.key.c.case_id, t.key.c.level)
    )
    connection.execute(t.key.insert().from_select(_COLUMNS, rows))
    if VERSIONS[version] == "bug":
        _from_documents(connection, version)
    # Where there is no document any more, the frames are all that is left to group by.
    level = VERSIONS[version]
    rows = sa.select(t.key.c.case_id, sa.literal(version), sa.literal(level), t.key.c.value).where(
        t.key.c.version == version,
        t.key.c.level == "frames",
        _lacks(version, t.key.c.case_id, sa.literal(level)),
    )
    connection.execute(t.key.insert().from_select(_COLUMNS, rows))


_COLUMNS = ("case_id", "version", "level", "value")


def _lacks(version: int, case_id: Any, level: Any) -> Any:
    """Whether a case has no key of a level in a version."""
    here = t.key.alias()
    return ~sa.exists().where(
        here.c.case_id == case_id, here.c.version == version, here.c.level == level
    )


def _from_documents(connection: sa.Connection, version: int) -> None:
    """Keys that an older program did not make, from the analyses that it left."""
    c = t.cases.c
    known = sa.select(t.key.c.case_id).where(
        t.key.c.version == version, t.key.c.level == "frames", t.key.c.case_id == c.id
    )
    lacking = sa.and_(known.exists(), _lacks(version, c.id, sa.literal("bug")))
    last = ""
    while True:
        page = (
            sa.select(c.input_id, t.document.c.data)
            .join(t.document, t.document.c.input_id == c.input_id)
            .where(lacking, c.input_id > last)
            .group_by(c.input_id, t.document.c.data)
            .order_by(c.input_id)
            .limit(_DOCUMENTS)
        )
        documents = connection.execute(page).all()
        if not documents:
            return
        last = documents[-1].input_id
        found = {row.input_id: _bugs(row.data) for row in documents}
        cases = sa.select(c.id, c.input_id, c.part).where(c.input_id.in_(found), lacking)
        rows = [
            {"case_id": row.id, "version": version, "level": "bug", "value": value}
            for row in connection.execute(cases).all()
            if (value := found[row.input_id].get(row.part)) is not None
        ]
        if rows:
            connection.execute(t.key.insert(), rows)


_DOCUMENTS = 200


def _bugs(data: bytes) -> dict[int, str]:
    """The keys of the cases that a stored analysis tells of, by their parts."""
    try:
        return bugs_of(postmortem.read_json(unpacked(data)))
    except ValueError:
        return {}  # of a program whose documents this one can't read
