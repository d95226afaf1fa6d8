"""What the output can show: how wide it is, and whether it has colours.

A report is mostly fixed lines; what is left (six styles, wrapping prose) is less
than loading a library for it costs each run.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

DEFAULT_WIDTH = 80
RESET = "\x1b[0m"

STYLES = {
    "bad": "\x1b[1;31m",
    "warn": "\x1b[1;33m",
    "good": "\x1b[1;32m",
    "heading": "\x1b[1m",
    "label": "\x1b[2m",
    "aside": "\x1b[2m",
    "name": "\x1b[1m",
    "module": "\x1b[36m",
    "mark": "\x1b[1;31m",
}

Span = tuple[str, str]
"""A string and its style; the empty style is plain."""


@dataclass(frozen=True)
class Terminal:
    """What a file that is written to can show."""

    is_terminal: bool
    colours: bool
    width: int
    """In columns."""


def terminal(file: IO[str] | None, width: int | None = None) -> Terminal:
    """Look at ``file``, and at the variables that speak for it (``NO_COLOR``, ``COLUMNS`` ...)."""
    forced = os.environ.get("FORCE_COLOR", "") != ""
    is_terminal = forced or _is_terminal(file)
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    plain = os.environ.get("NO_COLOR", "") != "" or dumb
    return Terminal(is_terminal, is_terminal and not plain, width or _width())


def _is_terminal(file: IO[str] | None) -> bool:
    try:
        return file is not None and file.isatty()
    except ValueError:  # it is closed
        return False


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    for number in range(3):  # one of them is the terminal, also when output goes to a pipe
        try:
            return os.get_terminal_size(number).columns or DEFAULT_WIDTH
        except OSError:
            continue
    return DEFAULT_WIDTH


def styled(string: str, style: str) -> str:
    """With the escape sequences of a style."""
    return f"{STYLES[style]}{string}{RESET}" if style and string else string


_WORD = re.compile(r"\s*\S+\s*")


def wrap(spans: Sequence[Span], room: int) -> Iterator[list[Span]]:
    """The lines of a paragraph, broken between words; a word wider than ``room`` is broken too."""
    plain = "".join(string for string, _ in spans)
    edges = [0, *_breaks(plain, room), len(plain)]
    for start, end in itertools.pairwise(edges):
        end = start + len(plain[start:end].rstrip())
        yield list(_slice(spans, start, end))


def _breaks(plain: str, room: int) -> Iterator[int]:
    """Where a new line begins."""
    used = 0
    for match in _WORD.finditer(plain):
        start, word = match.start(), match[0]
        length = len(word.rstrip())
        if used + length <= room:
            used += len(word)
            continue
        if used:
            yield start
        while length > room:
            start, word, length = start + room, word[room:], length - room
            yield start
        used = len(word)


def _slice(spans: Sequence[Span], start: int, end: int) -> Iterator[Span]:
    at = 0
    for string, style in spans:
        piece = string[max(start - at, 0) : max(end - at, 0)]
        if piece:
            yield piece, style
        at += len(string)
