"""Invented cases, and all of a store as plain values, to compare two stores."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa

from postmortem.model.findings import Signature
from postmortem.triage import schema as t
from postmortem.triage.model import CaseRow, CaseState, InputState, Outcome
from postmortem.triage.store import Store


def signature(function: str, *frames: str) -> Signature:
    """As rules/blame.py writes one, with names in place of hashes."""
    return Signature(
        exact=f"bug:{function}:{'-'.join(frames)}",
        frames=f"bug:{function}:{'-'.join(frames[:5])}",
        coarse=f"bug:{function}",
    )


def case(function: str = "foo_read", **fields: Any) -> CaseRow:
    """One crash; what is not said is not known."""
    values: dict[str, Any] = {
        "part": 0,
        "state": CaseState.BUCKET,
        "kind": "bug",
        "title": f"kernel BUG in {function}",
        "shown": f"kernel BUG in {function}",
        "summary": "It broke.",
        "confidence": "likely",
        "function": function,
        "module": None,
        "line": 1,
        "source": "log",
        "signature": signature(function, function, "vfs_read"),
        "bug": None,
        "time": None,
        "time_from": "unknown",
        "host": None,
        "release": None,
        "arch": "x86_64",
        "model": None,
        "firmware": None,
        "uptime": None,
        "features": (),
        "terms": (),
        "incident": None,
        "rank": "1",
    }
    return CaseRow(**{**values, **fields})


def outcome(name: str, *cases: CaseRow, **fields: Any) -> Outcome:
    values: dict[str, Any] = {
        "id": hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        "names": (f"/crashes/{name}",),
        "state": InputState.ANALYSED,
        "cases": cases,
    }
    return Outcome(**{**values, **fields})


_OF_A_RUN = {"run_id", "seconds", "created_run", "seen_run", "changed", "time", "name"}
"""What differs between two runs over the same crashes."""
_TABLES = (t.input, t.document, t.report, t.cases, t.key, t.bucket, t.tally, t.term)


def content(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that do not depend on when and by which run they were written."""
    found = {}
    with store.reading() as connection:
        for table in _TABLES:
            dropped = _OF_A_RUN - ({"name", "time"} if table in (t.tally, t.cases) else set())
            columns = [column for column in table.c if column.name not in dropped]
            rows = connection.execute(sa.select(*columns)).all()
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found
