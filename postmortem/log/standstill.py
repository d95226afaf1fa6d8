"""Stalls that nobody's code makes: the whole machine stood still, and its watchdogs with it.

A host that pauses a guest, or does not run it, stops its CPUs and their timers. When they go on,
every watchdog finds that it is late, all in one moment. None of these reports caused another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from postmortem.log.since import began, halted, stuck_seconds, told_at
from postmortem.model.findings import Kind
from postmortem.model.report import Report

STANDSTILL = 60.0
"""Seconds: watchdogs look every few seconds, so none is first heard of after a minute."""
TOGETHER = 2.0
"""Seconds between reports that tell of one standstill."""
_SAME = 10.0
"""Seconds: watchdogs look every few seconds, and round what they say."""
_LINES = 80
_IDLE = re.compile(r"NMI backtrace for cpu \d{1,5} skipped: idling at \S")
_WATCHDOG = re.compile(r"wd_nsec: (?P<ns>\d{1,18})\b")
"""clocksource_watchdog(): how long it was since it looked last, which it does twice a second."""
_STALLS = (Kind.SOFT_LOCKUP, Kind.RCU_STALL)
_GUEST = re.compile(
    r"QEMU|KVM|VMware|VirtualBox|\bXen\b|Bochs|Virtual Machine|Amazon EC2|Google Compute Engine"
    r"|OpenStack|Parallels|bhyve|Alibaba Cloud|oVirt|RHEV|Nutanix|z/VM|IBM pSeries \(emulated",
    re.I,
)


@dataclass(frozen=True)
class Late:
    """A watchdog that spoke late."""

    report: Report
    seconds: float
    told: float


def standstill(reports: Sequence[Report]) -> dict[int, float]:
    """Reports of one standstill of the whole machine: line to seconds.

    Two watchdogs that watch different CPUs speak within moments, each for the first time
    and each of minutes: neither of them ran for so long. A CPU that idled, or the watchdog of
    the clocks, which was late too, shows that no loop kept them.
    """
    late = [
        Late(report, seconds, told)
        for number, report in enumerate(reports)
        if report.kind in _STALLS
        and not report.is_panic
        and (seconds := stuck_seconds(report)) is not None
        and seconds >= STANDSTILL
        and (told := told_at(report)) is not None
        and not _told_before(report, reports[max(0, number - _LOOK_BACK) : number])
    ]
    found: dict[int, float] = {}
    for group in _together(late):
        watched = {(item.report.kind, item.report.cpu) for item in group}
        clock = max((clock_seconds(item.report) or 0.0 for item in group), default=0.0)
        idled = any(_idling(item.report) for item in group)
        if len(watched) > 1 and (idled or clock >= STANDSTILL):
            longest = max(item.seconds for item in group)
            found.update((item.report.line, longest) for item in group)
    return found


_LOOK_BACK = 64


def _told_before(report: Report, earlier: Sequence[Report]) -> bool:
    """Whether the watchdog of that CPU had spoken of the same stall, so that it did run."""
    since = began(report)
    return since is not None and any(
        (other.kind, other.cpu, other.boot) == (report.kind, report.cpu, report.boot)
        and abs((began(other) or 0.0) - since) <= _SAME
        and (told_at(report) or 0.0) - (told_at(other) or 0.0) > TOGETHER
        for other in earlier
    )


def _together(late: Sequence[Late]) -> list[list[Late]]:
    groups: list[list[Late]] = []
    for item in late:
        before = groups[-1][-1] if groups else None
        same = before is not None and before.report.boot == item.report.boot
        if before is not None and same and 0 <= item.told - before.told <= TOGETHER:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _idling(report: Report) -> bool:
    """Some CPU idled, when asked for its stack (in either report) or when called locked up."""
    asked = any(_IDLE.search(text) for text in report.text[:_LINES])
    return asked or halted(report)


def clock_seconds(report: Report) -> float | None:
    """For how long the watchdog of the clocks had not looked, as it said right before."""
    found = (_WATCHDOG.search(said.text) for said in reversed(report.before))
    match = next(filter(None, found), None)
    return None if match is None else int(match["ns"]) / 1e9


def guest_of(reports: Sequence[Report]) -> str:
    """The hardware's name, if it is that of a virtual machine."""
    names = (report.hardware or "" for report in reports)
    return next((name for name in names if _GUEST.search(name)), "")
