"""Several boots in one log: one verdict per boot, and the last boot that failed is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from postmortem.judge.reports import index_of
from postmortem.model.findings import Finding, Severity

if TYPE_CHECKING:
    from postmortem.plugin import Context

_FAILED = (Severity.FATAL, Severity.ERROR)


def by_boot(findings: Sequence[Finding], ctx: Context) -> list[list[Finding]]:
    """The findings of each boot that has any, the one to show first, then the earlier ones.

    That is the last boot with an error in it, or the last one with anything. What no report of
    the log says belongs to it. A crash kernel's boot is none of the machine's: what is told of
    it comes last.
    """
    boots: dict[int, list[Finding]] = {}
    crash: list[Finding] = []
    loose: list[Finding] = []
    for finding in findings:
        report = None
        if finding.log_line is not None:
            report = index_of(ctx).by_line.get(finding.log_line)
        if report is None:
            loose.append(finding)
        elif "boot_of" in report.detail:
            crash.append(finding)
        else:
            boots.setdefault(report.boot, []).append(finding)
    numbers = sorted(boots)
    failed = [number for number in numbers if any(f.severity in _FAILED for f in boots[number])]
    shown = failed[-1] if failed else numbers[-1] if numbers else 0
    first = [*boots.pop(shown, []), *loose]
    rest = [boots[number] for number in sorted(boots)]
    return [part for part in (first, *rest, crash) if part]


def boot_of(finding: Finding, ctx: Context) -> int | None:
    """Number of the boot that a finding is about; ``None`` if no report of the log says it."""
    report = index_of(ctx).by_line.get(finding.log_line or 0)
    return report.boot if report is not None else None


def earlier_sentence(roots: Sequence[Finding | None]) -> str:
    """Which other boots in the log failed, by the root of each."""
    said = [
        f"{root.title} (log line {root.log_line})"
        for root in roots
        if root is not None and root.severity is not Severity.INFO
    ]
    if not said:
        return ""
    return f" Other boots in this log failed too: {'; '.join(said[:5])}."
