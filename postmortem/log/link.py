"""Which report is only the consequence of an earlier one: the causes of rules/, asked of a log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from postmortem.log.since import began, corrected, idles, stalled_cpus, told_at
from postmortem.model.findings import Kind
from postmortem.model.report import Report, Role
from postmortem.rules.causes import Event, History
from postmortem.rules.messages import row_of
from postmortem.rules.waits import How, WaitKind


def link(reports: Iterable[Report]) -> list[Report]:
    """Set ``consequence_of`` where an earlier report explains a later one."""
    linked: list[Report] = []
    history = History()
    for report in reports:
        event = event_of(report)
        found = history.cause(event)
        history.add(event)
        if found is not None:
            root = linked[found[0]].consequence_of
            # A panic after an oops often comes without a stack: nothing is missing.
            corrupted = None if report.is_panic else report.corrupted
            cause = found[0] if root is None else root
            report = replace(report, consequence_of=cause, corrupted=corrupted)
        linked.append(report)
    return linked


def event_of(report: Report) -> Event:
    """A report, as the rules see it."""
    row = row_of(report.form) if report.form else None
    return Event(
        kind=Kind.NONE if corrected(report) else report.kind,
        line=report.line,
        time=told_at(report),
        last=report.last_time if report.time is not None else report.last_clock,
        began=began(report),
        pid=report.task.pid if report.task is not None else None,
        cpu=_cpu(report),
        function=report.function,
        panic=report.panic,
        waits_for=_owner(report),
        waits_io=report.kind is Kind.HUNG_TASK and _waits_for(report, _IO_WAITS),
        waits_remote=report.kind in _WAITING and _waits_for(report, _REMOTE),
        idle=idles(report),
        awaits_cpu=report.role is Role.AWAITS_CPU,
        devices=frozenset(report.devices),
        above=frozenset(report.above),
        form=report.form,
        layer=row.layer if row is not None else None,
        driver=report.detail.get("driver", report.module or _speaks_for(report)),
        ended=_ended(report),
        boot=report.detail.get("boot", ""),
    )


def _speaks_for(report: Report) -> str:
    """The module that prints under a name of its own."""
    return "nvidia" if "".join(report.text[:1]).startswith("NVRM:") else ""


def _cpu(report: Report) -> int | None:
    """The CPU that the trouble is on, if it is one."""
    stalled = stalled_cpus(report)
    return stalled[0] if report.cpu is None and len(stalled) == 1 else report.cpu


def _owner(report: Report) -> int | None:
    """Pid of the task that the kernel says holds the lock: its name may hold colons."""
    pid = report.detail.get("blocker", "").rpartition(":")[2]
    return int(pid) if pid.isdigit() and len(pid) < 10 else None


_IO_WAITS = frozenset(
    {WaitKind.IO, WaitKind.REQUEST, WaitKind.JOURNAL, WaitKind.PAGE, WaitKind.BUFFER}
)


_REMOTE = frozenset({WaitKind.RPC})
_WAITING = frozenset({Kind.HUNG_TASK, Kind.SUSPEND})


def _waits_for(report: Report, what: frozenset[WaitKind]) -> bool:
    frames = report.frames or next((stack.frames for stack in report.stacks), ())
    how = How([frame.function or "?" for frame in frames if frame.reliable])
    return how.reason in what or how.primitive in what


def _ended(report: Report) -> int | None:
    line = report.detail.get("recovered_line", "")
    return int(line) if line.isdigit() and len(line) < 12 else None
