"""When the trouble of a report began: a watchdog speaks long after.

Watchdogs say for how long: soft lockups in seconds, RCU in jiffies, khungtaskd in the
seconds of its timeout. The order of two troubles is the order of their beginnings, not of
the lines that tell of them.
"""

from __future__ import annotations

import re

from postmortem.model.findings import Kind
from postmortem.model.report import Report
from postmortem.rules.blame import plain
from postmortem.rules.roles import HALTS

_JIFFIES = re.compile(r"\bt=(?P<jiffies>\d{1,12}) jiffies")
_STARVED = re.compile(r"kthread (?:starved|timer wakeup didn't happen) for (?P<jiffies>\d{1,12})")
_POOL = re.compile(r"workqueue lockup .{0,80}stuck for (?P<seconds>\d{1,9})s")
_HZ = (1000, 300, 250, 100)
"""What CONFIG_HZ can be."""
_TIMEOUTS = (21, 60)
"""Seconds after which RCU reports a stall: the default, and what distributions set."""
_STALLED = re.compile(r"\s*(?P<cpu>\d{1,5})-[.!oO]{2,5}: \(")
_MAX_LINES = 60
"""Lines of a report that are searched."""


def stuck_seconds(report: Report) -> float | None:
    """For how long it had lasted when the kernel reported it; for jiffies at least so long."""
    for name in ("stuck", "seconds"):
        text = report.detail.get(name, "")
        if text.isdigit() and len(text) < 10:
            return float(text)
    waited = report.detail.get("waited_ns", "")
    if waited.isdigit() and len(waited) < 20:
        return int(waited) / 1e9
    if report.kind is Kind.WORKQUEUE_STALL:
        found = next(filter(None, map(_POOL.search, report.text[:_MAX_LINES])), None)
        return float(found["seconds"]) if found else None
    jiffies = stall_jiffies(report)
    return None if jiffies is None else jiffies / hertz(jiffies)


def stall_jiffies(report: Report) -> int | None:
    """How old the grace period was, as RCU says it."""
    if report.kind is not Kind.RCU_STALL:
        return None
    lines = report.text[:_MAX_LINES]
    for pattern in (_JIFFIES, _STARVED):
        found = next(filter(None, map(pattern.search, lines)), None)
        if found is not None:
            return int(found["jiffies"])
    return None


def silent_cpu(report: Report) -> int | None:
    """The CPU that does not answer a call, as csd_lock_wait_toolong() (kernel/smp.c) names it."""
    text = report.detail.get("silent", "")
    return int(text) if text.isdigit() and len(text) < 6 else None


def hertz(jiffies: int) -> int:
    """Jiffies a second: RCU reports a stall right after its timeout, which tells the rate.

    Where no rate fits, the fastest: seconds are then a lower bound.
    """
    for timeout in _TIMEOUTS:
        for rate in _HZ:
            if timeout * rate <= jiffies <= timeout * rate * 1.1 + rate:
                return rate
    return max(_HZ)


def began(report: Report) -> float | None:
    """Seconds since boot at which the trouble began; ``None`` where the time is not known."""
    time = told_at(report)
    return None if time is None else time - (stuck_seconds(report) or 0.0)


def told_at(report: Report) -> float | None:
    """When it was told: seconds since boot, else of the logger's clock."""
    return report.time if report.time is not None else report.clock


def idles(report: Report) -> bool:
    """Whether the CPU that a stall is about does nothing: then no code holds it up."""
    return report.kind is Kind.RCU_STALL and any(
        "skipped: idling at" in text for text in report.text[:_MAX_LINES]
    )


def halted(report: Report) -> bool:
    """A CPU called locked up, while its idle task waits for an interrupt."""
    if report.kind is not Kind.SOFT_LOCKUP or (report.task is not None and report.task.pid):
        return False
    if report.pc is not None and report.pc.function:
        return plain(report.pc.function) in HALTS
    frame = next((f for f in report.frames if f.reliable and f.function), None)
    return frame is not None and plain(frame.function or "") in HALTS


def stalled_cpus(report: Report) -> list[int]:
    """The CPUs that RCU waits for, by its own list."""
    if report.kind is not Kind.RCU_STALL:
        return []
    found = (_STALLED.search(text) for text in report.text[:_MAX_LINES])
    return [int(match["cpu"]) for match in found if match is not None]


_MENDED = frozenset(
    {"aer-corrected", "btrfs-mended", "md-mended", "soft-offline", "io-unsupported"}
)
_CORRECTED = frozenset({"CE", "corrected", "Corrected"})


def corrected(report: Report) -> bool:
    """Whether the hardware mended the error itself: it explains nothing that came after."""
    if report.form in _MENDED:
        return True
    return report.kind is Kind.MACHINE_CHECK and report.detail.get("severity") in _CORRECTED
