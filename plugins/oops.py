"""Oopses, BUG() and WARN(): what the faulting instruction did, to what, and who called it."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.faults import oops_finding
from postmortem.judge.reports import OOPS_KINDS, reports_of
from postmortem.model.findings import Finding
from postmortem.plugin import Context, plugin


@plugin("oops", needs=("log",))
def oops(ctx: Context) -> Iterator[Finding]:
    """Explain every Oops, BUG and WARN in the log.

    With a dump the faulting instruction is disassembled, its operands are
    explained by their values and types, and the objects they point to are named.
    """
    for report in reports_of(ctx, OOPS_KINDS):
        yield oops_finding(ctx, report)
