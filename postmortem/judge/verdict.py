"""From findings to one verdict: the first failure, not the last line.

:mod:`postmortem.rules.causes` says which later finding an earlier one explains; the
verdict is the root of the chain that ended the machine, or, if the machine did
not die, the worst that happened to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.judge import asked
from postmortem.judge.advice import advised
from postmortem.judge.boots import by_boot, earlier_sentence
from postmortem.judge.calm import calm
from postmortem.judge.confidence import earned, lowered
from postmortem.judge.fate import crash_kernel
from postmortem.judge.messages import is_message
from postmortem.judge.reports import index_of
from postmortem.log.link import event_of
from postmortem.model.findings import (
    FOLLOWED,
    Confidence,
    Evidence,
    Finding,
    Kind,
    Severity,
    Verdict,
    strongest_first,
)
from postmortem.plugin.discovery import OURS
from postmortem.rules.behind import behind
from postmortem.rules.causes import Event, History
from postmortem.rules.kinds import DEADLY, LOCKUPS, STUCK
from postmortem.rules.messages import Layer, row_of

if TYPE_CHECKING:
    from postmortem.model.report import Report
    from postmortem.plugin import Context

_MAX_EVIDENCE = 8


def diagnose(findings: Sequence[Finding], ctx: Context) -> tuple[tuple[Finding, ...], Verdict]:
    """Link the findings, order them, and name the verdict.

    :return: The findings, causes linked, the most important first; the verdict.
    """
    linked = asked.linked(_linked([earned(finding) for finding in findings], ctx), ctx)
    origin = _origins(linked)
    boots = by_boot(linked, ctx)
    root = _root(boots[0], origin) if boots else None
    if root is None:
        return tuple(linked), calm(ctx)
    ordered = sorted(linked, key=lambda item: _rank(item, root, origin))
    others = [_root(part, origin) for part in boots[1:] if not _in_crash_kernel(part[0], ctx)]
    followed = [item for item in ordered if item.id != root.id and origin[item.id].id == root.id]
    verdict = _verdict(root, followed, ctx)
    if all(item.severity is Severity.INFO for item in linked):
        verdict = _harmless(verdict, root, ctx)
    verdict = _as_quoted(_less_sure(verdict, ctx), root, ctx)
    verdict = _with_dump(verdict, root, ctx)
    alone = _at_once(boots[0], root, origin, ctx) + _not_explained(boots[0], root, origin)
    more = asked.also(ordered, root, ctx) + alone + earlier_sentence(others)
    return tuple(ordered), replace(verdict, summary=verdict.summary + more)


def _with_dump(verdict: Verdict, root: Finding, ctx: Context) -> Verdict:
    """What became of the dump, unless the story of an oops has told it."""
    said, evidence = crash_kernel(ctx, root)
    if not said or "its crash kernel" in verdict.summary:
        return verdict
    return replace(
        verdict,
        summary=f"{verdict.summary} {said}",
        evidence=(*verdict.evidence, *evidence),
    )


_DOUBT = (Confidence.POSSIBLE, Confidence.LIKELY, Confidence.CERTAIN)


def _harmless(verdict: Verdict, root: Finding, ctx: Context) -> Verdict:
    """What harmed nothing is the worst that a log tells: it is no failure."""
    if ctx.prog is not None or _in_crash_kernel(root, ctx):
        return verdict
    part = "" if ctx.input.complete else " in the part of the log that is here"
    return replace(
        verdict,
        kind=Kind.NONE,
        shown=f"no failure reported{part}; {root.readable}",
        summary=f"The log reports no failure{part}. {verdict.summary}",
        confidence=min(verdict.confidence, Confidence.LIKELY, key=_DOUBT.index),
    )


def _as_quoted(verdict: Verdict, root: Finding, ctx: Context) -> Verdict:
    """A report in somebody's text: of the machine that it came from nothing else is known."""
    if not ctx.case.quoted:
        return verdict
    where = f" (line {root.log_line})" if root.log_line is not None else ""
    said = (
        f"{ctx.input.path} is a text that quotes a kernel's report{where}, no log: whose machine"
        " that was, and what else it said, is not known."
    )
    return replace(
        verdict,
        summary=f"{said} {verdict.summary}",
        confidence=min(verdict.confidence, Confidence.LIKELY, key=_DOUBT.index),
    )


