"""Hung tasks, lockups and stalls as the kernel reported them."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.findings import Finding
from postmortem.judging import HANG_KINDS, LOCKUP_KINDS, finding_of, reports_of
from postmortem.plugin import Context, plugin


@plugin("stalls", needs=("log",))
def stalls(ctx: Context) -> Iterator[Finding]:
    """Report what the kernel's own watchdogs found: hung tasks, lockups, RCU stalls."""
    for report in reports_of(ctx, HANG_KINDS | LOCKUP_KINDS):
        yield finding_of(ctx, report)
