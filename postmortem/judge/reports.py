"""What plugins share when they turn a report of the kernel into a finding.

The kernel's own report says what it saw; a finding says what it means and how
sure that is. What a kind means is in :mod:`postmortem.rules.kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.case.attempt import say_missing
from postmortem.judge.messages import (
    explain_message,
    how_often,
    is_message,
    message_severity,
    message_steps,
)
from postmortem.judge.open_sections import with_open_section
from postmortem.judge.probes import with_probe
from postmortem.judge.spoken import with_spoken
from postmortem.judge.stall_words import sentence
from postmortem.log.frames import is_frame
from postmortem.log.link import Known
from postmortem.model.findings import (
    Block,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Holds,
    Kind,
    Severity,
    Strength,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.kinds import DEADLY, MILD, Family, explain, kinds_of, next_steps, rule

if TYPE_CHECKING:
    from postmortem.plugin import Context

OOPS_KINDS = kinds_of(Family.OOPS)
PANIC_KINDS = kinds_of(Family.PANIC)
MEMORY_KINDS = kinds_of(Family.MEMORY)
HANG_KINDS = kinds_of(Family.HANG)
LOCKUP_KINDS = kinds_of(Family.LOCKUP)
CHECKER_KINDS = kinds_of(Family.CHECKER)
DEVICE_KINDS = kinds_of(Family.DEVICE)


class Index:
    """The reports of one analysis, found without a search: judging is linear in them."""

    def __init__(self, ctx: Context) -> None:
        self._reports = ctx.reports
        self.by_kind: dict[Kind, list[Report]] = {}
        self.by_line: dict[int, Report] = {}
        self.consequences: dict[int, list[Report]] = {}
        """By line of the cause."""
        self.deadly_of: dict[int, Report] = {}
        """By pid: the first report after which the task was gone."""
        self.last_of_boot: dict[str, Report] = {}
        self.previous: dict[int, Report] = {}
        """By line: the report before it in the same boot."""
        for report in ctx.reports:
            self.by_kind.setdefault(report.kind, []).append(report)
            self.by_line.setdefault(report.line, report)
            boot = report.detail.get("boot", "")
            if boot in self.last_of_boot:
                self.previous.setdefault(report.line, self.last_of_boot[boot])
            self.last_of_boot[boot] = report
            cause = self.cause(report)
            if cause is not None:
                self.consequences.setdefault(cause.line, []).append(report)
            if report.kind in DEADLY and report.task is not None:
                self.deadly_of.setdefault(report.task.pid, report)
        self.panics = [report for report in ctx.reports if report.is_panic]
        self.ended_by = _ended_by(ctx) if not self.panics else None
        self.known = Known(ctx.reports)
        """What the reports say of devices together."""

    def cause(self, report: Report) -> Report | None:
        """The report that this one is a consequence of."""
        number = report.consequence_of
        if number is None or not 0 <= number < len(self._reports):
            return None
        return self._reports[number]

    def panics_after(self, report: Report) -> list[Report]:
        """The panics that a report led to."""
        return [other for other in self.consequences.get(report.line, ()) if other.is_panic]


def index_of(ctx: Context) -> Index:
    """The index of the reports, made once."""
    found = ctx.memo.get("reports")
    if found is None or found[0] is not ctx.reports:
        found = ctx.memo["reports"] = (ctx.reports, Index(ctx))
    index: Index = found[1]
    return index


def report_id(report: Report) -> str:
    """Id of the finding that a report becomes: other findings refer to it."""
    return f"log-{report.line}"


def reports_of(ctx: Context, kinds: Iterable[Kind]) -> list[Report]:
    """The reports of these kinds, in the order of the log."""
    index = index_of(ctx)
    found = [report for kind in frozenset(kinds) for report in index.by_kind.get(kind, ())]
    return sorted(found, key=lambda report: report.line)


def finding_of(ctx: Context, report: Report, **changes: object) -> Finding:
    """A finding that says what the report says; a plugin adds what the dump knows."""
    file, line = _source(report)
    base = Finding(
        id=report_id(report),
        kind=report.kind,
        severity=severity_of(ctx, report),
        confidence=confidence_of(report),
        title=title_of(report),
        shown=report.shown,
        explanation=explain_message(report)
        or (sentence(report) or _bug_words(report) or explain(report.kind, report.function))
        + how_often(report, _AGAIN),
        evidence=tuple(log_evidence(report)),
        culprit=Culprit(
            function=report.function,
            module=report.module,
            file=file,
            line=line,
            task=report.task,
            cpu=report.cpu,
        ),
        caused_by=_cause(ctx, report),
        next_steps=message_steps(report) or _bug_steps(report) or next_steps(report.kind),
        signature=report.signature,
        log_line=report.line,
        time=report.time,
    )
    base = with_probe(ctx, with_spoken(base, report), report)
    if report.kind in LOCKUP_KINDS:
        base = with_open_section(ctx, base, report.cpu)
    return replace(base, **changes) if changes else base  # type: ignore[arg-type]


_BY_BUG = frozenset({"bug-at", "kernel-bug-at", "internal-bug", "rust"})
"""Forms of what BUG(), or Rust's panic!(), prints: a condition in the code did not hold."""