def _in_crash_kernel(finding: Finding, ctx: Context) -> bool:
    report = index_of(ctx).by_line.get(finding.log_line or 0)
    return report is not None and "boot_of" in report.detail


def _linked(findings: Sequence[Finding], ctx: Context) -> list[Finding]:
    """Ask the rules: a finding without a cause takes the one that explains it."""
    order = sorted(findings, key=_when)
    unplaced = [finding for finding in findings if finding.log_line is None]
    history = History(ctx.causes)
    # What only the dump shows may have begun before anything in the log.
    known = [*unplaced]
    for finding in unplaced:
        history.add(_event(finding, ctx))
    result: list[Finding] = []
    events: list[Event] = []
    for later in order:
        event = _event(later, ctx)
        events.append(event)
        if not later.caused_by:
            found = history.cause(event)
            if found is not None and known[found[0]].id != later.id:
                number, rule = found
                why = rule.why.format(cause=known[number].readable)
                later = replace(
                    later,
                    caused_by=(known[number].id,),
                    evidence=(*later.evidence, Evidence(why, "order of events")),
                )
        if later.log_line is not None:
            history.add(event)
            known.append(later)
        result.append(later)
    return _with_waiters(result, events)


_BOTH = "both stacks"


def _with_waiters(findings: list[Finding], events: Sequence[Event]) -> list[Finding]:
    """Tasks that wait behind others that hang (:mod:`postmortem.rules.behind`)."""
    for number, (holder, why) in behind(events, [bool(f.caused_by) for f in findings]).items():
        cause, later = findings[holder], findings[number]
        said = Evidence(why.format(cause=cause.readable), _BOTH)
        findings[number] = replace(later, caused_by=(cause.id,), evidence=(*later.evidence, said))
    return findings


def _event(finding: Finding, ctx: Context) -> Event:
    """A finding, as the rules see it: its report says most of it."""
    task = finding.culprit.task
    report = None
    if finding.log_line is not None:
        report = index_of(ctx).by_line.get(finding.log_line)
    if report is not None:
        event = event_of(report, index_of(ctx).known)
        return event if event.kind is Kind.NONE else replace(event, kind=finding.kind)
    return Event(
        kind=finding.kind,
        line=finding.log_line,
        time=finding.time,
        pid=task.pid if task is not None else None,
        cpu=finding.culprit.cpu,
        function=finding.culprit.function,
        panic="" if finding.kind is Kind.USER_REQUESTED else None,
    )


def _when(finding: Finding) -> tuple[int, float]:
    """Order of events: those that the log does not place come last."""
    if finding.log_line is not None:
        return (0, finding.log_line)
    return (1, finding.time or 0.0)


_SEVERITIES = (Severity.FATAL, Severity.ERROR, Severity.WARNING, Severity.INFO)


def _root(findings: Sequence[Finding], origin: Mapping[str, Finding]) -> Finding | None:
    """The first failure: what the fatal finding goes back to, or the worst of the rest."""
    fatal = [finding for finding in findings if finding.severity is Severity.FATAL]
    if fatal:
        return origin[fatal[-1].id]
    for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO):
        worst = (f for f in findings if f.severity is severity and f.kind is not Kind.NONE)
        found = next(worst, None)
        if found is not None:
            return origin[found.id]
    return None


def _origins(findings: Sequence[Finding]) -> dict[str, Finding]:
    """By id, what each finding goes back to; each step of a chain is taken once."""
    by_id = {finding.id: finding for finding in findings}
    found: dict[str, Finding] = {}
    for finding in findings:
        path = {finding.id: finding}
        while finding.id not in found:
            causes = (by_id[c] for c in finding.caused_by if c in by_id and c not in path)
            cause = next(causes, None)
            if cause is None:
                break
            finding = cause
            path[finding.id] = finding
        end = found.get(finding.id, finding)
        found.update(dict.fromkeys(path, end))
    return found


def _rank(
    finding: Finding, root: Finding, origin: Mapping[str, Finding]
) -> tuple[int, int, tuple[int, float]]:
    related = origin[finding.id].id == root.id
    first = 0 if finding.id == root.id else 1 if related else 2
    return first, _SEVERITIES.index(finding.severity), _when(finding)


