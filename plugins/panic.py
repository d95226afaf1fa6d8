"""Panics: who called panic() and why, init's end, a missing root, sysrq, NMI, machine check."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.panics import told
from postmortem.judge.reports import PANIC_KINDS, finding_of, index_of, reports_of
from postmortem.model.findings import Finding
from postmortem.plugin import Context, plugin


@plugin("panic", needs=("log",))
def panic(ctx: Context) -> Iterator[Finding]:
    """Say why the kernel stopped, where the panic itself is the failure."""
    for report in reports_of(ctx, PANIC_KINDS):
        previous = index_of(ctx).previous.get(report.line)
        yield told(finding_of(ctx, report), report, ctx.system, previous, ctx.reports)
