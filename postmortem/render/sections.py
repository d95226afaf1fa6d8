"""A report as sections: what is told and in which order.

Text and HTML write the same sections; what one of them shows the other shows too.
Nothing here is escaped or coloured, nothing is wrapped. Long lists are cut here
(unless ``verbose``), because they are cut alike; JSON does not pass this way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from postmortem.graph.model import Graph
from postmortem.model.findings import (
    Block,
    Column,
    Evidence,
    Export,
    Finding,
    Kind,
    Severity,
    Table,
    Text,
    Unit,
    Verdict,
)
from postmortem.model.report import Report
from postmortem.model.result import Analysis
from postmortem.model.stacks import FoldedStacks
from postmortem.render import words
from postmortem.render.frames import FrameLine, frame_lines

_T = TypeVar("_T")

MAX_EVIDENCE = 6
MAX_STEPS = 4
MAX_FRAMES = 24
MAX_ROWS = 15
MAX_CPUS = 16
MAX_FINDINGS = 20
MAX_LOG = 20
MAX_REPORTS = 30
MAX_PROBLEMS = 12
MAX_LINE = 200
"""Characters of a prepared line; only lists are longer."""


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str
    faint: bool = False


@dataclass(frozen=True)
class Pairs:
    """Labels and values; an empty label continues the one above."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Points:
    """A list: what, and where it can be checked."""

    points: tuple[Evidence, ...]
    numbered: bool = False


@dataclass(frozen=True)
class Lines:
    """Prepared lines, one of them perhaps marked."""

    lines: tuple[str, ...]
    mark: int | None = None


@dataclass(frozen=True)
class Frames:
    """A stack."""

    lines: tuple[FrameLine, ...]


@dataclass(frozen=True)
class Rows:
    """A table; ``rows`` of it are shown."""

    table: Table
    rows: int