_MAX_ALONE = 2
_DEVICES = frozenset({Kind.IO_ERROR, Kind.DEVICE_ERROR, Kind.MACHINE_CHECK, Kind.THERMAL})


def _not_explained(
    findings: Sequence[Finding], root: Finding, origin: Mapping[str, Finding]
) -> str:
    """Other devices that failed for themselves, in the same boot."""
    alone = [
        item
        for item in sorted(findings, key=_when)
        if item.kind in _DEVICES
        and item.severity in (Severity.FATAL, Severity.ERROR)
        and item.id != root.id
        and origin[item.id].id == item.id
        and item.title != root.title
    ]
    if not alone:
        return ""
    said = [
        f"{_shortened(item.readable)} (log line {item.log_line})"
        if item.log_line is not None
        else _shortened(item.readable)
        for item in alone[:_MAX_ALONE]
    ]
    more = f" and {len(alone) - _MAX_ALONE} more" if len(alone) > _MAX_ALONE else ""
    return f" Besides, not explained by it: {'; '.join(said)}{more}."


_AT_ONCE = 10.0
"""Seconds, or lines where there are no times, between failures that most likely are one."""
_MAX_AT_ONCE = 3


def _at_once(
    findings: Sequence[Finding], root: Finding, origin: Mapping[str, Finding], ctx: Context
) -> str:
    """The same failure of other devices in the same moment: both ports of an adapter."""
    first = _report_of(root, ctx)
    if first is None or not is_message(first):
        return ""
    named: dict[str, int] = {}
    for item in sorted(findings, key=_when):
        report = _report_of(item, ctx)
        same = report is not None and report.form == first.form and origin[item.id].id == item.id
        if same and report is not None and item.id != root.id and _moments(first, report):
            device = next((name for name in report.devices if name not in first.devices), None)
            if device is not None:
                named.setdefault(device, report.line)
    said = [f"{name} (log line {line})" for name, line in list(named.items())[:_MAX_AT_ONCE]]
    more = f" and {len(named) - len(said)} more" if len(named) > len(said) else ""
    return f" The same was said at once of {', '.join(said)}{more}." if said else ""


def _moments(first: Report, second: Report) -> bool:
    """Whether two reports are of one moment."""
    times = (first.time, second.time) if first.time is not None else (first.clock, second.clock)
    before, after = times
    if before is None or after is None:
        return abs(second.line - first.line) <= _AT_ONCE
    return abs(after - before) <= _AT_ONCE


def _followed(finding: Finding, ctx: Context) -> str:
    """A consequence in words: of a task that hangs its name says more than where it waits.

    The panic for hung tasks runs in the task that looks for them, which does not hang.
    """
    task = finding.culprit.task
    panics = {report.line for report in ctx.reports if report.is_panic}
    if finding.kind is Kind.HUNG_TASK and task is not None and finding.log_line not in panics:
        return f"task {task.comm} ({task.pid}) hangs"
    if finding.kind is Kind.SUSPEND and task is not None:
        return f"{finding.readable}, task {task.comm} ({task.pid})"
    if (
        finding.kind in LOCKUPS
        and finding.culprit.cpu is not None
        and finding.log_line not in panics
    ):
        return f"{finding.readable} on CPU {finding.culprit.cpu}"
    report = _report_of(finding, ctx)
    devices = report.devices if report is not None and is_message(report) else ()
    if devices and not any(name.rpartition(" ")[2] in finding.readable for name in devices):
        return f"{finding.readable} ({devices[0]})"
    return finding.readable


_MAX_FOLLOWED = 4
_MAX_WORDS = 90


def _consequences(root: Finding, followed: Sequence[Finding], ctx: Context) -> str:
    """The worst first, then one of each sort in the order of events: ten disks of a dead
    controller are one consequence, the file system on them is another."""
    chosen: dict[str, Finding] = {}
    said = root.readable, root.culprit.cpu
    # What is said of the root once more is no consequence.
    followed = [item for item in followed if (item.readable, item.culprit.cpu) != said]
    if not followed:
        return ""
    for finding in sorted(followed, key=lambda item: _gravity(item, ctx)):
        report = _report_of(finding, ctx)
        chosen.setdefault(report.form if report is not None else finding.id, finding)
    worst, *others = list(chosen.values())[:_MAX_FOLLOWED]
    steps = [worst, *sorted(others, key=_when)]
    named = list(dict.fromkeys(_shortened(_followed(finding, ctx)) for finding in steps))
    more = len(followed) - len(named)
    return "; ".join([*named, *([f"{more} more"] if more > 0 else [])])


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_WORDS else f"{text[: _MAX_WORDS - 3].rstrip()}..."


