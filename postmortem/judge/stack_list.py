"""Stacks of several tasks in one text (crash's ``foreach bt``): who waits how, whom to read first.

A stack tells in what its task waits, not who holds it. Of tasks that wait for locks and one that
waits for something else, that one is the lead: it may be the holder, the others can't be the end
of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from postmortem.model.findings import Evidence, Finding, Severity
from postmortem.model.report import Report
from postmortem.rules.waits import LOCKS, How, WaitKind

FORM = "crash-bt"
_MAX_NAMED = 4
_MAX_EVIDENCE = 6
_RESTS = frozenset(
    {
        *(WaitKind.EVENT, WaitKind.POLL, WaitKind.SIGNAL, WaitKind.SLEEP, WaitKind.FUTEX),
        *(WaitKind.SOCKET, WaitKind.TERMINAL, WaitKind.CHILD, WaitKind.FREEZER),
        *(WaitKind.PREEMPTED, WaitKind.PIPE, WaitKind.VFORK),
    }
)
"""What healthy tasks wait for."""


def lists_tasks(reports: Sequence[Report]) -> bool:
    """Whether a text holds the stacks of several tasks."""
    return len({report.task.pid for report in reports if report.task is not None}) > 1


def told(findings: Sequence[Finding], reports: Sequence[Report]) -> list[Finding]:
    """The findings of such a text: one tells of all, the others stand behind it.

    :param findings: one of each report, in the same order.
    """
    waits = [_wait(report) for report in reports]
    at_locks = [n for n, kind in enumerate(waits) if kind in LOCKS]
    others = [n for n, kind in enumerate(waits) if kind not in LOCKS and kind not in _REST_OR_RUN]
    lead = (others or at_locks or [0])[0]
    text = f"The text holds the stacks of {len(reports)} tasks."
    parts = []
    if others:
        no_lock = ", and for no lock" if at_locks else ""
        parts.append(f"{_said(others, reports, waits)}{no_lock}")
    if at_locks:
        parts.append(f"{_said(at_locks, reports, waits)}, whose holder no stack names")
    if parts:
        text += f" {'; '.join(parts)}."
    task = reports[lead].task
    who = f" of {task.comm} ({task.pid})" if task is not None else ""
    evidence = [_seen(report) for report in reports[:_MAX_EVIDENCE]]
    return [
        replace(
            finding,
            explanation=text,
            shown=f"{finding.title}{who}, one of {len(reports)} stacks",
            evidence=tuple(evidence),
            next_steps=_steps(reports[lead], bool(at_locks and others)) or finding.next_steps,
        )
        if number == lead
        else replace(finding, severity=Severity.INFO)
        for number, finding in enumerate(findings)
    ]


def _steps(lead: Report, held: bool) -> tuple[str, ...]:
    if not held or lead.task is None or lead.function is None:
        return ()
    who = f"{lead.task.comm} ({lead.task.pid})"
    return (
        f"Find what {who} waits for in {lead.function}(), and in the dump whether it holds what"
        " the others wait for: the owner stands in the lock.",
    )


_REST_OR_RUN: frozenset[WaitKind | None] = _RESTS | {None}


def _wait(report: Report) -> WaitKind | None:
    """What the task waits for; ``None`` if its stack shows no wait."""
    how = How([frame.function or "?" for frame in report.frames if frame.reliable])
    return how.primitive if how.primitive in LOCKS else how.reason or how.primitive


def _said(
    numbers: Sequence[int], reports: Sequence[Report], waits: Sequence[WaitKind | None]
) -> str:
    """``a (12) in f(), b (13) in g() wait for a mutex``."""
    tasks = [reports[n].task for n in numbers]
    places = [f" in {name}()" if (name := reports[n].function) else "" for n in numbers]
    named = [
        f"{task.comm} ({task.pid}){place}" if task is not None else f"a task{place}"
        for task, place in zip(tasks, places, strict=True)
    ]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    kinds = list(dict.fromkeys(str(waits[n]) for n in numbers))
    verb = "waits" if len(named) == 1 else "wait"
    return f"{', '.join(named[:_MAX_NAMED])}{more} {verb} for {' or '.join(map(_article, kinds))}"


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiouAEIORS' else 'a'} {kind}"


def _seen(report: Report) -> Evidence:
    names = [f.function for f in report.frames if f.reliable and f.function]
    first = names.index(report.function) if report.function in names else 0
    task = report.task
    who = f"{task.comm} ({task.pid})" if task is not None else "a task"
    return Evidence(
        f"{who}: {' < '.join(names[max(0, first - 1) : first + 3])}", f"log line {report.line}"
    )
