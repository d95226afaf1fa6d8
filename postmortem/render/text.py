"""The report for a person: the verdict on the first screen, everything else below it.

Plain letters only (no boxes, no symbols beyond ASCII): it must read the same
over a serial console, in a mail and in a pager.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

from postmortem.model.findings import (
    Block,
    Column,
    Evidence,
    Finding,
    Kind,
    Severity,
    Table,
    Text,
    Unit,
    Verdict,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.model.result import Analysis, TaskStack
from postmortem.render import words
from postmortem.render.page import Page, Part, write

if TYPE_CHECKING:
    from postmortem.log.decode import Decoded

MAX_EVIDENCE = 6
MAX_STEPS = 4
MAX_FRAMES = 24
MAX_ROWS = 15
MAX_CPUS = 16
MAX_FINDINGS = 20
MAX_LOG = 20
MAX_REPORTS = 10
MAX_PROBLEMS = 12
MAX_LINE = 200
"""Characters of a prepared line; only lists are longer."""

SEVERITY_STYLE = {
    Severity.FATAL: "bad",
    Severity.ERROR: "bad",
    Severity.WARNING: "warn",
    Severity.INFO: "aside",
}


def print_report(analysis: Analysis, file: IO[str], *, verbose: bool = False) -> None:
    """Write the whole report to ``file``."""
    page = Page(file)
    report(page, analysis, verbose=verbose)
    write(page.text(), file)


def print_plugin(analysis: Analysis, file: IO[str], *, verbose: bool = False) -> None:
    """Write what a plugin that was run by its name had to say: no verdict, no banner."""
    page = Page(file)
    for finding in analysis.findings:
        page.blank()
        page.prose((finding.title, SEVERITY_STYLE[finding.severity]))
        _finding_body(page, finding, indent="  ", verbose=True)
    _blocks(page, analysis.blocks, verbose)
    _tables(page, analysis.tables, verbose=verbose, whole=True)
    _texts(page, analysis.texts)
    if not (analysis.findings or analysis.blocks or analysis.tables or analysis.texts):
        page.line("nothing to report")
    _limits(page, analysis, verbose=verbose)
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
            item["title"],
            aside=", ".join(asides),
            first=(_line_label(item["line"]), "label"),
            rest=" " * (LINE + 4),
        )
    if not found["reports"]:
        page.line(("  no kernel report", "aside"))
    for problem in found["problems"]:
        page.prose((problem["what"], "name"), f": {problem['why']}", first="  - ", rest="    ")
    write(page.text(), file)


def print_decoded(decoded: Decoded, file: IO[str]) -> None:
    """Write what ``postmortem decode`` made of a paste."""
    page = Page(file)
    culprit = decoded.reports[0].function if decoded.reports else None
    for found in decoded.reports:
        page.prose((found.title, "bad"))
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
        _printed_frames(page, frames, culprit)
    write(page.text(), file)


def report(page: Page, analysis: Analysis, *, verbose: bool = False) -> None:
    """Lay out the whole report; ``verbose`` leaves nothing out."""
    main = words.verdict_finding(analysis)
    _verdict(page, analysis, verbose)
    _machine(page, analysis, verbose)
    if main is not None:
        _blocks(page, main.blocks, verbose)
    _stack(page, analysis, main, verbose)
    if main is not None:
        _tables(page, main.tables, verbose)
    _findings(page, analysis, verbose)
    _blocks(page, analysis.blocks, verbose)
    _tables(page, analysis.tables, verbose)
    _texts(page, analysis.texts)
    _cpus(page, analysis, verbose)
    _reports(page, analysis, verbose)
    if verbose:
        _modules(page, analysis)
    _log_tail(page, analysis, verbose)
    _limits(page, analysis, verbose)
    if verbose:
        _timings(page, analysis)


# --- the first screen ----------------------------------------------------------


def _verdict(page: Page, analysis: Analysis, verbose: bool) -> None:
    verdict = analysis.verdict
    page.prose((verdict.title, _verdict_style(verdict)))
    page.blank()
    if verdict.kind is not Kind.NONE:
        page.labelled("KIND", str(verdict.kind), (f"  ({verdict.confidence})", "aside"))
    culprit = verdict.culprit
    if culprit.function or culprit.module:
        page.labelled("CULPRIT", *_culprit(verdict))
    if culprit.task or culprit.cpu is not None:
        page.labelled("TASK", words.task_and_cpu(culprit))
    if verdict.summary:
        page.blank()
        page.prose(verdict.summary, first="  ", rest="  ")
    _evidence(page, verdict.evidence, verbose)
    if verdict.next_steps:
        page.heading("What to look at next")
        steps = verdict.next_steps if verbose else verdict.next_steps[:MAX_STEPS]
        for number, step in enumerate(steps, 1):
            page.prose(step, first=f"  {number}. ", rest=" " * len(f"  {number}. "))
        _more(page, len(verdict.next_steps) - len(steps), "step")
    limits = len(analysis.problems)
    if limits:
        page.blank()
        things = "1 thing limits" if limits == 1 else f"{limits} things limit"
        page.line((f"  {things} this answer: see the end of the report.", "warn"))


def _verdict_style(verdict: Verdict) -> str:
    if verdict.kind is Kind.NONE:
        return "good"
    return "warn" if verdict.kind in (Kind.USER_REQUESTED, Kind.WARNING) else "bad"


def _culprit(verdict: Verdict) -> list[Part]:
    culprit = verdict.culprit
    parts: list[Part] = [(culprit.function or words.ABSENT, "name")]
    if culprit.module:
        parts += [" ", (f"[{culprit.module}]", "module")]
    where = words.source(culprit.file, culprit.line)
    if where:
        parts.append(f"  at {where}")
    return parts


def _evidence(page: Page, evidence: tuple[Evidence, ...], verbose: bool) -> None:
    if not evidence:
        return
    page.heading("How we know")
    shown = evidence if verbose else evidence[:MAX_EVIDENCE]
    for item in shown:
        _evidence_item(page, item, "  ")
    _more(page, len(evidence) - len(shown), "piece", "of evidence")


def _evidence_item(page: Page, item: Evidence, indent: str) -> None:
    page.prose(item.what, aside=item.where, first=f"{indent}- ", rest=f"{indent}  ")


# --- sections ------------------------------------------------------------------


def _machine(page: Page, analysis: Analysis, verbose: bool) -> None:
    page.heading("Machine")
    last = ""
    for label, value in words.machine(analysis):
        page.labelled("" if label == last else label, value, wrap=label not in ("DUMPFILE", "LOG"))
        last = label
    if verbose:
        if analysis.system.version:
            page.labelled("VERSION", analysis.system.version)
        if analysis.system.command_line:
            page.labelled("COMMAND LINE", analysis.system.command_line, wrap=True)
        page.labelled("TYPES FROM", analysis.types_from)
        signature = analysis.verdict.signature
        if signature is not None:
            page.labelled("SIGNATURE", signature.coarse)
            page.labelled("", signature.frames)
            page.labelled("", signature.exact)


def _blocks(page: Page, blocks: Iterable[Block], verbose: bool) -> None:
    for block in blocks:
        page.heading(block.title)
        _block_lines(page, block, "  ", verbose)


def _block_lines(page: Page, block: Block, indent: str, verbose: bool) -> None:
    for number, line in enumerate(block.lines):
        line = line if verbose else _shortened(line)
        if number == block.mark:
            page.line((f"{indent}-> {line}", "mark"))
        else:
            page.line(f"{indent}   {line}" if block.mark is not None else f"{indent}{line}")


def _shortened(line: str) -> str:
    """A line that is a list of a thousand things, cut between two of them."""
    if len(line) <= MAX_LINE:
        return line
    kept = line[:MAX_LINE].rpartition(", ")[0] or line[:MAX_LINE]
    more = line[len(kept) :].count(", ")
    return f"{kept} and {more} more (-v shows all)" if more else f"{kept} ... (-v shows all)"


def _stack(page: Page, analysis: Analysis, main: Finding | None, verbose: bool) -> None:
    """The culprit's stack: unwound from memory, else as the kernel printed it."""
    if main is not None and any("stack" in block.title.lower() for block in main.blocks):
        return
    stack = words.culprit_stack(analysis)
    if stack is not None:
        page.heading(f"Stack of {words.task(stack.task)}", _stack_aside(stack))
        _frames(page, stack.frames, verbose, analysis.verdict.culprit.function)
        if stack.note:
            page.prose(stack.note, first="  ", rest="  ")
        return
    found = _report_of(analysis, main)
    if found is None or not (found.frames or found.pc):
        return
    page.heading("Stack", f"from the log, line {found.line}")
    _log_frames(page, found, verbose)