def _report_of(finding: Finding, ctx: Context) -> Report | None:
    return index_of(ctx).by_line.get(finding.log_line) if finding.log_line is not None else None


def _verdict(root: Finding, followed: Sequence[Finding], ctx: Context) -> Verdict:
    """:param followed: what goes back to the root, directly or not."""
    summary = root.explanation
    consequences = _consequences(root, followed, ctx)
    if consequences:
        summary += f" {FOLLOWED}: {consequences}."
    culprit, confidence = root.culprit, root.confidence
    evidence = strongest_first(root.evidence)[:_MAX_EVIDENCE]
    victim = _broke_on(root, followed)
    if victim is not None:
        culprit = victim.culprit
        confidence = max(confidence, victim.confidence, key=list(Confidence).index)
        summary += f" {victim.explanation}"
        own = strongest_first(victim.evidence)
        evidence = (*evidence[: _MAX_EVIDENCE // 2], *own)[:_MAX_EVIDENCE]
    return Verdict(
        kind=root.kind,
        title=root.title,
        shown=root.shown,
        summary=summary,
        confidence=confidence,
        culprit=culprit,
        signature=root.signature,
        evidence=evidence,
        next_steps=advised(root, ctx),
        finding=root.id,
    )


def _less_sure(verdict: Verdict, ctx: Context) -> Verdict:
    """A judge that failed may have known better; so may tasks and names that are lost."""
    judges = frozenset(item.name for item in ctx.case.plugins if item.origin == OURS)
    confidence = lowered(verdict.confidence, ctx.problems, judges)
    problems = (*ctx.problems, *ctx.case.problems)
    lost = any(problem.what.startswith(_WHO_WAITS) for problem in problems)
    if lost and verdict.kind in STUCK and confidence is Confidence.CERTAIN:
        confidence = Confidence.LIKELY
    return replace(verdict, confidence=confidence)


_WHO_WAITS = ("task list", "tasks", "module list")
"""What can't be missing where it is certain who waits for whom."""


_CORE = max(Layer) + 1
"""Above all that drivers say: tasks that hang, a kernel that dies."""


def _gravity(finding: Finding, ctx: Context) -> tuple[int, int, float]:
    """The most severe first, then what is farthest from the metal; of equals the last, which
    is how it ended."""
    report = _report_of(finding, ctx)
    row = row_of(report.form) if report is not None and report.form else None
    place, number = _when(finding)
    layer = row.layer if row is not None else _CORE
    if finding.kind is Kind.HUNG_TASK:
        # Of tasks that hang the first, and who waits for the device before who waits for him.
        waits = any(item.where == _BOTH for item in finding.evidence)
        return _SEVERITIES.index(finding.severity), -layer, number + (place + waits) * 1e12
    return _SEVERITIES.index(finding.severity), -layer, -(number + place * 1e12)


_RAN = LOCKUPS | DEADLY
"""Kinds whose culprit was running: who only waits has done nothing."""


def _broke_on(root: Finding, followed: Sequence[Finding]) -> Finding | None:
    """Where no code is named that began it: the driver's code that could not cope with it."""
    if any((root.culprit.function, root.culprit.module, root.culprit.task)):
        return None
    ran = (item for item in followed if item.kind in _RAN and item.culprit.module)
    return min(ran, key=_when, default=None)


def only_asked(names: Sequence[str]) -> Verdict:
    """What stands in place of a verdict where not every plugin was asked."""
    which = ", ".join(names)
    return Verdict(
        kind=Kind.NONE,
        title=f"only {which} was asked" if len(names) == 1 else f"only {which} were asked",
        summary="Nothing is said of what broke the machine: postmortem analyze gives the verdict.",
        confidence=Confidence.POSSIBLE,
    )