@dataclass(frozen=True)
class Verbatim:
    """Lines that nothing may change."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class More:
    """What was left out."""

    count: int
    what: str
    """In the singular."""

    def __str__(self) -> str:
        head, _, of = self.what.partition(" of ")
        plural = head if self.count == 1 else f"{head}s"
        return f"... and {self.count} more {plural}{' of ' if of else ''}{of} (-v shows all)"


@dataclass(frozen=True)
class Picture:
    """A drawing: on a page; text names the option that writes it."""

    export: Export


@dataclass(frozen=True)
class Entry:
    """One of several things with a title each: a finding, an event, a CPU."""

    title: str
    aside: str = ""
    lead: str = ""
    """Before the title, in a column of its own: time, line, CPU."""
    severity: Severity | None = None
    depth: int = 0
    """How many causes stand above it."""
    marked: bool = False
    body: tuple[Item, ...] = ()
    folded: tuple[Item, ...] = ()
    """Shown on a page when it is opened; in text only with ``-v``."""


Item = Prose | Pairs | Points | Lines | Frames | Rows | Verbatim | More | Picture | Entry


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    name: str
    """What it is, for a style or an anchor."""
    title: str
    items: tuple[Item, ...]
    aside: str = ""


def sections(analysis: Analysis, verbose: bool = False) -> list[Section]:
    """All sections below the verdict; ``verbose`` leaves nothing out."""
    main = words.verdict_finding(analysis)
    report = words.verdict_report(analysis)
    found = [
        *_evidence(analysis.verdict, verbose),
        *_next_steps(analysis.verdict, verbose),
        machine(analysis, verbose),
        *(_blocks(main.blocks, verbose) if main else ()),
        *main_stack(analysis, verbose),
        *_other_stacks(report, verbose),
        *_registers(report),
        *(tables(main.tables, verbose) if main else ()),
        *pictures(analysis),
        *_findings(analysis, verbose),
        *_blocks(analysis.blocks, verbose),
        *tables(analysis.tables, verbose),
        *texts(analysis.texts),
        *_cpus(analysis, verbose),
        *_events(analysis, verbose),
        *(_modules(analysis) if verbose else ()),
        *_log_tail(analysis, verbose),
        *limits(analysis, verbose),
        *(_timings(analysis) if verbose else ()),
    ]
    return [section for section in found if section.items]


def of_plugin(analysis: Analysis, verbose: bool = False) -> list[Section]:
    """What a plugin that was run by its name had to say: all rows, no machine."""
    found = [
        *map(of_finding, analysis.findings),
        *_blocks(analysis.blocks, verbose),
        *tables(analysis.tables, verbose, whole=True),
        *texts(analysis.texts),
        *pictures(analysis),
    ]
    return [*found, *limits(analysis, verbose)]


def of_verdict(verdict: Verdict, verbose: bool = False) -> list[Section]:
    """What happened, how we know, what to look at next."""
    told = Section("summary", "What happened", (Prose(verdict.summary),))
    found = [told, *_evidence(verdict, verbose), *_next_steps(verdict, verbose)]
    return [section for section in found if section.items]


def of_finding(finding: Finding) -> Section:
    """A finding with all that belongs to it."""
    return Section("finding", finding.readable, _finding_body(finding, verbose=True))


def of_block(block: Block) -> Section:
    """A block, whole."""
    return Section("block", block.title, _block(block, verbose=True))


# --- the verdict's own ---------------------------------------------------------


def _evidence(verdict: Verdict, verbose: bool) -> Iterator[Section]:
    evidence = verdict.evidence
    shown, more = _cut(evidence, MAX_EVIDENCE, verbose, "piece of evidence")
    if shown:
        yield Section("evidence", "How we know", (Points(shown), *more))


def _next_steps(verdict: Verdict, verbose: bool) -> Iterator[Section]:
    steps = tuple(Evidence(step) for step in verdict.next_steps)
    shown, more = _cut(steps, MAX_STEPS, verbose, "step")
    if shown:
        yield Section("next", "What to look at next", (Points(shown, numbered=True), *more))


def machine(analysis: Analysis, verbose: bool = False) -> Section:
    """The banner, labelled as crash(8) labels it."""
    pairs = list(words.machine(analysis))
    if verbose:
        system = analysis.system
        pairs += [("VERSION", system.version)] if system.version else []
        pairs += [("COMMAND LINE", system.command_line)] if system.command_line else []
        pairs += [("TYPES FROM", analysis.types_from)]
        pairs += [("SIGNATURE", line) for line in words.signature_lines(analysis.verdict)]
    merged: list[tuple[str, str]] = []
    last = ""
    for label, value in pairs:
        merged.append(("" if label == last else label, value))
        last = label
    return Section("machine", "Machine", (Pairs(tuple(merged)),))


def main_stack(analysis: Analysis, verbose: bool = False) -> Iterator[Section]:
    """The culprit's stack: unwound from memory, else as the kernel printed it."""
    main = words.verdict_finding(analysis)
    guilty = analysis.verdict.culprit.function
    stack = words.culprit_stack(analysis)
    if stack is not None:
        aside = ", ".join(
            filter(
                None,
                (
                    "" if stack.cpu is None else f"CPU {stack.cpu}",
                    f"state {stack.state}" if stack.state else "",
                ),
            )
        )
        lines = frame_lines(stack.frames, guilty)
        note = (Prose(stack.note),) if stack.note else ()
        title = f"Stack of {words.task(stack.task)}"
        yield Section("stack", title, (*_frames(lines, verbose), *note), aside)
        return
    report = words.verdict_report(analysis)
    if main is None or report is None or not (report.frames or report.pc):
        return
    lines = frame_lines(
        words.report_frames(report), report.function if guilty else None, unsure=verbose
    )
    title = f"Stack of {words.task(report.task)}" if report.task is not None else "Stack"
    yield Section("stack", title, _frames(lines, verbose), f"from the log, line {report.line}")


def _frames(lines: Sequence[FrameLine], verbose: bool) -> tuple[Item, ...]:
    shown, more = _cut(tuple(lines), MAX_FRAMES, verbose, "frame")
    return (Frames(shown), *more) if shown else ()


def _other_stacks(report: Report | None, verbose: bool) -> Iterator[Section]:
    """Who allocated and freed the object, the locks' history, the other CPUs."""
    for stack in report.stacks if report is not None else ():
        title = stack.title[:1].upper() + stack.title[1:]
        lines = frame_lines(stack.frames, None, unsure=verbose)
        yield Section("stack", title, _frames(lines, verbose), f"from the log, line {stack.line}")


def _registers(report: Report | None) -> Iterator[Section]:
    if report is None or not report.registers:
        return
    pairs = tuple((name, f"{value:016x}") for name, value in report.registers.items())
    lines = [
        "  ".join(f"{name:>6} {value}" for name, value in pairs[start : start + 3])
        for start in range(0, len(pairs), 3)
    ]
    where = f"from the log, line {report.line}"
    yield Section("registers", "Registers at the fault", (Lines(tuple(lines)),), where)


