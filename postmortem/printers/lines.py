"""A line of the kernel's log that a printer makes, before it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

INFO, WARNING, NOTICE = 6, 4, 5


class Line(NamedTuple):
    """One line of the log."""

    text: str
    level: int | None = None
    """syslog level; ``None`` is the kernel's default (``default_message_loglevel``)."""
    ours: bool = False
    """Not the kernel's words: what could not be read, what is not known."""


def lines(text: str, level: int | None = None) -> Iterator[Line]:
    """The lines of one message; its last line feed ends it."""
    for part in text.removesuffix("\n").split("\n"):
        yield Line(part, level)


def note(what: str) -> Line:
    """A line of ours, which no line of a kernel looks like."""
    return Line(f"[postmortem: {what}]", ours=True)
