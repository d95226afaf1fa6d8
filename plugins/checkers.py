"""What the kernel's checkers found: KASAN and its kin, and lockdep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from postmortem.judge.assertions import with_history
from postmortem.judge.reports import CHECKER_KINDS, code_block, finding_of, reports_of
from postmortem.log.blocked import lockdep_circle
from postmortem.model.findings import Block, Finding, Holds
from postmortem.plugin import Context, plugin


@plugin("checkers", needs=("log",))
def checkers(ctx: Context) -> Iterator[Finding]:
    """Report what sanitizers and lockdep found."""
    for report in reports_of(ctx, CHECKER_KINDS):
        finding = with_history(finding_of(ctx, report), report)
        block = code_block(ctx, report)
        blocks = [block] if block else []
        circle = lockdep_circle(report)
        if circle:
            lines = [f"{name}, taken in {function or '?'}" for name, function in circle]
            lines.append(f"{circle[0][0]}: the circle is closed")
            title = "Locks in the circle, each taken with the next one held"
            blocks.append(Block(title, tuple(lines), holds=Holds.WAITS))
        yield replace(finding, blocks=tuple(blocks)) if blocks else finding
