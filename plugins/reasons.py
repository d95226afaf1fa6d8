"""What was wrong with a machine that somebody made crash."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge import asked
from postmortem.model.findings import Finding, Table
from postmortem.plugin import DumpContext, plugin


@plugin("reasons", needs=("types",))
def reasons(ctx: DumpContext) -> Iterator[Finding | Table]:
    """Measure what makes people ask for a crash: memory, disks, run queues, load.

    In an analysis it speaks only where the crash was asked for (sysrq c, an NMI): the worst
    of these, of locks and of CPUs is the verdict then. By its name it lists all that was
    measured, with what would be too much.
    """
    yield from asked.reasons(ctx, ctx.prog)
