"""Flame graphs and graphs of waits on the page of a dump: drawn from the dump itself.

A store keeps the analysis and not the pictures. Where the dump still is what was analysed, a
process of its own reads it once more and writes the page; whatever ends that process, the page
without pictures is there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import sqlalchemy as sa

from postmortem.render.html import Crumb
from postmortem.triage import schema as t
from postmortem.triage.store import Store

SECONDS = 120
MAX_BYTES = 16 << 20
"""Of one page."""
_MAIN = "<main>\n"


def drawn_page(store: Store, input_id: str, crumbs: Sequence[Crumb], *, redact: bool) -> str | None:
    """The whole page of a dump, with its pictures; ``None`` if it is no longer there or fails."""
    source = _source(store, input_id)
    if source is None:
        return None
    with tempfile.TemporaryDirectory(prefix="postmortem-") as folder:
        out = Path(folder, "page.html")
        words = ["analyze", "-o", str(out), *(["--redact"] if redact else []), "--", source]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, "-m", "postmortem", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        if not out.is_file() or out.stat().st_size > MAX_BYTES:
            return None
        text = out.read_text(encoding="utf-8")
    return text.replace(_MAIN, _MAIN + _nav(crumbs), 1)


def _source(store: Store, input_id: str) -> str | None:
    """The file, or the folder of a dump with the log beside it, if all is as it was."""
    f = t.file.c
    query = sa.select(f.name, f.size, f.changed).where(f.input_id == input_id)
    with store.reading() as connection:
        rows = connection.execute(query.limit(50)).all()
    there = [row.name for row in rows if _is_as_it_was(row.name, row.size, row.changed)]
    folders = {os.path.dirname(name) for name in there}  # noqa: PTH120 - text, not a path of ours
    if len(there) == 1:
        return str(there[0])
    return str(folders.pop()) if len(folders) == 1 else next(iter(map(str, there)), None)


def _is_as_it_was(name: str, size: int, changed: int) -> bool:
    try:
        found = os.lstat(name)
    except (OSError, ValueError):
        return False
    return Path(name).is_absolute() and (found.st_size, found.st_mtime_ns) == (size, changed)


def _nav(crumbs: Sequence[Crumb]) -> str:
    """The same links that the template writes."""
    links = "\n".join(
        f'<a href="{escape(crumb.href)}">{escape(crumb.text)}</a>' for crumb in crumbs
    )
    return f'<nav aria-label="pages">{links}\n</nav>\n'
