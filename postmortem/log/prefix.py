"""Prefixes that nobody wrote down: learnt from what the lines around a report share.

Loggers, containers, CI services and mailers put things before a message that no
table can hold. But some messages of a report begin with words that are always the
first of their line: what stands before those, in one shape on several lines, is prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from postmortem.log.headers import match_header
from postmortem.log.lines import clock_of, record_of_text
from postmortem.model.report import Record

MAX_PREFIX = 160
_LONGEST = 4096
"""Characters that wrapped lines are joined to at most."""
_LINES = 400
"""Lines looked at."""

# Messages that begin at the start of their line, and without blanks before.
_ANCHOR = re.compile(
    r"-{12} ?\[ cut here \]-{12}|---\[ end trace|Call [Tt]race:|Hardware name: |Modules linked in:"
    r"|CPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: |RIP: 00[13]\d:|RSP: 00[12]\w:|RAX: [0-9a-f]{16} RBX"
    r"|Oops: [0-9a-f]{4}|BUG: unable to handle|BUG: kernel NULL|BUG: K(?:[ACM]SAN|FENCE): "
    r"|UBSAN: [a-z]|BUG: soft lockup|BUG: sleeping function|BUG: scheduling while"
    r"|kernel BUG at |general protection fault|INFO: task |Kernel panic - not syncing"
    r"|Mem abort info|Linux version \d|Command line: |Workqueue: |pstate: [0-9a-f]|Internal error: "
    r"|Code: [0-9a-f(]|Unable to handle kernel |WARNING: CPU: |Not tainted \d"
    r"|task:\S+ +state:|invoked oom-killer"
)
_TIME = re.compile(r"(?:<\d{1,3}>)?\[ *\d{1,9}\.\d{3,9}\]")
_PART = re.compile(r"\w+| +|.", re.S)

Prefix = re.Pattern[str]


def learn(lines: Sequence[str]) -> Prefix | None:
    """A pattern for what stands before the messages of these lines; ``None`` for nothing odd.

    Where printk's own time follows, the pattern ends before that.
    """
    shapes: Counter[str] = Counter()
    for line in lines[:_LINES]:
        before = _before(line)
        if before:
            shapes[_shape(before)] += 1
    best = max(shapes, key=shapes.__getitem__, default=None)
    if best is None or shapes[best] < 2:
        return None
    pattern = re.compile(best)
    whole = [line for line in lines[:_LINES] if line.strip()]
    if sum(pattern.match(line) is not None for line in whole) * 2 < len(whole):
        return None
    return pattern


_WORDS = 4
"""So many words at most stand before a message whose own first word is in no table."""
_SHARED = 0.9
_LEAST = 8
"""Lines, and which part of them, that must begin alike before words are called a prefix."""


def hidden(line: str) -> str | None:
    """The words before a message of one line that is a report once they are gone."""
    at = 0
    for _ in range(_WORDS):
        at = line.find(" ", at) + 1
        if not 0 < at <= MAX_PREFIX:
            return None
        if match_header(line[at:].lstrip()) is not None:
            return line[:at]
    return None


def shared(before: str, lines: Sequence[str]) -> Prefix | None:
    """The pattern for these words, if nearly all lines begin with the like."""
    pattern = re.compile(_shape(before))
    whole = [line for line in lines[:_LINES] if line.strip()]
    alike = sum(pattern.match(line) is not None for line in whole)
    return pattern if alike >= max(_LEAST, _SHARED * len(whole)) else None


_TIMED = re.compile(r"\[ *(?P<time>\d{1,9}\.\d{6})\]")
_FEWEST = 4
_NEARLY_ALL = 0.8


def are_timed(lines: Sequence[str]) -> bool:
    """Do nearly all lines have a time of printk behind something that is alike on them?

    So a log without any failure is known for one, whoever carried it here.
    """
    whole = [line for line in lines[:_LINES] if line.strip()]
    shapes: Counter[str] = Counter()
    times: list[float] = []
    for line in whole:
        match = _TIMED.search(line, 1, MAX_PREFIX)
        if match is not None:
            shapes[_shape(record_of_text(line[: match.start()], 0).text)] += 1
            times.append(float(match["time"]))
    if max(shapes.values(), default=0) < max(_FEWEST, _NEARLY_ALL * len(whole)):
        return False
    return sum(a <= b for a, b in pairwise(times)) >= _NEARLY_ALL * (len(times) - 1)


def _before(line: str) -> str | None:
    """What stands before a message whose first word is known; ``None`` if there is none."""
    anchor = _ANCHOR.search(line[: MAX_PREFIX + 40])
    if anchor is None or anchor.start() > MAX_PREFIX:
        return None
    time = _TIME.search(line, 0, anchor.start())
    return line[: time.start() if time is not None else anchor.start()]


def _shape(before: str) -> str:
    """A pattern for prefixes like this one: words and numbers vary, all else stays."""
    body = before.rstrip(" \t")
    parts = []
    for match in _PART.finditer(body):
        part = match[0]
        if part[0] == " ":
            # Inside, columns may be aligned; in front, indentation is the same everywhere.
            parts.append(" +" if match.start() else f" {{{len(part)}}}")
        else:
            parts.append(r"\w+" if part[0].isalnum() or part[0] == "_" else re.escape(part))
    blanks = before[len(body) :]
    if not body:
        return f" {{{len(blanks)}}}" if blanks.strip("\t") else re.escape(blanks)
    # An empty message has lost its blank: then the line ends with the prefix.
    return "".join(parts) + (f"(?:{re.escape(blanks)}|$)" if blanks else "")


def is_late(record: Record) -> bool:
    """Is there something before the known first word of this message?"""
    before = _before(record.text)
    return before is not None and before != ""


def without(record: Record, prefix: Prefix) -> Record:
    """The record without a learnt prefix, and with what printk says behind it."""
    match = prefix.match(record.text)
    if match is None:
        return record
    inner = record_of_text(record.text[match.end() :], record.line)
    return record._replace(
        text=inner.text,
        time=record.time if inner.time is None else inner.time,
        level=record.level if inner.level is None else inner.level,
        caller=record.caller or inner.caller,
        clock=_first_known(record.clock, inner.clock, clock_of(record.text, match.end())),
    )


def _first_known(*clocks: float | None) -> float | None:
    return next((clock for clock in clocks if clock is not None), None)


# --- lines that a mailer wrapped -----------------------------------------------------

WIDEST = 100
"""Columns: a line that holds more was not wrapped."""
_NARROWEST = 64
"""No mailer wraps before."""
_QUOTE = re.compile(r"(?:[>|] ?)+")
_DATED = re.compile(
    r"[\s>|:]*(?:<\d+>)?(?:\[ *\d+\.\d{3,9}\]|\S{2,12}\.? +\d{1,2} \d\d:\d\d:\d\d "
    r"|\d{4}-\d\d-\d\d[T ]|\d\d:\d\d:\d\d|\[\S{2,5} \S{2,6} +\d)"
)


def is_wrapped(lines: Iterable[str]) -> bool:
    """Did a mailer break the lines? Then none is wide, and pieces stand without a prefix.

    Only what comes right behind a message counts: somebody's own words are no pieces of one.
    """
    dated = pieces = others = 0
    before, behind = "", False
    for line in lines:
        if len(line) > WIDEST and " " in line.strip():
            return False
        if _DATED.match(line):
            dated += 1
            behind = True
        elif behind:
            piece = goes_on(before, line)
            pieces += piece
            others += not piece and _QUOTE.sub("", line, count=1).strip() != ""
            behind = piece
        before = line
    return dated >= 3 and pieces >= 2 and pieces > 2 * others


def goes_on(before: str, line: str) -> bool:
    """Is ``line`` the rest of ``before``: its first word had no room there?"""
    quote = _QUOTE.match(line)
    if quote is not None and _depth(line) != _depth(before):
        return False
    line = line[quote.end() :] if quote is not None else line
    if _DATED.match(line) or line[:1] in (" ", "\t", ""):
        return False
    words = line.split(None, 1)
    return bool(words) and len(before.rstrip()) + 1 + len(words[0]) > _NARROWEST


def _depth(line: str) -> int:
    """How often a line is quoted."""
    quote = _QUOTE.match(line)
    return 0 if quote is None else sum(quote[0].count(mark) for mark in ">|")


_INSIDE = re.compile(rb"[^\s/-][/-]$")
"""Some mailers break behind a slash or hyphen, too: there was no blank."""


def rejoin(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines as they were before a mailer wrapped them; empty ones keep the numbers right."""
    rest, last, pieces = b"", "", 0
    whole: bytes | None = None
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        out = []
        for raw in lines:
            line = raw.decode("utf-8", "replace").rstrip("\r")
            if whole is not None and len(whole) < _LONGEST and goes_on(last, line):
                whole = whole.rstrip(b"\r ")
                blank = b"" if _INSIDE.search(whole) else b" "
                whole += blank + _QUOTE.sub("", line, count=1).encode()
                pieces += 1
            else:
                if whole is not None:
                    out.append(whole + b"\n" * (pieces + 1))
                whole, pieces = raw, 0
            last = line
        yield b"".join(out)
    if whole is not None:
        yield whole + b"\n" * (pieces + 1)
    yield rest
