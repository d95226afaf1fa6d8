"""A long report on a terminal, one screen at a time."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import IO

from postmortem.cli.output import open_output
from postmortem.steps import printing

LESS = "FRX"
"""Leave when all fits, show colours, keep the text on the screen: what git asks of less."""


def open_paged() -> contextlib.AbstractContextManager[IO[str]]:
    """Standard output, through a pager where somebody sits in front of it."""
    words = command()
    return paged(words) if words else open_output()


def command() -> list[str] | None:
    """What pages standard output; ``None`` where nothing should.

    ``$PAGER`` chooses, as everywhere; ``cat`` or nothing in it means none.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb").lower() in ("dumb", "unknown"):
        return None
    import shlex
    import shutil

    try:
        words = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:  # a quotation mark without its other half
        return None
    if not words or words == ["cat"] or shutil.which(words[0]) is None:
        return None
    return words


@contextlib.contextmanager
def paged(words: list[str]) -> Iterator[IO[str]]:
    """A file that looks like the terminal; what was written is shown when it is closed."""
    import subprocess

    printing()
    page = _Screen()
    yield page
    env = {"LESS": LESS, **os.environ}
    with subprocess.Popen(words, stdin=subprocess.PIPE, env=env) as process:
        # Ctrl-C is the pager's: it ends a search there, and must not end us under it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            # A reader who leaves before the end has seen enough.
            process.communicate(page.getvalue().encode(errors="backslashreplace"))
        finally:
            signal.signal(signal.SIGINT, before)


class _Screen(io.StringIO):
    """Has the colours of the terminal that the pager will show it on."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True
