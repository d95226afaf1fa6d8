"""The answer on one screen: 24 rows of 80 columns that say what a tired engineer needs.

Title, kind, culprit, what happened, the strongest evidence, the culprit's own
stack, one next step, and one line on what more there is. Each part has its rows;
what one part does not need the stack gets, and then the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from postmortem.model.findings import (
    FOLLOWED,
    RECOVERED,
    Block,
    Finding,
    Holds,
    Kind,
    Problem,
    Strength,
    Table,
    Unit,
    Verdict,
)
from postmortem.model.problems import LIBRARY
from postmortem.model.result import Analysis
from postmortem.render import text, words
from postmortem.render.frames import FrameLine
from postmortem.render.page import LABEL, Page
from postmortem.render.sections import Frames, main_stack

ROWS = 23
"""One less than a terminal has: the prompt stands in the last one."""
COLUMNS = 80

_TITLE = 2
_SUMMARY = 5
_SENTENCES = 2
_FRAMES = 8
_STEP = 3
_LEAST_FRAMES = 6
_CUT = " ..."
_HEADINGS = 3
"""Two headings, and an empty row before what happened."""


def screen(page: Page, analysis: Analysis) -> None:
    """Lay out the screen."""
    part = _Parts(page)
    found = analysis.verdict
    head = part.lay(lambda p: p.prose((found.readable, text.verdict_style(found))), _TITLE)
    facts = part.lay(lambda p: _facts(p, analysis))
    told = part.lay(lambda p: p.prose(_sentences(found), first="  ", rest="  "), _SUMMARY)
    step = part.lay(lambda p: _next(p, found.next_steps), _STEP)
    more = part.lay(lambda p: _more(p, analysis))
    fixed = len(head) + len(facts) + len(told) + len(step) + len(more)
    stack_title, stack = _picture(part, analysis)
    evidence = [
        part.lay(partial(text.points, found=[item]), 2)
        for item in found.evidence
        if not (stack and item.strength is Strength.CONTEXT)  # the stack shows it
    ]
    room = ROWS - fixed - _HEADINGS
    proofs, frames = _shared(room, evidence, stack)
    rows = [head, facts, [""], told]
    rows += [part.lay(lambda p: p.line(("How we know", "heading"))), proofs] if proofs else []
    rows += [stack_title, frames] if frames else []
    left = ROWS - sum(map(len, rows)) - len(step) - len(more)
    then = part.lay(lambda p: _then(p, found.next_steps), _TITLE)
    if len(then) <= left:
        step += then
        left -= len(then)
    rows += [part.lay(lambda p: _before(p, analysis, left))] if left > 1 else []
    rows += [step, more]
    for row in (row for group in rows for row in group):
        page.row(row)


def _facts(page: Page, analysis: Analysis) -> None:
    text.facts(page, analysis.verdict, cut=True)
    system, path = analysis.system, analysis.input.path
    known = ", ".join(filter(None, (system.nodename, system.release)))
    page.labelled("FROM", _with_file(known, path, page.width - LABEL - 2), cut=True)


def _with_file(known: str, path: str, room: int) -> str:
    """Machine and kernel, and of a long path its end, which tells the file from others."""
    room -= len(known) + 2 * bool(known)
    if len(path) > room:
        path = f"~{path[len(path) - max(room, 24) + 1 :]}"
    return f"{known}, {path}" if known else path


class _Parts:
    """Lays parts out on pages of their own, so that they can be counted before they are shown."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def lay(self, write: Callable[[Page], object], limit: int | None = None) -> list[str]:
        """The rows of a part, at most ``limit``: the last one then says that there is more."""
        rows = self._rows(write, COLUMNS)
        if limit is None or len(rows) <= limit:
            return rows
        rows = self._rows(write, COLUMNS - len(_CUT))
        return [*rows[: limit - 1], rows[limit - 1] + _CUT]

    def _rows(self, write: Callable[[Page], object], width: int) -> list[str]:
        page = self._page.like(width)
        write(page)
        return page.rows()


def _shared(
    room: int, evidence: Sequence[list[str]], stack: list[str]
) -> tuple[list[str], list[str]]:
    """Evidence and stack in ``room`` rows: the first proof, the stack, then more proofs."""
    wanted = min(len(stack), _FRAMES)
    least = min(wanted, _LEAST_FRAMES)
    proofs = _fitting(evidence[:2], room - least)
    proofs = _fitting(evidence, max(room - wanted, len(proofs)))
    return proofs, stack[: max(min(wanted, room - len(proofs)), 0)]


def _fitting(pieces: Sequence[list[str]], room: int) -> list[str]:
    """As many whole pieces, the first ones first, as there is room for."""
    rows: list[str] = []
    for piece in pieces:
        if len(rows) + len(piece) > room:
            break
        rows += piece
    return rows


def _picture(part: _Parts, analysis: Analysis) -> tuple[list[str], list[str]]:
    """The heading and the rows of what shows the failure best."""
    main = words.verdict_finding(analysis)
    block = _picture_of_waits(main)
    if block is not None:
        title = part.lay(lambda p: p.line((block.title, "heading"), cut=True))
        return title, part.lay(lambda p: _cut_lines(p, block.lines))
    if analysis.verdict.kind is Kind.OOM and analysis.verdict.culprit.function is None:
        # The stack is that of who asked for the last page.
        table = max(main.tables, key=_largest, default=None) if main is not None else None
        return _table(part, table) if table is not None else ([], [])
    section = next(main_stack(analysis), None)
    if section is None:
        return [], []
    lines = [line for item in section.items if isinstance(item, Frames) for line in item.lines]
    title = part.lay(
        lambda p: p.line((section.title, "heading"), (f"  {section.aside}", "aside"), cut=True)
    )
    return title, part.lay(lambda p: _frames(p, _from_culprit(lines)))