def _log_frames(page: Page, found: Report, verbose: bool) -> None:
    """The stack that the kernel printed; what it was not sure of (``?``) only with ``-v``."""
    frames = [frame for frame in found.frames if frame.reliable or verbose]
    if found.pc:
        frames.insert(0, found.pc)
    shown = frames if verbose else frames[:MAX_FRAMES]
    _printed_frames(page, shown, found.function)
    _more(page, len(frames) - len(shown), "frame")


def _printed_frames(page: Page, frames: Sequence[Frame], culprit: str | None) -> None:
    """Frames as the kernel printed them, the first one of ``culprit`` marked."""
    segment = "task"
    for number, frame in enumerate(frames):
        if frame.segment != segment:
            page.line((f"       <{frame.segment.upper()}>", "aside"))
        segment = frame.segment
        name = words.frame_name(frame)
        where = words.source(frame.file, frame.line)
        note = ""
        if culprit and frame.function == culprit:
            note, culprit = "culprit", None
        if frame.reliable:
            _frame_line(page, f"#{number}", name, frame.module, where, frame.inline, note)
        else:
            page.line((f"       ? {name}", "aside"))


def _report_of(analysis: Analysis, main: Finding | None) -> Report | None:
    if main is None or main.log_line is None:
        return None
    return next((r for r in analysis.reports if r.line == main.log_line), None)


