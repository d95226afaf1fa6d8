"""What became of the machine after a report: said only where something proves it.

die() ends the task that oopsed and the machine goes on, unless it happened where no task can
be ended (an interrupt, the idle task, init) or panic_on_oops is set (oops_end() and
make_task_dead() in the kernel). Which it was, only a later line of the log can tell, or its
end: a machine with a crash kernel jumps into that before it prints the report's last line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from postmortem.judge.reports import ended_by, index_of
from postmortem.log.boots import dump_sentence, taken_over
from postmortem.log.since import told_at
from postmortem.model.findings import Evidence, Finding
from postmortem.model.report import Report
from postmortem.rules.kinds import DEADLY

if TYPE_CHECKING:
    from postmortem.log.boots import Boot
    from postmortem.plugin import Context

_DIED = re.compile(r"\[#\d{1,6}\]")
"""die() counts: ``Oops: 0000 [#1] SMP``."""
_END = re.compile(r"-{2,4}\[ end trace")
_LAST = re.compile(r"CR2: [0-9a-f]{8,16}$|Modules linked in: ")
"""The last lines that oops_end() prints before it looks for a crash kernel."""
_LATER = 10.0
"""Seconds: nothing that a dying machine still prints comes so late."""


class Place(str, Enum):
    """Where a fault happened."""

    TASK = "a task"
    INTERRUPT = "an interrupt"
    SOFTIRQ = "a softirq"
    NMI = "an NMI"


class Fate(Enum):
    """What became of the machine."""

    UNKNOWN = "unknown"
    PANICKED = "panicked"
    CRASH_KERNEL = "went into its crash kernel"
    WENT_ON = "went on"
    CAN_NOT_GO_ON = "can't go on"


@dataclass(frozen=True)
class Outcome:
    """The fate of the machine after a report, in words."""

    fate: Fate
    sentence: str = ""


def outcome(ctx: Context, report: Report) -> Outcome:
    """What became of the machine after an oops."""
    panics = index_of(ctx).panics_after(report)
    place = context_of(report)
    if panics:
        in_interrupt = place is not Place.TASK or any("interrupt" in p.title for p in panics)
        where = Place.INTERRUPT if place is Place.TASK else place
        said = f"It happened in {where.value}: a hard panic, there is no task to kill instead."
        return Outcome(Fate.PANICKED, said if in_interrupt else "")
    if not _died(report):
        return Outcome(Fate.UNKNOWN)
    if ended_by(ctx) is report:
        said = "The machine went from there into its crash kernel."
        return Outcome(Fate.CRASH_KERNEL, said)
    later = _later(ctx, report)
    if later:
        return Outcome(Fate.WENT_ON, _went_on(report, later))
    taken = _crash_kernel(ctx, report)
    if taken:
        said = f"The machine went from there into its crash kernel: {taken}."
        return Outcome(Fate.CRASH_KERNEL, said)
    who = _can_not_be_ended(report, place)
    if who and not report.truncated:
        said = f"It happened in {who}: a hard panic (Aieee), the kernel can't go on after it."
        return Outcome(Fate.CAN_NOT_GO_ON, said)
    return Outcome(Fate.UNKNOWN)


def fatal(ctx: Context, report: Report) -> bool:
    """Whether the machine ended with this report, although no panic follows it."""
    return outcome(ctx, report).fate in (Fate.CRASH_KERNEL, Fate.CAN_NOT_GO_ON)


def context_of(report: Report) -> Place:
    """Whether a fault happened in a task, an interrupt, a softirq or an NMI."""
    # The log marks a softirq that runs on the interrupt stack as <IRQ>.
    if {frame.function for frame in report.frames} & {"__do_softirq", "handle_softirqs"}:
        return Place.SOFTIRQ
    segment = next((f.segment for f in report.frames if f.segment in ("irq", "nmi")), "")
    known = {"irq": Place.INTERRUPT, "nmi": Place.NMI}
    return known.get(segment, Place.TASK)


def _died(report: Report) -> bool:
    """Whether die() ran: a WARN() or a checker's report ends nothing."""
    return report.kind in DEADLY and any(_DIED.search(text) for text in report.text)


def _went_on(report: Report, later: str) -> str:
    if report.task is None:
        return f"The machine went on: {later}."
    return (
        f"A soft panic (oops): it killed task {report.task.pid} and the machine went on: {later}."
    )


def _later(ctx: Context, report: Report) -> str:
    """What proves that the machine went on: a later line of the same boot."""
    told = told_at(report)
    if told is None:
        return ""
    seconds, line = max(_later_lines(ctx, report, told), default=(0.0, 0))
    boot = ctx.case.boot(report.boot)
    stopped = boot.stopped if boot is not None else None
    if (
        stopped is not None
        and stopped.line > report.end_line
        and not _followed_by_kdump(ctx, report)
    ):
        after = (stopped.time or 0.0) - told
        when = f"{after:.0f} s later" if report.time is not None and after > 0 else "later"
        return (
            f"it was restarted or shut down by reboot(2) only {when} (log line {stopped.line}:"
            f" {stopped.text.strip()[:60]})"
        )
    where = f" (log line {line})" if line else ""
    return f"it still spoke {seconds:.0f} s later{where}" if seconds >= _LATER else ""


def _later_lines(ctx: Context, report: Report, told: float) -> Iterator[tuple[float, int]]:
    """Seconds after a report, and the line where the same boot still spoke."""
    last, boot = ctx.case.log_end, ctx.case.boot(report.boot)
    following = _boot_after(ctx, report)
    if following is None and last is not None:
        time = last.time if report.time is not None else last.clock
        if time is not None:
            yield time - told, last.line
    elif boot is not None and boot.end is not None and report.time is not None:
        yield boot.end - told, 0
    other = index_of(ctx).last_of_boot.get(report.detail.get("boot", ""))
    time = told_at(other) if other is not None else None
    if other is not None and time is not None:
        yield time - told, other.line


def _followed_by_kdump(ctx: Context, report: Report) -> bool:
    following = _boot_after(ctx, report)
    return following is not None and following.kdump


def crash_kernel(ctx: Context, finding: Finding) -> tuple[str, tuple[Evidence, ...]]:
    """What the log says of the crash kernel that came after a failure: a sentence, its lines."""
    report = index_of(ctx).by_line.get(finding.log_line or 0)
    boot = _boot_after(ctx, report) if report is not None else None
    if boot is None or not boot.kdump:
        return "", ()
    said = Evidence(boot.dump_said.strip(), f"log line {boot.dump_line}")
    return taken_over(boot), (said,) if boot.dump_line is not None else ()


def _boot_after(ctx: Context, report: Report) -> Boot | None:
    """The boot that follows a report in the log."""
    return next((boot for boot in ctx.case.boots if boot.line > report.line), None)


def _crash_kernel(ctx: Context, report: Report) -> str:
    """What proves that a crash kernel took over: its boot, or a report that breaks off."""
    boot = _boot_after(ctx, report)
    if boot is not None:
        return _its_boot(boot) if boot.kdump else ""
    loaded = any("Kdump: loaded" in text for text in report.text)
    ended = any(_END.match(text.lstrip()) for text in report.text)
    whole = any(_LAST.match(text) for text in report.text[-3:])
    last = index_of(ctx).last_of_boot.get(report.detail.get("boot", ""), report)
    if loaded and whole and not ended and last is report:
        return "one was loaded (Kdump: loaded), and the log ends before the line that ends a report"
    return ""


def _its_boot(boot: Boot) -> str:
    became = dump_sentence(boot)
    return f"its boot begins at log line {boot.line}" + (f", and {became}" if became else "")


def _can_not_be_ended(report: Report, place: Place) -> str:
    if place is not Place.TASK:
        return str(place.value)
    if report.task is not None and report.task.pid == 0:
        return "the idle task"
    if report.task is not None and report.task.pid == 1:
        return "init"
    return ""
