"""Where a store is, and how its database is opened: SQLite by path, others by URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from postmortem.errors import UnreadableInputError, UsageError
from postmortem.triage.rows import printable

BUSY_SECONDS = 60
"""How long a writer waits for its turn."""


class StoreError(UnreadableInputError):
    """The store can't be read or written."""


def default_store() -> Path:
    """Where a store is if nobody says: below ``$XDG_DATA_HOME``."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "postmortem" / "triage.db"


def open_engine(where: str, create: bool) -> sa.Engine:
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
                raise StoreError(sentence(printable(where), error.strerror or "")) from None
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


def shown(engine: sa.Engine, where: str) -> str:
    return engine.url.render_as_string(hide_password=True) if "://" in where else printable(where)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0][:300]


def sentence(where: str, why: str) -> str:
    advice = "check the path and the rights"
    if "full" in why or "No space" in why:
        advice = "make room, then run the same command again: it goes on where it stopped"
    elif "locked" in why:
        advice = "another program holds it: run the same command again"
    elif "not a database" in why or "malformed" in why:
        advice = "it is no store, or damaged: name another file"
    return f"the store {where} can't be used ({_first_line(why)}): {advice}"