def _stack_aside(stack: TaskStack) -> str:
    cpu = "" if stack.cpu is None else f"CPU {stack.cpu}"
    state = f"state {stack.state}" if stack.state else ""
    return ", ".join(part for part in (cpu, state) if part)


def _frames(
    page: Page, frames: tuple[Frame, ...], verbose: bool, culprit: str | None = None
) -> None:
    """A stack, the first frame of ``culprit`` marked; segments as the kernel names them."""
    lines = list(words.runs(frames))
    shown = lines if verbose else lines[:MAX_FRAMES]
    guilty = next((number for number, frame, _ in lines if culprit == frame.function), -1)
    segment = "task"
    for number, frame, count in shown:
        if frame.segment != segment:
            page.line((f"       <{frame.segment.upper()}>", "aside"))
        segment = frame.segment
        note = "interrupted" if frame.interrupted else ""
        if number == guilty and culprit is not None:
            note = "culprit"
        if count > 1:
            note = f"{note + ', ' if note else ''}{count} times in a row"
        name, where = words.frame_name(frame), words.source(frame.file, frame.line)
        style = "aside" if number < guilty else ""
        _frame_line(page, f"#{number}", name, frame.module, where, frame.inline, note, style)
        if verbose:
            for variable, value in frame.locals.items():
                page.line((f"          {variable} = {value}", "aside"))
    _more(page, len(lines) - len(shown), "frame")


def _frame_line(
    page: Page,
    number: str,
    name: str,
    module: str | None,
    where: str,
    inline: bool,
    note: str,
    style: str = "",
) -> None:
    """One frame; its file and line go to a line of their own rather than being broken."""
    culprit = note.startswith("culprit")
    parts: list[tuple[str, str]] = [(f"  {number:>4} ", "aside")]
    parts.append((name, "mark" if culprit else style))
    if module:
        parts.append((f" [{module}]", "module"))
    if inline:
        parts.append((" (inlined)", "aside"))
    if note:
        parts.append((f"  <- {note}", "mark" if culprit else "aside"))
    length = sum(len(string) for string, _ in parts)
    fits = length + 2 + len(where) <= page.width
    if where and fits:
        parts.append((f"  {where}", "aside"))
    page.line(*parts)
    if where and not fits:
        page.line((f"           {where}", "aside"))


