"""The report for a person, in text: one screen with the answer, or with ``-v`` everything.

Plain letters only (no boxes, no symbols beyond ASCII): it must read the same
over a serial console, in a mail and in a pager. What is told and in which order
is not decided here but in :mod:`postmortem.render.sections`; the one screen is
:mod:`postmortem.render.screen`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

from postmortem.model.findings import Evidence, Kind, Severity, Table, Verdict
from postmortem.model.result import Analysis
from postmortem.render import words
from postmortem.render.frames import FrameLine, frame_lines
from postmortem.render.page import Page, Part, write
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

if TYPE_CHECKING:
    from postmortem.log.decode import Decoded

UNREAD = ("read", "read as a log")
"""Problems of ``postmortem log`` with an input that it did not get to read."""

SEVERITY_STYLE = {
    Severity.FATAL: "bad",
    Severity.ERROR: "bad",
    Severity.WARNING: "warn",
    Severity.INFO: "aside",
}


def print_report(analysis: Analysis, file: IO[str], *, verbose: bool = False) -> None:
    """Write the answer on one screen, or with ``verbose`` the whole report."""
    page = Page(file)
    if verbose:
        report(page, analysis, verbose=True)
    else:
        from postmortem.render.screen import screen

        screen(page, analysis)
    write(page.text(), file)


def print_plugin(analysis: Analysis, file: IO[str], *, verbose: bool = False) -> None:
    """Write what a plugin that was run by its name had to say: no verdict, no banner."""
    page = Page(file)
    found = of_plugin(analysis, verbose)
    severities = iter(analysis.findings)
    for section in found:
        style = ""
        if section.name == "finding":
            style = SEVERITY_STYLE[next(severities).severity]
        _section(page, section, verbose, style)
    if all(section.name == "limits" for section in found):
        page.blank()
        page.line("nothing to report")
    write(page.text(), file)


def print_log(found: dict[str, Any], file: IO[str]) -> None:
    """Write what ``postmortem log`` found in one input (a document of log/jsonl.py)."""
    page = Page(file)
    page.line((found["path"], "heading"))
    for item in found["reports"]:
        asides = [f"{item['count']} times"] if item["count"] > 1 else []
        asides += ["a consequence"] if item["consequence_of"] is not None else []
        asides += [f"corrupted: {item['corrupted_why']}"] if item["corrupted"] else []
        page.prose(
            item["shown"],
            aside=", ".join(asides),
            first=(f"  {'line ' + str(item['line']):>{LEAD}}  ", "label"),
            rest=" " * (LEAD + 4),
        )
    unread = any(problem["what"] in UNREAD for problem in found["problems"])
    if not found["reports"] and not unread:  # of what was not read nothing is known
        page.line(("  no kernel report", "aside"))
    for problem in found["problems"]:
        page.prose((problem["what"], "name"), f": {problem['why']}", first="  - ", rest="    ")
    write(page.text(), file)


def print_decoded(decoded: Decoded, file: IO[str]) -> None:
    """Write what ``postmortem decode`` made of a paste."""
    page = Page(file)
    culprit = decoded.reports[0].function if decoded.reports else None
    for found in decoded.reports:
        page.prose((found.readable, "bad"))
    if decoded.pc is not None:
        page.blank()
        module = f" [{decoded.pc.module}]" if decoded.pc.module else ""
        page.labelled("AT", (words.frame_name(decoded.pc), "name"), (module, "module"))
    if decoded.instructions:
        page.heading("Code", decoded.arch or "")
        trap = decoded.code.trap if decoded.code else 0
        for item in decoded.instructions:
            line = f"{item.offset - trap:+5}  {item.data.hex(' '):<24} {item.text}"
            page.line((f"  -> {line}", "mark") if item.trapping else f"     {line}")
    for title, frames in decoded.stacks:
        page.heading(title[:1].upper() + title[1:])
        stack(page, frame_lines(frames, culprit))
    write(page.text(), file)


def report(page: Page, analysis: Analysis, *, verbose: bool = False) -> None:
    """Lay out the whole report; ``verbose`` leaves nothing out."""
    verdict(page, analysis)
    for section in sections(analysis, verbose):
        _section(page, section, verbose)


# --- the verdict -----------------------------------------------------------------


def verdict(page: Page, analysis: Analysis) -> None:
    """Title, kind, culprit and what happened."""
    found = analysis.verdict
    page.prose((found.readable, verdict_style(found)))
    page.blank()
    facts(page, found)
    if found.summary:
        page.blank()
        page.prose(found.summary, first="  ", rest="  ")
    limits = len(analysis.problems)
    if limits:
        page.blank()
        things = "1 thing limits" if limits == 1 else f"{limits} things limit"
        page.line((f"  {things} this answer: see the end of the report.", "warn"))


def facts(page: Page, found: Verdict, *, cut: bool = False) -> None:
    """Kind, culprit and task, a line each."""
    if found.kind is not Kind.NONE:
        page.labelled("KIND", str(found.kind), (f"  ({found.confidence})", "aside"), cut=cut)
    culprit = found.culprit
    if culprit.function or culprit.module:
        page.labelled("CULPRIT", *_culprit(found), cut=cut)
    if culprit.task or culprit.cpu is not None:
        page.labelled("TASK", words.task_and_cpu(culprit), cut=cut)


def verdict_style(found: Verdict) -> str:
    """Colour of the title."""
    if found.is_calm:
        return "good"
    return "warn" if found.kind in (Kind.USER_REQUESTED, Kind.WARNING) else "bad"


def _culprit(found: Verdict) -> list[Part]:
    culprit = found.culprit
    parts: list[Part] = [(culprit.function or words.ABSENT, "name")]
    if culprit.module:
        parts += [" ", (f"[{culprit.module}]", "module")]
    where = words.source(culprit.file, culprit.line)
    if where:
        parts.append(f"  at {where}")
    return parts


# --- sections --------------------------------------------------------------------

LEAD = 10
"""Width of ``line 12345``."""


def _section(page: Page, section: Section, verbose: bool, style: str = "") -> None:
    if section.name == "text":
        # Verbatim: no heading and no indent, for it may be another program's input.
        page.blank()
    elif style:
        page.blank()
        page.prose((section.title, style))
    else:
        page.heading(section.title, section.aside)
    lead = max((len(item.lead) for item in section.items if isinstance(item, Entry)), default=0)
    for item in section.items:
        _item(page, item, "  ", verbose, lead)


def _item(page: Page, item: Item, indent: str, verbose: bool, lead: int = 0) -> None:
    if isinstance(item, Prose):
        page.prose((item.text, "aside" if item.faint else ""), first=indent, rest=indent)
    elif isinstance(item, Pairs):
        for label, value in item.pairs:
            page.labelled(label, value, wrap=label not in ("DUMPFILE", "LOG", "SIGNATURE", ""))
    elif isinstance(item, Points):
        points(page, item.points, indent, numbered=item.numbered)
    elif isinstance(item, Lines):
        _lines(page, item, indent)
    elif isinstance(item, Frames):
        stack(page, item.lines, indent, verbose=verbose)
    elif isinstance(item, Rows):
        _rows(page, item, indent, verbose)
    elif isinstance(item, Verbatim):
        page.verbatim(item.lines)
    elif isinstance(item, More):
        page.line((f"{indent}{item}", "aside"))
    elif isinstance(item, Picture):
        page.line((f"{indent}-o FILE.{item.export.suffix} or -o FILE.html draws it", "aside"))
    else:
        _entry(page, item, indent, verbose, lead)


def points(
    page: Page, found: Iterable[Evidence], indent: str = "  ", *, numbered: bool = False
) -> None:
    """A list, each point with its place in brackets."""
    for number, item in enumerate(found, 1):
        mark = f"{number}. " if numbered else "- "
        page.prose(item.what, aside=item.where, first=indent + mark, rest=indent + " " * len(mark))


def _lines(page: Page, item: Lines, indent: str) -> None:
    for number, line in enumerate(item.lines):
        if number == item.mark:
            page.line((f"{indent}-> {line}", "mark"))
        else:
            page.line(f"{indent}   {line}" if item.mark is not None else f"{indent}{line}")


def _rows(page: Page, item: Rows, indent: str, verbose: bool) -> None:
    table: Table = item.table
    page.table(table.columns, table.rows[: item.rows], indent=indent, cut=not verbose)


def _entry(page: Page, item: Entry, indent: str, verbose: bool, lead: int) -> None:
    indent += "   " * item.depth
    mark = "-> " if item.depth else ""
    style = SEVERITY_STYLE[item.severity] if item.severity else "mark" if item.marked else ""
    before = f"{indent}{item.lead:>{lead}}  " if lead else indent + mark
    page.prose(
        (item.title, style or ("" if lead else "heading")),
        aside=item.aside,
        first=(before, "label") if lead else before,
        rest=" " * len(before),
    )
    below = indent + " " * len(mark) + "  "
    for inner in (*item.body, *(item.folded if verbose else ())):
        _item(page, inner, below, verbose)


# --- stacks ----------------------------------------------------------------------


def stack(
    page: Page, lines: Sequence[FrameLine], indent: str = "  ", *, verbose: bool = False
) -> None:
    """Frames, the culprit's marked; segments as the kernel names them."""
    for line in lines:
        if line.enters:
            page.line((f"{indent}     <{line.enters}>", "aside"))
        _frame(page, line, indent)
        for variable in line.locals if verbose else ():
            page.line((f"{indent}        {variable}", "aside"))


def frame_parts(line: FrameLine) -> list[tuple[str, str]]:
    """One frame without its place in the source."""
    number = "" if line.number is None else f"#{line.number}"
    style = "mark" if line.culprit else "aside" if line.faint else ""
    parts = [(f"{number:>4} ", "aside"), (line.name, style)]
    if line.module:
        parts.append((f" [{line.module}]", "module"))
    if line.inline:
        parts.append((" (inlined)", "aside"))
    if line.note:
        parts.append((f"  <- {line.note}", "mark" if line.culprit else "aside"))
    return parts


def _frame(page: Page, line: FrameLine, indent: str) -> None:
    """One frame; its file and line go to a line of their own rather than being broken."""
    parts: list[Part] = [indent, *frame_parts(line)]
    length = sum(len(part if isinstance(part, str) else part[0]) for part in parts)
    fits = length + 2 + len(line.where) <= page.width
    if line.where and fits:
        parts.append((f"  {line.where}", "aside"))
    page.line(*parts)
    if line.where and not fits:
        page.line((f"{indent}         {line.where}", "aside"))