def _bug_words(report: Report) -> str | None:
    """What calls itself a bug without being a BUG() in the code: its own words."""
    if report.kind is not Kind.BUG or report.form in _BY_BUG:
        return None
    where = f" in {report.function}()" if report.function else ""
    return f'The kernel reported a bug{where}: "{log_evidence(report)[0].what.strip()}".'


def _bug_steps(report: Report) -> tuple[str, ...]:
    if report.kind is not Kind.BUG or report.form in _BY_BUG or "file" in report.detail:
        return ()
    return ("Look at what the report names, and at who had to do with it.",)


_AGAIN = "The kernel reported it"
_NOWHERE = " in corrupted"


def title_of(report: Report) -> str:
    """The report's title; where no function is known, the place is left out."""
    return report.title.replace(_NOWHERE, "")


def _source(report: Report) -> tuple[str | None, int | None]:
    """Where the culprit is in the source: the report says so, or debug information did."""
    asserts = report.kind is Kind.SCHEDULING_WHILE_ATOMIC  # the place is might_sleep()'s
    if "file" in report.detail and report.check is None and not asserts:
        return report.detail["file"], _number(report.detail.get("lineno"))
    frames = [*([report.pc] if report.pc else []), *report.frames]
    found = next((f for f in frames if f.file and f.function == report.function), None)
    return (found.file, found.line) if found else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 10 else None


def _cause(ctx: Context, report: Report) -> tuple[str, ...]:
    cause = index_of(ctx).cause(report)
    return () if cause is None else (report_id(cause),)


def ended_by(ctx: Context) -> Report | None:
    """The report with which the kernel died although no panic line follows it."""
    return index_of(ctx).ended_by


def _ended_by(ctx: Context) -> Report | None:
    """Of a dump: the last deadly report, if its task is on the CPU that crashed.

    A machine with a crash kernel jumps into that right from an Oops
    (oops_end(), arch/x86/kernel/dumpstack.c), before panic() prints anything.
    """
    if ctx.prog is None or not ctx.has_types:
        return None
    from postmortem.kernel.cpu.cpus import cpus, panic_cpu

    prog = ctx.prog
    found = ctx.attempt("CPUs", lambda: (panic_cpu(prog), cpus(prog)))
    number, all_cpus = found or (None, ())
    task = next((cpu.task for cpu in all_cpus if cpu.number == number), None)
    if task is None:
        return None
    deadly = [report for report in ctx.reports if report.kind not in MILD and report.task]
    if not deadly or deadly[-1].task is None or deadly[-1].task.pid != task.pid:
        return None
    return deadly[-1]


def severity_of(ctx: Context, report: Report) -> Severity:
    """Fatal if a panic is this report or its consequence."""
    from postmortem.judge.fate import fatal

    index = index_of(ctx)
    if report.is_panic or index.panics_after(report) or fatal(ctx, report):
        return Severity.FATAL
    if "boot_of" in report.detail:
        return Severity.INFO  # a crash kernel's trouble is not what the machine died of
    said = message_severity(report)
    if said is not None:
        return said
    return Severity.WARNING if report.kind in MILD else Severity.ERROR


_UNSURE = re.compile(
    r"\?\s*$|\b(?:[Mm]aybe|may be|might|possibl[ey]|[Pp]robably|[Ss]uspect\w*|seems?|assum\w+)\b"
)
"""The kernel itself is not sure."""