def _findings(page: Page, analysis: Analysis, verbose: bool) -> None:
    """All findings but the verdict's own, consequences indented under their cause."""
    main = analysis.verdict.finding
    consequences: list[tuple[int, Finding]] = []
    others: list[tuple[int, Finding]] = []
    section = others
    for depth, finding in words.family(analysis.findings):
        if depth == 0:
            section = consequences if finding.id == main else others
        if finding.id != main:
            section.append((depth - (section is consequences), finding))
    for title, members in (("Consequences", consequences), ("Further findings", others)):
        if not members:
            continue
        page.heading(title)
        shown = members if verbose else members[:MAX_FINDINGS]
        for depth, finding in shown:
            _finding(page, finding, depth, brief=members is consequences, verbose=verbose)
        _more(page, len(members) - len(shown), "finding")


def _finding(page: Page, finding: Finding, depth: int, *, brief: bool, verbose: bool) -> None:
    indent = "  " + "   " * depth
    mark = "-> " if depth else ""
    page.prose(
        (finding.title, SEVERITY_STYLE[finding.severity]),
        aside=_finding_aside(finding),
        first=indent + mark,
        rest=indent + " " * len(mark),
    )
    if verbose or not (brief or depth):
        _finding_body(page, finding, indent + " " * len(mark) + "  ", verbose=verbose)


def _finding_aside(finding: Finding) -> str:
    parts = [] if finding.kind is Kind.NONE else [str(finding.kind)]
    parts.append(str(finding.confidence))
    if finding.log_line is not None:
        parts.append(f"log line {finding.log_line}")
    return ", ".join(parts)


def _finding_body(page: Page, finding: Finding, indent: str, *, verbose: bool) -> None:
    if finding.explanation:
        page.prose(finding.explanation, first=indent, rest=indent)
    for item in finding.evidence if verbose else finding.evidence[:2]:
        _evidence_item(page, item, indent)
    if not verbose:
        return
    for step in finding.next_steps:
        page.prose(step, first=f"{indent}next: ", rest=f"{indent}      ")
    for block in finding.blocks:
        page.line(indent, (block.title, "heading"))
        _block_lines(page, block, indent + "  ", verbose)
    for table in finding.tables:
        page.line(indent, (table.title, "heading"))
        _table_rows(page, table, indent + "  ", verbose)


def _texts(page: Page, texts: Iterable[Text]) -> None:
    """Verbatim: no heading and no indent, for they may be another program's input."""
    for text in texts:
        page.blank()
        page.verbatim(text.lines)


def _tables(page: Page, tables: Iterable[Table], verbose: bool, *, whole: bool = False) -> None:
    for table in tables:
        page.heading(table.title)
        _table_rows(page, table, "  ", verbose, whole=whole)


def _table_rows(
    page: Page, table: Table, indent: str, verbose: bool, *, whole: bool = False
) -> None:
    """``verbose`` leaves nothing out, ``whole`` no row."""
    rows = table.rows if verbose or whole else table.rows[:MAX_ROWS]
    if rows:
        page.table(table.columns, rows, indent=indent, cut=not verbose)
    else:
        page.line(indent, ("none", "aside"))
    _more(page, len(table.rows) - len(rows), "row")
    if table.note:
        page.prose((table.note, "aside"), first=indent, rest=indent)


