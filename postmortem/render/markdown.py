"""A report as Markdown, for a bug tracker: GitHub's form, which GitLab, Gitea and others read.

The same sections as the text report. Whatever comes from the input is text to who reads it
there: prose is escaped, so that no word becomes a link, a mention, an element or a heading,
and prepared lines stand in fences that are longer than any in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from postmortem.model.findings import Evidence, Kind, Verdict
from postmortem.model.result import Analysis
from postmortem.render import cells, words
from postmortem.render.clean import clean, clean_prose
from postmortem.render.frames import FrameLine
from postmortem.render.sections import (
    Entry,
    Frames,
    Item,
    Lines,
    More,
    Pairs,
    Picture,
    Points,
    Prose,
    Rows,
    Section,
    Verbatim,
    of_plugin,
    sections,
)

MAX_CHARACTERS = 60_000
"""GitHub refuses an issue of more than 65,536; ``verbose`` has no limit."""
MAX_LINES = 150
"""Of one fence, without ``verbose``."""
_INDENT = "  "


def print_markdown(
    analysis: Analysis, file: IO[str], *, verbose: bool = False, plugin: bool = False
) -> None:
    """Write the report to ``file``.

    :param plugin: Only a plugin was asked by its name: its sections alone.
    """
    file.write(markdown(analysis, verbose=verbose, plugin=plugin))


def markdown(analysis: Analysis, *, verbose: bool = False, plugin: bool = False) -> str:
    """The whole report."""
    found = of_plugin(analysis, verbose) if plugin else sections(analysis, verbose)
    head = "" if plugin else "\n".join(_verdict(analysis))
    parts = [(section.title, "\n".join(_section(section, verbose))) for section in found]
    if plugin and not parts:
        return "nothing to report\n"
    shown, left = _fitting(head, parts, None if verbose else MAX_CHARACTERS)
    blocks = [block for block in (head, *shown) if block]
    if left:
        names = escaped(", ".join(left))
        blocks.append(f"Left out, for a tracker takes no longer text: {names} (-v shows all)")
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _fitting(
    head: str, parts: Sequence[tuple[str, str]], limit: int | None
) -> tuple[list[str], list[str]]:
    """The sections that there is room for, and the titles of the others."""
    room = None if limit is None else limit - len(head)
    shown, left = [], []
    for title, text in parts:
        if room is not None and len(text) > room:
            left.append(title)
            continue
        shown.append(text)
        if room is not None:
            room -= len(text) + 2
    return shown, left


def _verdict(analysis: Analysis) -> Iterator[str]:
    found = analysis.verdict
    yield f"## {escaped(found.readable)}"
    yield ""
    facts = list(_facts(found))
    for label, value in facts:
        yield f"- **{label}:** {value}"
    if facts:
        yield ""
    if found.summary:
        yield escaped(found.summary)
    limits = len(analysis.problems)
    if limits:
        things = "1 thing limits" if limits == 1 else f"{limits} things limit"
        yield ""
        yield f"*{things} this answer: see the end of the report.*"


def _facts(found: Verdict) -> Iterator[tuple[str, str]]:
    culprit = found.culprit
    if found.kind is not Kind.NONE:
        yield "Kind", f"{found.kind} ({found.confidence})"
    if culprit.function or culprit.module:
        name = code(culprit.function) if culprit.function else words.ABSENT
        module = f" in module {code(culprit.module)}" if culprit.module else ""
        where = words.source(culprit.file, culprit.line)
        yield "Culprit", name + module + (f" at {code(where)}" if where else "")
    if culprit.task or culprit.cpu is not None:
        yield "Task", code(words.task_and_cpu(culprit))
    if found.signature is not None:
        yield "Signature", code(found.signature.frames)


# --- sections ------------------------------------------------------------------------


def _section(section: Section, verbose: bool) -> Iterator[str]:
    aside = f" ({escaped(section.aside)})" if section.aside else ""
    yield f"### {escaped(section.title)}{aside}"
    for item in section.items:
        yield ""
        yield from _item(item, verbose)


def _item(item: Item, verbose: bool) -> Iterator[str]:
    if isinstance(item, Prose):
        yield f"*{escaped(item.text)}*" if item.faint and item.text.strip() else escaped(item.text)
    elif isinstance(item, Pairs):
        yield from fence([f"{label:>12}{':' if label else ' '} {v}" for label, v in item.pairs])
    elif isinstance(item, Points):
        yield from _points(item.points, item.numbered)
    elif isinstance(item, Lines):
        yield from fence(_marked(item), None if verbose else MAX_LINES)
    elif isinstance(item, Frames):
        yield from fence(map(_frame, item.lines))
    elif isinstance(item, Rows):
        yield from _rows(item)
    elif isinstance(item, Verbatim):
        yield from fence(item.lines, None if verbose else MAX_LINES)
    elif isinstance(item, More):
        yield f"*{escaped(str(item))}*"
    elif isinstance(item, Picture):
        yield f"*-o FILE.{escaped(item.export.suffix)} or -o FILE.html draws it*"
    else:
        yield from _entry(item, verbose)


def _points(found: Iterable[Evidence], numbered: bool) -> Iterator[str]:
    for number, point in enumerate(found, 1):
        where = f" ({escaped(point.where)})" if point.where else ""
        yield f"{f'{number}.' if numbered else '-'} {escaped(point.what)}{where}"


def _marked(item: Lines) -> Iterator[str]:
    for number, line in enumerate(item.lines):
        before = "" if item.mark is None else "-> " if number == item.mark else "   "
        yield before + line


def _frame(line: FrameLine) -> str:
    number = "" if line.number is None else f"#{line.number}"
    module = f" [{line.module}]" if line.module else ""
    inline = " (inlined)" if line.inline else ""
    note = f"  <- {line.note}" if line.note else ""
    where = f"  {line.where}" if line.where else ""
    enters = f"<{line.enters}> " if line.enters else ""
    return f"{number:>4} {enters}{line.name}{module}{inline}{note}{where}"


def _rows(item: Rows) -> Iterator[str]:
    columns = item.table.columns
    yield _row(escaped(column.name) for column in columns)
    yield _row("---:" if cells.is_to_the_right(column) else "---" for column in columns)
    for row in item.table.rows[: item.rows]:
        yield _row(
            escaped(cells.text(row[place] if place < len(row) else None, column))
            for place, column in enumerate(columns)
        )


def _row(found: Iterable[str]) -> str:
    return f"| {' | '.join(found)} |"


def _entry(entry: Entry, verbose: bool) -> Iterator[str]:
    lead = f"{code(' '.join(entry.lead.split()))} " if entry.lead.strip() else ""
    aside = f" ({escaped(entry.aside)})" if entry.aside else ""
    title = escaped(entry.title) or escaped("-")
    if entry.marked or entry.severity is not None:
        title = f"**{title}**"
    yield f"- {lead}{'caused: ' if entry.depth else ''}{title}{aside}"
    for item in (*entry.body, *(entry.folded if verbose or entry.marked else ())):
        yield ""
        yield from (_INDENT + line if line else "" for line in _item(item, verbose))


# --- letters that mean something --------------------------------------------------------


def fence(lines: Iterable[str], limit: int | None = None) -> Iterator[str]:
    """Prepared lines between two fences, each of more backticks than any run inside."""
    found = [clean(line) for line in lines]
    more = 0 if limit is None else max(len(found) - limit, 0)
    found = found[: len(found) - more]
    longest = max((len(run) for line in found for run in re.findall("`+", line)), default=0)
    mark = "`" * max(3, longest + 1)
    yield f"{mark}text"
    yield from found
    yield mark
    if more:
        yield ""
        yield f"*... and {more} more lines (-v shows all)*"


def code(text: str) -> str:
    """One line between backticks, more of them than any run inside; ``-`` for nothing."""
    shown = clean_prose(text)
    if not shown:
        return words.ABSENT
    mark = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    # A bar ends a cell of a table even between backticks; outside of tables this is as good.
    return f"{mark}{pad}{shown}{pad}{mark}"


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_NOTHING = "&#8203;"
"""A space of no width: @name and #12 behind it call nobody and link nothing."""
_MEANS = re.compile(
    r"""
      (?P<entity> [&<>] )
    | (?P<mention> @(?=\w) | \#(?=\d) | !(?=\d) | \$(?=\d) )
    | (?P<link> :(?=//) | (?<=\bwww)\. )
    | (?P<escape> [\\`*\[\]|~$!#] | (?<![^\W_])_+ | _+(?![^\W_]) )
    """,
    re.VERBOSE,
)
_BEGINS = re.compile(r"^(\s*)([-+=:]|\d+(?=[.)]))")
"""What makes a list, a line under a heading or a row of a table when it begins a line."""


def escaped(text: str) -> str:
    """Prose in which no character means anything to a reader of Markdown."""
    shown = _MEANS.sub(_escape, clean_prose(text))
    return _BEGINS.sub(_begin, shown)


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if match["entity"]:
        return _ENTITIES[found]
    if match["mention"]:
        return (found if found == "@" else f"\\{found}") + _NOTHING
    if match["link"]:
        return f"&#{ord(found)};"
    return "".join(f"\\{char}" for char in found)


def _begin(match: re.Match[str]) -> str:
    if match[2].isdigit():
        return f"{match[1]}{match[2]}{_NOTHING}"
    return f"{match[1]}\\{match[2]}"
