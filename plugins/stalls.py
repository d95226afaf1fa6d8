"""Hung tasks as the kernel reported them; lockups.py has CPUs that hang."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.findings import Finding
from postmortem.judging import HANG_KINDS, finding_of, reports_of
from postmortem.plugin import Context, plugin


@plugin("stalls", needs=("log",))
def stalls(ctx: Context) -> Iterator[Finding]:
    """Report the hung tasks that the kernel's own watchdog found."""
    for report in reports_of(ctx, HANG_KINDS):
        yield finding_of(ctx, report)
