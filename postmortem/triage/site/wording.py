"""Small words of the pages: days, ranges, names of files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timezone

from postmortem.render import words
from postmortem.triage.rows import StoredCase

NAMES = {
    "module": "module",
    "release": "kernel",
    "model": "model",
    "firmware": "firmware",
    "option": "command line",
    "taint": "taint",
    "arch": "architecture",
    "host": "host",
}


def case_href(name: str) -> str:
    return f"../case/{name}.html"


def where(case: StoredCase) -> str:
    told = (case.host, case.release, minute(case.time), case.source)
    return ", ".join(part for part in told if part and part != "-")


def numbered(name: str, number: int) -> str:
    return f"{name}.html" if number == 1 else f"{name}-{number}.html"


def few(values: Mapping[str, int]) -> str:
    names = list(values)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "-"


def chance(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-6 else "below 1e-6"


def as_date(unix: int) -> date:
    return datetime.fromtimestamp(unix, timezone.utc).date()


def day(unix: int | None) -> str:
    return "-" if unix is None else words.date(unix).split(" ")[0]


def minute(unix: int | None) -> str:
    return "-" if unix is None else words.date(unix).rpartition(":")[0] or words.date(unix)