def pictures(analysis: Analysis) -> Iterator[Section]:
    """What can be drawn; forms for other programs are no pictures."""
    for export in analysis.exports:
        if export.suffix == "svg" and isinstance(export.data, Graph | FoldedStacks):
            yield Section("picture", export.title, (Picture(export),))


# --- findings ------------------------------------------------------------------


def _findings(analysis: Analysis, verbose: bool) -> Iterator[Section]:
    """All findings but the verdict's own, consequences indented under their cause."""
    main = analysis.verdict.finding
    consequences: list[Entry] = []
    others: list[Entry] = []
    section = others
    for depth, finding in words.family(analysis.findings):
        if depth == 0:
            section = consequences if finding.id == main else others
        if finding.id != main:
            own = depth - (section is consequences)
            brief = section is consequences or own > 0
            section.append(_finding(finding, own, brief=brief, verbose=verbose))
    for title, members in (("Consequences", consequences), ("Further findings", others)):
        shown, more = _cut(tuple(members), MAX_FINDINGS, verbose, "finding")
        yield Section("findings", title, (*shown, *more))


def _finding(finding: Finding, depth: int, *, brief: bool, verbose: bool) -> Entry:
    parts = [] if finding.kind is Kind.NONE else [str(finding.kind)]
    parts.append(str(finding.confidence))
    if finding.log_line is not None:
        parts.append(f"log line {finding.log_line}")
    body = _finding_body(finding, verbose=verbose)
    return Entry(
        finding.readable,
        aside=", ".join(parts),
        severity=finding.severity,
        depth=depth,
        body=() if brief and not verbose else body,
        folded=body if brief and not verbose else (),
    )


def _finding_body(finding: Finding, *, verbose: bool) -> tuple[Item, ...]:
    items: list[Item] = [Prose(finding.explanation)] if finding.explanation else []
    evidence = finding.evidence if verbose else finding.evidence[:2]
    items += [Points(evidence)] if evidence else []
    if not verbose:
        return tuple(items)
    steps = tuple(Evidence(step) for step in finding.next_steps)
    items += [Entry("What to look at next", body=(Points(steps, numbered=True),))] if steps else []
    items += [Entry(block.title, body=_block(block, verbose)) for block in finding.blocks]
    items += [Entry(table.title, body=_table(table, verbose)) for table in finding.tables]
    return tuple(items)


# --- blocks, tables, texts -----------------------------------------------------


def _blocks(blocks: Iterable[Block], verbose: bool) -> Iterator[Section]:
    for block in blocks:
        yield Section("block", block.title, _block(block, verbose))


def _block(block: Block, verbose: bool) -> tuple[Item, ...]:
    lines = block.lines if verbose else tuple(map(_shortened, block.lines))
    if block.mark is None:
        lines = folded(lines)
    return (Lines(lines, block.mark),)


_REPEATED = 3
"""So many equal lines in a row are a recursion, or one message again and again."""


def folded(lines: Sequence[str]) -> tuple[str, ...]:
    """Equal lines in a row as one, with how often it stands there."""
    found: list[str] = []
    for line, group in itertools.groupby(lines):
        count = len(tuple(group))
        if count < _REPEATED or not line.strip():
            found += [line] * count
        else:
            found.append(f"{line}  x {count}")
    return tuple(found)


def _shortened(line: str) -> str:
    """A line that is a list of a thousand things, cut between two of them."""
    if len(line) <= MAX_LINE:
        return line
    kept = line[:MAX_LINE].rpartition(", ")[0] or line[:MAX_LINE]
    more = line[len(kept) :].count(", ")
    return f"{kept} and {more} more (-v shows all)" if more else f"{kept} ... (-v shows all)"


def tables(
    found: Iterable[Table], verbose: bool = False, *, whole: bool = False
) -> Iterator[Section]:
    """Tables as sections; ``whole`` leaves no row out."""
    for table in found:
        yield Section("table", table.title, _table(table, verbose or whole))


