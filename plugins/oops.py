"""Oopses, BUG() and WARN(): what the faulting instruction did, to what, and who called it."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge import stack_list
from postmortem.judge.faults import oops_finding
from postmortem.judge.reports import OOPS_KINDS, reports_of
from postmortem.model.findings import Finding, Kind
from postmortem.plugin import Context, plugin


@plugin("oops", needs=("log",))
def oops(ctx: Context) -> Iterator[Finding]:
    """Explain every Oops, BUG and WARN in the log.

    With a dump the faulting instruction is disassembled, its operands are
    explained by their values and types, and the objects they point to are named.
    """
    reports = reports_of(ctx, OOPS_KINDS)
    listed = [r for r in reports if r.form == stack_list.FORM and r.kind is Kind.STACK_TRACE]
    if not stack_list.lists_tasks(listed):
        listed = []
    for report in reports:
        if report not in listed:
            yield oops_finding(ctx, report)
    if listed:
        yield from stack_list.told([oops_finding(ctx, report) for report in listed], listed)
