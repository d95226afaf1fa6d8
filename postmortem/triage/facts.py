"""From one analysis to what the store keeps of it: cases, reports, keys, words.

Knows neither a database nor a worker.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from postmortem import __version__
from postmortem.model.findings import Confidence, Culprit, Finding, Kind, Severity, Signature
from postmortem.model.report import Record, Report
from postmortem.model.result import Analysis, System
from postmortem.triage.grouping import usable
from postmortem.triage.keys import bug_key
from postmortem.triage.model import (
    MAX_VALUE,
    CaseRow,
    CaseState,
    InputState,
    Outcome,
    ReportRow,
    storable,
)
from postmortem.triage.origin import Origin, last_boot, origin_of
from postmortem.triage.terms import terms_of

MAX_REPORTS = 500
MAX_CASES = 64
"""Boots of one log that become cases of their own, the last ones."""
_MAX_MODULES = 300
_MAX_OPTIONS = 60

_DEAD = (Severity.FATAL, Severity.ERROR)


def outcome(
    analysis: Analysis,
    content: str,
    names: Sequence[str],
    document: bytes | None,
    last: Record | None = None,
) -> Outcome:
    """All that the store keeps of an analysis.

    :param content: the id of what was analysed.
    :param names: of its files.
    :param last: the last message in its log.
    """
    origin = origin_of(analysis, names)
    by_line = {report.line: report for report in analysis.reports}
    cases = [_main_case(analysis, origin, by_line, last)]
    for finding, report in _other_boots(analysis, by_line):
        cases.append(_case_of_boot(finding, report, analysis, origin))
    return Outcome(
        id=content,
        names=tuple(names),
        state=InputState.ANALYSED,
        kind=analysis.input.kind,
        format=storable(analysis.input.format, 200),
        size=analysis.input.size,
        complete=analysis.input.complete,
        problems=tuple(
            (storable(problem.what, 200), storable(problem.why, 500))
            for problem in analysis.problems[:50]
        ),
        program=__version__,
        seconds=round(sum(analysis.timings.values()), 3),
        document=document,
        cases=tuple(cases[:MAX_CASES]),
        reports=tuple(map(_report_row, range(MAX_REPORTS), analysis.reports)),
    )


def failed(
    content: str, names: Sequence[str], state: InputState, reason: str, size: int = 0
) -> Outcome:
    """An input that gave no case, and why."""
    return Outcome(
        id=content,
        names=tuple(names),
        state=state,
        reason=storable(" ".join(reason.split()), 500),
        size=size,
        program=__version__,
    )


# --- cases ----------------------------------------------------------------------------


def key_of(analysis: Analysis) -> str | None:
    """What the verdict of an analysis is grouped by."""
    verdict = analysis.verdict
    root = next((found for found in analysis.findings if found.id == verdict.finding), None)
    if root is None:
        return bug_key(verdict.signature, verdict.culprit, "", None)
    report = next((r for r in analysis.reports if r.line == root.log_line), None)
    return bug_key(verdict.signature, root.culprit, root.behind, report)


def bugs_of(analysis: Analysis) -> dict[int, str]:
    """The keys of all cases of an analysis, by their parts (:class:`CaseRow`)."""
    by_line = {report.line: report for report in analysis.reports}
    keys = {0: key_of(analysis)}
    for finding, report in _other_boots(analysis, by_line):
        found = bug_key(finding.signature, finding.culprit, finding.behind, report)
        keys[report.boot + 1] = found
    return {part: storable(key, 300) for part, key in keys.items() if key is not None}


def _main_case(
    analysis: Analysis, origin: Origin, by_line: Mapping[int, Report], last: Record | None
) -> CaseRow:
    verdict = analysis.verdict
    root = next((found for found in analysis.findings if found.id == verdict.finding), None)
    report = by_line.get(root.log_line or 0) if root is not None else None
    state = CaseState.UNSORTED
    if verdict.is_calm:
        state = CaseState.CALM
    elif usable(verdict.signature):
        state = CaseState.BUCKET
    return _row(
        analysis,
        origin,
        report,
        part=0,
        state=state,
        kind=verdict.kind,
        title=verdict.title,
        shown=verdict.readable,
        summary=verdict.summary,
        confidence=verdict.confidence,
        culprit=verdict.culprit,
        signature=verdict.signature,
        bug=key_of(analysis),
        line=None if root is None else root.log_line,
        evidence=len(verdict.evidence),
        incident=_incident(analysis, report) or _last_words(analysis, last),
    )


def _case_of_boot(finding: Finding, report: Report, analysis: Analysis, origin: Origin) -> CaseRow:
    """Another boot in the same log that failed: its first failure, as its finding tells it."""
    unknown_time = replace(origin, time=None, time_from="unknown")
    return _row(
        analysis,
        unknown_time if origin.time_from != "file" else origin,
        report,
        part=report.boot + 1,
        state=CaseState.BUCKET if usable(finding.signature) else CaseState.UNSORTED,
        kind=finding.kind,
        title=finding.title,
        shown=finding.readable,
        summary=finding.explanation,
        confidence=finding.confidence,
        culprit=finding.culprit,
        signature=finding.signature,
        bug=bug_key(finding.signature, finding.culprit, finding.behind, report),
        line=finding.log_line,
        evidence=len(finding.evidence),
        incident=_incident_of(report, analysis.reports),
    )


def _row(
    analysis: Analysis,
    origin: Origin,
    report: Report | None,
    *,
    part: int,
    state: CaseState,
    kind: Kind,
    title: str,
    shown: str,
    summary: str,
    confidence: Confidence,
    culprit: Culprit,
    signature: Signature | None,
    bug: str | None,
    line: int | None,
    evidence: int,
    incident: str | None,
) -> CaseRow:
    system = analysis.system
    release = (report.release if report is not None else None) or system.release
    model, firmware = _hardware(system.hardware)
    function = culprit.function
    return CaseRow(
        part=part,
        state=state,
        kind=str(kind),
        title=storable(title, 300),
        shown=storable(shown, 300),
        summary=storable(summary),
        confidence=str(confidence),
        function=None if function is None else storable(function, 200),
        module=None if culprit.module is None else storable(culprit.module, 100),
        line=line,
        source=analysis.input.kind,
        signature=_storable_signature(signature),
        bug=None if bug is None else storable(bug, 300),
        time=origin.time,
        time_from=origin.time_from,
        host=origin.host,
        release=None if release is None else storable(release, 100),
        arch=None if system.arch is None else storable(system.arch, 30),
        model=model,
        firmware=firmware,
        uptime=system.uptime_seconds,
        features=(
            *_features(system, origin.host, release, model, firmware),
            *(("told", name) for name in _told(analysis, report)),
        ),
        terms=terms_of(
            title, function, culprit.module, str(kind), _frames(analysis, report, culprit)
        ),
        incident=incident,
        rank=_rank(analysis, confidence, function, evidence),
    )


def _storable_signature(found: Signature | None) -> Signature | None:
    if found is None:
        return None
    return Signature(*(storable(text, 300) for text in (found.exact, found.frames, found.coarse)))


def _frames(
    analysis: Analysis, report: Report | None, culprit: Culprit
) -> tuple[list[str], list[str]]:
    """The main stack of the failure and all others of its report, innermost first."""
    if report is not None and report.frames:
        first = [report.pc] if report.pc is not None else []
        main = [f.function for f in (*first, *report.frames) if f.reliable and f.function]
        others = [f.function for s in report.stacks for f in s.frames if f.reliable and f.function]
        return main, others
    for state in analysis.cpus:
        if culprit.task is not None and state.task.pid == culprit.task.pid:
            return [f.function for f in state.frames if f.function], []
    return [], []


_SOURCES = ("log", "kcore", "vmcore")
_CONFIDENCES = (Confidence.POSSIBLE, Confidence.LIKELY, Confidence.CERTAIN)


def _rank(analysis: Analysis, confidence: Confidence, function: str | None, evidence: int) -> str:
    """How good an example a case is, the greater the better; sorts as text."""
    parts = (
        _SOURCES.index(analysis.input.kind) if analysis.input.kind in _SOURCES else 0,
        int(analysis.input.complete),
        _CONFIDENCES.index(confidence),
        int(function is not None),
        min(evidence, 9),
    )
    return "".join(map(str, parts)) + f"{max(0, 99 - len(analysis.problems)):02}"


# --- other boots ----------------------------------------------------------------------


def _other_boots(
    analysis: Analysis, by_line: Mapping[int, Report]
) -> Iterator[tuple[Finding, Report]]:
    """For each other boot in the log that failed its first failure."""
    shown = {report.boot for report in _reports_of_verdict(analysis, by_line)}
    if not shown:
        return
    seen = set(shown)
    findings = [(found, by_line.get(found.log_line or 0)) for found in analysis.findings]
    placed = [(found, report) for found, report in findings if report is not None]
    for finding, report in sorted(placed, key=lambda pair: pair[1].line):
        crash_kernel = "boot_of" in report.detail
        if crash_kernel or report.boot in seen or finding.severity not in _DEAD:
            continue
        if not finding.caused_by:
            seen.add(report.boot)
            yield finding, report


def _reports_of_verdict(analysis: Analysis, by_line: Mapping[int, Report]) -> Iterator[Report]:
    for finding in analysis.findings:
        report = by_line.get(finding.log_line or 0)
        if finding.id == analysis.verdict.finding and report is not None:
            yield report


# --- the same crash in two inputs -----------------------------------------------------


def _incident(analysis: Analysis, report: Report | None) -> str | None:
    """What tells this crash from all others, in a dump and in a log of it alike."""
    boot = report.boot if report is not None else last_boot(analysis.reports)
    # The last words are in both: a ring buffer loses the first ones, and so does a console.
    last = [r for r in analysis.reports if r.boot == boot and "boot_of" not in r.detail]
    fatal = [r for r in last if r.is_panic] or last
    return _incident_of(fatal[-1], analysis.reports) if fatal else None


def _last_words(analysis: Analysis, last: Record | None) -> str | None:
    """Of a crash that the log does not tell: what it ends with, to the microsecond.

    A hang is often seen in the dump alone; the log that goes with it ends the same.
    """
    own = [report for report in analysis.reports if "boot_of" not in report.detail]
    if own or last is None or not last.time:
        return None
    system = analysis.system
    words = (system.release or "", f"{last.time:.6f}", last.text.strip())
    text = "\n".join(words).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _incident_of(report: Report, reports: Sequence[Report]) -> str | None:
    """From a report and those that it is a consequence of; without a time nothing tells."""
    if report.time is None:
        return None
    words: list[str] = []
    for _ in range(8):
        words += _told_by(report)
        if report.consequence_of is None or report.consequence_of >= len(reports):
            break
        report = reports[report.consequence_of]
    text = "\n".join(words).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _told_by(report: Report) -> list[str]:
    """Printk's time to the microsecond, the title, the task, the registers.

    Of a hung task its registers in user space would be printed, if they are: what a SysRq printed
    behind the report may stand in one of two logs only.
    """
    registers = {} if report.kind is Kind.HUNG_TASK else report.registers
    return [
        f"{report.time or 0:.6f}",
        report.title,
        "" if report.task is None else f"{report.task.pid} {report.task.comm}",
        "" if report.fault_address is None else f"{report.fault_address:x}",
        *(f"{name}={value:x}" for name, value in sorted(registers.items())),
    ]


# --- features -------------------------------------------------------------------------

_HARDWARE = re.compile(r"(?P<model>.*?)(?:,? +BIOS +(?P<firmware>.*))?")


def _hardware(text: str | None) -> tuple[str | None, str | None]:
    """``Vendor Model/Board, BIOS 1.2 04/01/2014`` as model and firmware."""
    match = _HARDWARE.fullmatch(" ".join((text or "").split())[:400])
    if match is None or not match["model"]:
        return None, None
    firmware = match["firmware"]
    return storable(match["model"], MAX_VALUE), firmware and storable(firmware, MAX_VALUE)


_OWN_OF_MACHINE = re.compile(r"(?:root|BOOT_IMAGE|initrd|resume|UUID|ip|hostname)=")


def _features(
    system: System,
    host: str | None,
    release: str | None,
    model: str | None,
    firmware: str | None,
) -> Iterator[tuple[str, str]]:
    values = {"host": host, "release": release, "arch": system.arch, "model": model}
    for name, value in {**values, "firmware": firmware}.items():
        if value:
            yield name, storable(value, MAX_VALUE)
    for letter in sorted({flag[:1] for flag in system.taint if flag}):
        yield "taint", storable(letter, 1)
    for name in sorted({module.name for module in system.modules})[:_MAX_MODULES]:
        yield "module", storable(name, MAX_VALUE)
    words = dict.fromkeys((system.command_line or "").split())
    for word in [word for word in words if not _OWN_OF_MACHINE.match(word)][:_MAX_OPTIONS]:
        yield "option", storable(word, MAX_VALUE)


def _told(analysis: Analysis, report: Report | None) -> Iterator[str]:
    """Which lists are known: what a log does not name is not known to be absent."""
    system, is_log = analysis.system, analysis.input.kind == "log"
    if not is_log or system.modules:
        yield "module"
    if system.command_line is not None:
        yield "option"
    # The release stands in a report behind the taint, or behind "Not tainted".
    if not is_log or system.taint or (report is not None and report.release):
        yield "taint"


# --- reports --------------------------------------------------------------------------


def _report_row(number: int, report: Report) -> ReportRow:
    return ReportRow(
        number=number,
        kind=str(report.kind),
        title=storable(report.title, 300),
        function=None if report.function is None else storable(report.function, 200),
        module=None if report.module is None else storable(report.module, 100),
        line=report.line,
        boot=report.boot,
        seconds=report.time,
        consequence_of=report.consequence_of,
        count=min(report.count, (1 << 31) - 1),
        signature=_storable_signature(report.signature),
    )
