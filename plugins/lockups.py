"""CPUs that do not let go: soft and hard lockups, RCU and workqueue stalls, and who is behind."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.cpu_story import Story, of_log, read_cpus
from postmortem.judge.cpu_tables import cpu_table, interrupt_lines, under_way
from postmortem.judge.reports import LOCKUP_KINDS, reports_of
from postmortem.model.findings import Finding, Table
from postmortem.plugin import Context, plugin


@plugin("lockups", needs=())
def lockups(ctx: Context) -> Iterator[Finding | Table]:
    """Find CPUs that do not let go, whom they keep waiting, and who is at the root.

    The kernel's own reports (soft and hard lockups, RCU and workqueue stalls) are
    taken from the log. A dump is searched for more: a CPU that takes no interrupts
    or does not switch tasks, spinlocks and their likely holders, unanswered calls,
    grace periods and worker pools that make no progress; also where no watchdog
    fired. By its name it lists all CPUs.
    """
    prog = ctx.prog
    if prog is None or not ctx.has_types:
        yield from of_log(ctx)
        return
    facts = read_cpus(ctx, prog)
    if facts is None:
        yield from of_log(ctx)
        return
    story = Story(ctx, prog, facts, reports_of(ctx, LOCKUP_KINDS))
    yield from story.tell()
    if ctx.named:
        yield cpu_table(facts)
        yield from under_way(ctx, prog, facts)
        yield from interrupt_lines(ctx, prog, facts)
