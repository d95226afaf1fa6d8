"""What a watchdog's report says in one sentence: which CPU, which task, for how long.

These are the words before anything is judged; who is only a victim, :mod:`postmortem.judge.stalls`
says instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from postmortem.log.since import began, stalled_cpus, stuck_seconds
from postmortem.model.findings import Evidence, Finding, Kind
from postmortem.model.report import Report

_MAX_NAMED = 4
_LINES = 60
_TASKS = re.compile(r"Tasks blocked on level-\d{1,2} rcu_node \(CPUs [\d-]{1,20}\):(?P<tasks>.*)")
_PID = re.compile(r"\bP(?P<pid>\d{1,9})\b")
_ROUND = 10.0
"""Seconds: a watchdog looks every few seconds, and rounds what it says."""


def sentence(report: Report) -> str | None:
    """What hangs, locks up or stalls; ``None`` for reports of other kinds."""
    if report.kind is Kind.SOFT_LOCKUP:
        return _soft(report)
    if report.kind is Kind.HARD_LOCKUP:
        where = f", in {report.function}()" if report.function else ""
        return f"{_cpu(report)} stopped answering even to interrupts{where}."
    if report.kind is Kind.HUNG_TASK and report.task is not None and not report.is_panic:
        return _hung(report)
    if report.kind is Kind.RCU_STALL:
        return _grace_period(report)
    return None


def _cpu(report: Report) -> str:
    return f"CPU {report.cpu}" if report.cpu is not None else "A CPU"


def _soft(report: Report, last: float | None = None) -> str:
    """:param last: for how many seconds, where a later report of the same says it."""
    seconds = last or stuck_seconds(report)
    how_long = f" for {seconds:.0f} s" if seconds is not None else ""
    who = f" of {report.task.comm} ({report.task.pid})" if report.task is not None else ""
    if report.function is None:
        return f"{_cpu(report)} has run nothing but one task{who}{how_long}."
    return (
        f"{_cpu(report)} has been in {report.function}(){who}{how_long} without letting anything"
        " else run."
    )


def _hung(report: Report) -> str:
    assert report.task is not None
    seconds = stuck_seconds(report)
    how_long = f" for more than {seconds:.0f} s" if seconds is not None else ""
    where = f" in {report.function}()" if report.function else ""
    return f"Task {report.task.comm} ({report.task.pid}) has waited{how_long}{where} without end."


def _grace_period(report: Report) -> str:
    """RCU lists whom it waits for: CPUs, and tasks that were preempted in a read section."""
    cpus = [f"CPU {number}" for number in stalled_cpus(report)]
    pids = [
        f"task {found['pid']}"
        for match in map(_TASKS.search, report.text[:_LINES])
        if match is not None
        for found in _PID.finditer(match["tasks"])
    ]
    who = _listed(list(dict.fromkeys([*cpus, *pids]))) or "a CPU or task"
    if report.function is None:
        return f"An RCU grace period can't end: it waits for {who}."
    stays = "stay" if len(cpus) + len(pids) > 1 else "stays"
    return f"An RCU grace period can't end: {who} {stays} in {report.function}()."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def with_last(finding: Finding, report: Report, reports: Sequence[Report]) -> Finding:
    """What the watchdog said last of the same CPU in the same task.

    :param reports: all of the log, in its order.
    """
    since, pid = began(report), report.task.pid if report.task is not None else None
    if report.kind is not Kind.SOFT_LOCKUP or report.cpu is None or since is None:
        return finding
    again = [
        other
        for other in reports
        if other.line > report.line
        and (other.kind, other.boot, other.cpu) == (report.kind, report.boot, report.cpu)
        and (other.task.pid if other.task is not None else None) == pid
        and abs((began(other) or 0.0) - since) <= _ROUND
    ]
    seconds = stuck_seconds(again[-1]) if again else None
    if seconds is None:
        return finding
    said = f"after {seconds:.0f} s it had not let go"
    return replace(
        finding,
        explanation=finding.explanation.replace(_soft(report), _soft(report, seconds), 1),
        evidence=(*finding.evidence, Evidence(said, f"log line {again[-1].line}")),
    )