def confidence_of(report: Report) -> Confidence:
    """How sure the report alone makes us of kind and culprit."""
    if is_message(report) and report.text and _UNSURE.search(report.text[0]):
        return Confidence.LIKELY
    if report.corrupted or report.truncated:
        named = report.function is not None or report.module is not None
        return Confidence.LIKELY if named else Confidence.POSSIBLE
    known = rule(report.kind)
    if known is not None and known.witness:
        return Confidence.LIKELY
    return Confidence.CERTAIN


def log_evidence(report: Report) -> list[Evidence]:
    """The lines of the report that carry it."""
    said = next((text for text in report.text if not text.startswith(_CUT)), report.title)
    if is_frame(said.lstrip()):
        said = f"a stack of {len(report.frames)} calls; what stood before it is not here"
    found = [Evidence(said, f"log line {report.line}")]
    if report.pc is not None and report.pc.function:
        place = f"it happened at {frame_text(report.pc)}"
        found.append(Evidence(place, "instruction pointer", Strength.CONTEXT))
    if report.check is not None and "file" in report.detail:
        place = ":".join(filter(None, (report.detail["file"], report.detail.get("lineno"))))
        found.append(Evidence(f"the check that failed is {report.check}() at {place}", "header"))
    if "work" in report.detail:
        said = f"the worker ran {report.detail['work']}()"
        found.append(Evidence(said, "Workqueue line in the log", Strength.CONTEXT))
    callers = _callers(report)
    if callers:
        chain = f"called from {' < '.join(callers)}"
        found.append(Evidence(chain, "call trace in the log", Strength.CONTEXT))
    if report.corrupted:
        cut = report.corrupted.startswith(_CUT_SHORT)
        found.append(
            Evidence(f"the report is {report.corrupted}" if cut else report.corrupted, "log")
        )
    return found


_CUT_SHORT = "cut short"
_CUT = ("------------[ cut here", "8<--- cut here")
_MAX_CALLERS = 5


def _callers(report: Report) -> list[str]:
    """Who called the guilty function, nearest first, as far as it is not the way in."""
    names = [frame.function for frame in report.frames if frame.reliable and frame.function]
    if report.function in names:
        names = names[names.index(report.function) + 1 :]
    elif report.pc is None or report.pc.function != report.function:
        return []
    once = [name for name, before in zip(names, [None, *names], strict=False) if name != before]
    return once[:_MAX_CALLERS]


def frame_text(frame: Frame) -> str:
    """``function+0x1c/0x80 [module]`` as the kernel prints it."""
    if frame.function is None:
        text = f"{frame.address:#x}" if frame.address is not None else "?"
        return f"{text} [{frame.module}]" if frame.module else text
    text = frame.function
    if frame.offset is not None:
        text += f"+{frame.offset:#x}"
        if frame.size is not None:
            text += f"/{frame.size:#x}"
    return f"{text} [{frame.module}]" if frame.module else text


def code_block(ctx: Context, report: Report) -> Block | None:
    """The report's own ``Code:`` bytes, disassembled, the trapping instruction marked."""
    if report.code is None:
        return None
    from postmortem.log.code import disassemble

    place = report.pc
    try:
        instructions = disassemble(report.code, place)
    except ImportError as exc:
        if not say_missing(ctx.problems, "disassembly", exc):
            raise
        return None
    trap = report.code.trap
    labels = {item.offset: f"{item.offset - trap:+#6x}" for item in instructions}
    if place is not None and place.function and place.offset is not None and place.size:
        # Other functions and the padding between them are no part of the story.
        labels = {
            at: f"{place.function}+{inside:#x}"
            for at in labels
            if 0 <= (inside := place.offset + at - trap) < place.size
        }
    instructions = [item for item in instructions if item.offset in labels]
    mark = next((n for n, item in enumerate(instructions) if item.trapping), None)
    if mark is None:
        return None
    first = max(0, mark - 8)
    shown = instructions[first : mark + 5]
    return Block(
        title="Code at the fault (from the log)",
        lines=tuple(f"{labels[item.offset]}:  {item.text}" for item in shown),
        mark=mark - first,
        holds=Holds.CODE,
    )
