"""What the kernel's checkers found: KASAN and its kin, lockdep, I/O errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from postmortem.findings import Finding
from postmortem.judging import CHECKER_KINDS, code_block, finding_of, reports_of
from postmortem.plugin import Context, plugin


@plugin("checkers", needs=("log",))
def checkers(ctx: Context) -> Iterator[Finding]:
    """Report what sanitizers and lockdep found, and device errors."""
    for report in reports_of(ctx, CHECKER_KINDS):
        finding = finding_of(ctx, report)
        block = code_block(report)
        yield replace(finding, blocks=(block,)) if block else finding
