"""Out of memory: who holds it."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.memory import told
from postmortem.judge.memory_holders import with_holders
from postmortem.judge.reports import MEMORY_KINDS, finding_of, reports_of
from postmortem.model.findings import Finding, Kind, Severity
from postmortem.plugin import Context, plugin


@plugin("oom", needs=("log",))
def oom(ctx: Context) -> Iterator[Finding]:
    """Explain out-of-memory kills and failed allocations: the top tasks and slab caches."""
    reports = reports_of(ctx, MEMORY_KINDS)
    findings = [told(finding_of(ctx, report), report, reports) for report in reports]
    prog = ctx.prog
    if prog is None or not ctx.has_types or not findings:
        yield from findings
        return
    worst = max(findings, key=lambda item: (item.severity is Severity.FATAL, item.kind is Kind.OOM))
    for finding in findings:
        yield with_holders(ctx, prog, finding) if finding is worst else finding