def _cpus(page: Page, analysis: Analysis, verbose: bool) -> None:
    """What each CPU was doing: a line each, or all stacks."""
    if not analysis.cpus:
        return
    if verbose:
        for stack in analysis.cpus:
            cpu = "" if stack.cpu is None else f"CPU {stack.cpu}: "
            page.heading(f"{cpu}{words.task(stack.task)}", f"state {stack.state}")
            _frames(page, stack.frames, verbose)
            if stack.note:
                page.prose(stack.note, first="  ", rest="  ")
        return
    page.heading("What the CPUs were doing")
    busy = [stack for stack in analysis.cpus if not words.is_idle(stack)]
    idle = len(analysis.cpus) - len(busy)
    shown = (analysis.cpus if len(analysis.cpus) <= MAX_CPUS else busy)[:MAX_CPUS]
    for stack in shown:
        label = f"CPU {stack.cpu}" if stack.cpu is not None else "-"
        frames = [frame for frame in words.what_it_did(stack) if not frame.inline]
        called = (frame.function or f"{frame.pc:#x}" for frame in frames)
        names = " < ".join(itertools.islice((name for name, _ in itertools.groupby(called)), 8))
        page.line(
            (f"  {label:>7}  ", "label"),
            f"{words.task(stack.task):<24}  ",
            (_whole_names(names or stack.note or "no stack", page.width - 37), "aside"),
        )
    rest = len(analysis.cpus) - len(shown)
    if rest:
        page.line((f"  ... and {rest} more, {idle} CPUs idle in all (-v shows all)", "aside"))


def _whole_names(names: str, room: int) -> str:
    """As many of ``a < b < c`` as fit; at least the first, whole."""
    while len(names) > room and " < " in names:
        names = names.rpartition(" < ")[0]
    return names


def _reports(page: Page, analysis: Analysis, verbose: bool) -> None:
    """The kernel's own reports; without ``-v`` only those that no finding speaks of."""
    told = {finding.log_line for finding in analysis.findings}
    reports = [r for r in analysis.reports if verbose or r.line not in told]
    if not reports:
        return
    page.heading("Kernel reports in the log")
    shown = reports if verbose else reports[:MAX_REPORTS]
    for found in shown:
        asides = [f"{found.count} times"] if found.count > 1 else []
        if found.consequence_of is not None:
            asides.append("a consequence")
        page.prose(
            found.title,
            aside=", ".join(asides),
            first=(_line_label(found.line), "label"),
            rest=" " * (LINE + 4),
        )
        if verbose:
            for text in found.text:
                page.line(" " * (LINE + 4), (text, "aside"))
    _more(page, len(reports) - len(shown), "report")


LINE = 10
"""Width of ``line 12345``."""


def _line_label(line: int) -> str:
    return f"  {f'line {line}':>{LINE}}  "


def _modules(page: Page, analysis: Analysis) -> None:
    modules = analysis.system.modules
    if not modules:
        return
    page.heading("Modules")
    page.table(
        (
            Column("name"),
            Column("size", Unit.BYTES),
            Column("taints"),
            Column("base", Unit.HEX),
        ),
        [(m.name, m.size, m.taints or None, m.base) for m in modules],
        cut=False,
    )


def _log_tail(page: Page, analysis: Analysis, verbose: bool) -> None:
    lines = analysis.log_tail
    if not lines:
        return
    page.heading("End of the log")
    for line in lines if verbose else lines[-MAX_LOG:]:
        page.line("  ", (line, "aside"))


def _limits(page: Page, analysis: Analysis, verbose: bool) -> None:
    """What the answer could not take into account."""
    if not analysis.problems:
        return
    page.heading("What limits this answer")
    shown = analysis.problems if verbose else analysis.problems[:MAX_PROBLEMS]
    for problem in shown:
        page.prose((problem.what, "name"), f": {problem.why}", first="  - ", rest="    ")
    _more(page, len(analysis.problems) - len(shown), "problem")


def _timings(page: Page, analysis: Analysis) -> None:
    if not analysis.timings:
        return
    page.heading("Timings")
    for stage, seconds in analysis.timings.items():
        page.labelled(stage, f"{seconds:8.3f} s")


def _more(page: Page, count: int, what: str, of: str = "") -> None:
    if count > 0:
        what = (what if count == 1 else f"{what}s") + (f" {of}" if of else "")
        page.line((f"  ... and {count} more {what} (-v shows all)", "aside"))