def _largest(table: Table) -> float:
    """Bytes in the first row of a table that is sorted by them."""
    sizes = [n for n, column in enumerate(table.columns) if column.unit is Unit.BYTES]
    row = table.rows[0] if table.rows else ()
    cell = row[sizes[0]] if sizes and sizes[0] < len(row) else None
    return float(cell) if isinstance(cell, int | float) and table.columns[0].name != "what" else 0.0


def _table(part: _Parts, table: Table) -> tuple[list[str], list[str]]:
    title = part.lay(lambda p: p.line((table.title, "heading"), cut=True))
    rows = table.rows[:_FRAMES]
    return title, part.lay(lambda p: p.table(table.columns, rows, narrow=True))


def _picture_of_waits(main: Finding | None) -> Block | None:
    """Of tasks that wait for each other the chain tells more than any stack."""
    blocks = main.blocks if main is not None else ()
    return next((block for block in blocks if block.holds is Holds.WAITS), None)


def _cut_lines(page: Page, lines: Sequence[str]) -> None:
    for line in lines:
        page.line(f"  {line}", cut=True)


def _from_culprit(lines: Sequence[FrameLine]) -> list[FrameLine]:
    """Without the handling of the failure, which stands above the culprit."""
    start = next((number for number, line in enumerate(lines) if line.culprit), 0)
    shown = [replace(lines[start], enters=""), *lines[start + 1 :]] if lines else []
    while len(shown) > 1 and _WAY_IN.match(shown[-1].name):
        shown.pop()
    return shown


_WAY_IN = re.compile(
    r"(?:entry_|do_syscall_|x64_sys_call|syscall_exit|ret_from_fork|kthread\+|secondary_startup_|"
    r"invoke_syscall|el0|el0t|start_secondary|cpu_startup_entry|do_idle)"
)
"""How every stack begins: it tells nothing of this one."""


def _frames(page: Page, lines: Sequence[FrameLine]) -> None:
    """A row each: the place in the source only where there is room for it."""
    for line in lines:
        if line.enters:
            page.line((f"       <{line.enters}>", "aside"))
        parts = text.frame_parts(line)
        length = 2 + sum(len(string) for string, _ in parts)
        if line.where and length + 2 + len(line.where) <= page.width:
            parts.append((f"  {line.where}", "aside"))
        page.line("  ", *parts, cut=True)


_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'_a-z])")


def _sentences(found: Verdict) -> str:
    """What happened. The rest stands in the whole report.

    Where no code is to blame, whether it ended and what came of it are told, too: there is no
    stack that would need the rows.
    """
    said = _SENTENCE.split(found.summary)
    kept = () if found.culprit.function else (RECOVERED, FOLLOWED)
    return " ".join([*said[:_SENTENCES], *(s for s in said[_SENTENCES:] if s.startswith(kept))])


def _next(page: Page, steps: Sequence[str]) -> None:
    if steps:
        page.prose(steps[0], first=("Next: ", "heading"), rest="      ")


def _then(page: Page, steps: Sequence[str]) -> None:
    """The step after it; the last one goes on from here with a command."""
    if len(steps) > 1:
        page.prose(steps[-1], first=("Then: ", "heading"), rest="      ")


def _before(page: Page, analysis: Analysis, room: int) -> None:
    """What the log said last before the failure, in the rows that are left."""
    report = words.verdict_report(analysis)
    told = " ".join(item.what for item in analysis.verdict.evidence)
    before = report.before if report is not None else ()
    said = [item for item in before if item.text.strip() and item.text.strip() not in told]
    shown = said[-(room - 1) :]
    if shown:
        page.line(("Before it in the log", "heading"), (f"  line {shown[0].line}", "aside"))
        for item in shown:
            page.line(f"  {item.text.rstrip()}", cut=True)


def _more(page: Page, analysis: Analysis) -> None:
    """One line on what more there is, and how to see it."""
    consequences = sum(
        analysis.verdict.finding in finding.caused_by for finding in analysis.findings
    )
    others = len(analysis.findings) - consequences - (analysis.verdict.finding is not None)
    counted = [
        (consequences, "consequence"),
        (others, "other finding"),
        (len(analysis.reports), "kernel report"),
    ]
    parts = [_counted(count, what) for count, what in counted if count > 0]
    if analysis.problems:
        page.line((_limits(analysis.problems), "warn"), cut=True)
    also = ", ".join(parts) or "the machine and its log"
    page.line((f"-v: {also}; -o FILE.html: a page", "aside"), cut=True)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _limits(problems: Sequence[Problem]) -> str:
    """A judge that failed, or a library that is missing, is named: the answer is less sure."""
    failed = next((item for item in problems if item.what.startswith("plugin ")), None)
    if failed is not None:
        return f"Less sure: {failed.what} failed ({failed.why}); -v lists what limits this answer."
    lack = next((item for item in problems if item.what.startswith(LIBRARY)), None)
    if lack is not None:
        return f"Less sure: {lack.why.partition(';')[0]}; -v lists what limits this answer."
    things = "1 thing limits" if len(problems) == 1 else f"{len(problems)} things limit"
    return f"{things} this answer: -v says what and why."