def _table(table: Table, whole: bool) -> tuple[Item, ...]:
    rows = len(table.rows) if whole else min(len(table.rows), MAX_ROWS)
    left = len(table.rows) - rows
    items: list[Item] = [Rows(table, rows)] if rows else [Prose("none", faint=True)]
    items += [More(left, "row")] if left else []
    items += [Prose(table.note, faint=True)] if table.note else []
    return tuple(items)


def texts(found: Iterable[Text]) -> Iterator[Section]:
    """Verbatim texts as sections."""
    for text in found:
        yield Section("text", text.title, (Verbatim(text.lines),))


# --- the machine's state and its log -------------------------------------------


def _cpus(analysis: Analysis, verbose: bool) -> Iterator[Section]:
    """What each CPU was doing: a line each; all its frames when opened."""
    idle = [stack for stack in analysis.cpus if words.is_idle(stack)]
    busy = [stack for stack in analysis.cpus if not words.is_idle(stack)]
    few = verbose or len(analysis.cpus) <= MAX_CPUS
    shown = analysis.cpus if few else busy[:MAX_CPUS]
    entries = []
    for stack in shown:
        frames = [frame for frame in words.what_it_did(stack) if not frame.inline]
        called = (words.frame_function(frame) for frame in frames)
        names = " < ".join(itertools.islice((name for name, _ in itertools.groupby(called)), 8))
        entries.append(
            Entry(
                words.task(stack.task),
                aside=names or stack.note or "no stack",
                lead="-" if stack.cpu is None else f"CPU {stack.cpu}",
                folded=(
                    Frames(tuple(frame_lines(stack.frames, None))),
                    *((Prose(stack.note),) if stack.note else ()),
                ),
            )
        )
    left = len(analysis.cpus) - len(shown)
    note = f"... and {left} more, {len(idle)} CPUs idle in all (-v shows all)" if left else ""
    more = (Prose(note, faint=True),) if note else ()
    yield Section("cpus", "What the CPUs were doing", (*entries, *more))


def _events(analysis: Analysis, verbose: bool) -> Iterator[Section]:
    """The kernel's own reports in their order, with times: the story as the log tells it."""
    main = words.verdict_report(analysis)
    entries = []
    for found in analysis.reports:
        asides = [f"{found.count} times"] if found.count > 1 else []
        asides += ["a consequence"] if found.consequence_of is not None else []
        asides += ["the verdict"] if found is main else []
        when = "" if found.time is None else f"{found.time:.6f} s"
        entries.append(
            Entry(
                found.readable,
                aside=", ".join(asides),
                lead=f"line {found.line}" + (f"  {when:>16}" if when else ""),
                marked=found is main,
                folded=(Lines(folded(found.text)),),
            )
        )
    shown, more = _cut(tuple(entries), MAX_REPORTS, verbose, "report")
    yield Section("events", "Kernel reports in the log", (*shown, *more))


def _modules(analysis: Analysis) -> Iterator[Section]:
    modules = analysis.system.modules
    if not modules:
        return
    columns = (
        Column("name"),
        Column("size", Unit.BYTES),
        Column("taints"),
        Column("base", Unit.HEX),
    )
    rows = tuple((m.name, m.size, m.taints or None, m.base) for m in modules)
    yield Section("table", "Modules", (Rows(Table("Modules", columns, rows), len(rows)),))


def _log_tail(analysis: Analysis, verbose: bool) -> Iterator[Section]:
    lines = analysis.log_tail if verbose else analysis.log_tail[-MAX_LOG:]
    if lines:
        yield Section("log", "End of the log", (Lines(lines),))


def limits(analysis: Analysis, verbose: bool = False) -> Iterator[Section]:
    """What the answer could not take into account."""
    points = tuple(Evidence(f"{item.what}: {item.why}") for item in analysis.problems)
    shown, more = _cut(points, MAX_PROBLEMS, verbose, "problem")
    if shown:
        yield Section("limits", "What limits this answer", (Points(shown), *more))


def _timings(analysis: Analysis) -> Iterator[Section]:
    pairs = tuple((stage, f"{seconds:8.3f} s") for stage, seconds in analysis.timings.items())
    if pairs:
        yield Section("timings", "Timings", (Pairs(pairs),))


def _cut(
    found: tuple[_T, ...], limit: int, verbose: bool, what: str
) -> tuple[tuple[_T, ...], tuple[More, ...]]:
    """What is shown of a list, and a word on the rest."""
    if verbose or len(found) <= limit:
        return found, ()
    return found[:limit], (More(len(found) - limit, what),)
