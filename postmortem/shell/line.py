"""A typed line, taken apart as crash(8) does: command, arguments, redirections, pipe."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from postmortem.errors import UsageError

MAX_CHARS = 64 << 10
"""Nobody types more; a script that holds a longer line is no script."""

_MAX_ALIASES = 16
_OPENING, _CLOSING = "([{", ")]}"
# ``*page 0xffff...`` names the command ``*``, as in crash.
_GDB = frozenset({"p/x", "p/d"})
_NAME = re.compile(r"\*|[^\s|<>]+")


@dataclass(frozen=True)
class Line:
    """One command with what is to become of its output."""

    name: str
    rest: str = ""
    """The arguments as they were typed."""
    pipe: str | None = None
    """What stands behind the first ``|``: for the user's own shell."""
    output: str | None = None
    append: bool = False
    input: str | None = None
    """A file whose lines are arguments, one run a line."""

    @property
    def words(self) -> list[str]:
        """The arguments, unquoted.

        :raises UsageError: a quotation mark has no other half.
        """
        try:
            return shlex.split(self.rest)
        except ValueError as exc:
            raise UsageError(f"{self.name}: {exc}") from None


def is_comment(text: str) -> bool:
    """Whether the line is empty or says nothing to the shell: ``# ...`` or ``// ...``."""
    text = text.strip()
    return not text or text.startswith(("#", "//"))


def expand(text: str, aliases: Mapping[str, str]) -> str:
    """Replace an alias in front by what it stands for; each counts once.

    :raises UsageError: aliases lead from one to the next without end.
    """
    seen: set[str] = set()
    for _ in range(_MAX_ALIASES):
        match = _NAME.match(text)
        if match is None or match.group() in seen or match.group() not in aliases:
            return text
        seen.add(match.group())
        text = aliases[match.group()] + text[match.end() :]
    raise UsageError(f"more than {_MAX_ALIASES} aliases lead into one another")


def parse(text: str) -> Line:
    """Take a line apart.

    ``|``, ``<`` and ``>`` count outside of quotes and brackets only, and the last two
    only behind a blank: ``p init_task->mm`` and ``p (a | b)`` are expressions.

    :raises UsageError: a redirection without a file, nothing behind the pipe.
    """
    if len(text) > MAX_CHARS:
        raise UsageError(f"a line of {len(text)} characters is no command")
    text = text.strip()
    match = _NAME.match(text)
    if match is None:
        raise UsageError(f"no command in {text[:40]!r}")
    name, rest = match.group(), text[match.end() :]
    # p/x is gdb's way to say p -x.
    name, slash, base = name.partition("/") if name in _GDB else (name, "", "")
    rest = f" -{base}{rest}" if slash else rest
    pieces = dict[str, str]()
    kept = 0
    marks = [*_marks(rest), (len(rest), "")]
    for (start, mark), (end, _) in pairwise(marks):
        kept = kept or start + 1
        if mark == "|":
            pieces["|"] = rest[start + 1 :].strip()
            break
        pieces[mark] = rest[start + len(mark) : end].strip()
    arguments = rest[: kept - 1] if kept else rest
    for mark, value in pieces.items():
        if not value:
            raise UsageError(f"nothing follows the {mark}")
    output = pieces.get(">>") or pieces.get(">")
    return Line(
        name,
        arguments.strip(),
        pieces.get("|"),
        _file(output),
        ">>" in pieces,
        _file(pieces.get("<")),
    )


def _file(name: str | None) -> str | None:
    if name is None:
        return None
    words = shlex.split(name)
    if len(words) != 1:
        raise UsageError(f"one file is wanted behind > or <, not {name!r}")
    return words[0]


def _marks(text: str) -> Iterator[tuple[int, str]]:
    """Where ``|``, ``>``, ``>>`` and ``<`` stand that the shell obeys."""
    quote, depth, index = "", 0, 0
    while index < len(text):
        char = text[index]
        if char == "\\" and quote != "'":
            index += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth = max(depth - 1, 0)
        elif char == "|" and not depth:
            yield index, "|"
            return
        elif char in "<>" and not depth and (not index or text[index - 1].isspace()):
            mark = ">>" if text.startswith(">>", index) else char
            yield index, mark
            index += len(mark) - 1
        index += 1
