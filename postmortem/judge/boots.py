"""Several boots in one log: one verdict per boot, and the last boot that failed is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.judge.reports import index_of
from postmortem.model.findings import Confidence, Evidence, Finding, Severity
from postmortem.model.report import Report

if TYPE_CHECKING:
    from postmortem.plugin import Context

_FAILED = (Severity.FATAL, Severity.ERROR)


def by_boot(findings: Sequence[Finding], ctx: Context) -> list[list[Finding]]:
    """The findings of each boot that has any, the one to show first, then the earlier ones.

    That is the last boot with an error in it, or with a warning, or with anything. What no
    report of the log says belongs to it. A crash kernel's boot is none of the machine's: what
    is told of it comes last.
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
    shown = numbers[-1] if numbers else 0
    for grave in (_FAILED, (Severity.WARNING,)):
        failed = [number for number in numbers if any(f.severity in grave for f in boots[number])]
        if failed:
            shown = failed[-1]
            break
    first = [*boots.pop(shown, []), *loose]
    rest = [boots[number] for number in sorted(boots)]
    return [part for part in (first, *rest, crash) if part]


def boot_of(finding: Finding, ctx: Context) -> int | None:
    """Number of the boot that a finding is about; ``None`` if no report of the log says it."""
    report = index_of(ctx).by_line.get(finding.log_line or 0)
    return report.boot if report is not None else None


def earlier_sentence(roots: Sequence[Finding | None]) -> str:
    """Which other boots in the log failed, by the root of each."""
    known = [root for root in roots if root is not None and root.severity is not Severity.INFO]
    text = ""
    for failed, words in ((True, "failed too"), (False, "have reports")):
        said = [
            f"{root.title} (log line {root.log_line})"
            for root in known
            if (root.severity in _FAILED) is failed
        ]
        if said:
            text += f" Other boots in this log {words}: {'; '.join(said[:5])}."
    return text


def no_return(finding: Finding, report: Report) -> Finding:
    """A boot that ends in a sleep: what became of it, its log does not say."""
    following = f"log line {report.detail['next_boot']}"
    return replace(
        finding,
        explanation=(
            f"The machine went to sleep ({report.text[0].strip()}), and the log has no return from"
            f" it: what comes next is another boot ({following}). Whether it did not wake up, lost"
            " its power or was switched off asleep, the log does not say."
        ),
        evidence=(*finding.evidence, Evidence("the next boot begins", following)),
        confidence=Confidence.POSSIBLE,
        next_steps=(
            "If it did not wake up: /sys/power/pm_trace keeps over a reset at which device it"
            " stopped; no_console_suspend shows its last messages on a serial console.",
        ),
    )
