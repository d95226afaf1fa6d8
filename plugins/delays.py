"""Where the time of each task went: CPU, and what it waited for; I/O bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import Cell, Column, Table, Text, Unit
from postmortem.plugin import DumpContext, option, plugin
from postmortem.plugin.options import numbers

if TYPE_CHECKING:
    from postmortem.kernel.delays import Account, Accounted, Accounts


@plugin(
    "delays",
    needs=("types",),
    in_analysis=False,
    options=(
        option("--each", type=bool, help="A row for each thread, not for each process."),
        option("--pid", metavar="PIDS", help="As getdelays and /proc print these: 1, or 1,7,9."),
        option("--schedstat", type=bool, help="/proc/schedstat as the kernel prints it."),
    ),
)
def delays(
    ctx: DumpContext, *, each: bool = False, pid: str | None = None, schedstat: bool = False
) -> Iterator[Table | Text]:
    """List where the time went: CPU, run queue, block I/O, swap-in, reclaim, and so on.

    Delay accounting (taskstats) is off unless the kernel was told delayacct; without it the
    run queue, CPU time and I/O bytes are known all the same.
    """
    from postmortem.kernel.delays import accounts

    if schedstat:
        yield from _schedstat(ctx)
        return
    pids = numbers("--pid", pid)
    found = ctx.attempt("accounts", lambda: accounts(ctx.prog))
    if found is None:
        return
    ctx.note(found.problems)
    if pids is not None:
        for one in found.each if each else found.processes:
            if one.task.pid in pids:
                yield _text(one)
        return
    yield _sum(found)
    yield _by_task(found, found.each if each else found.processes)


def _schedstat(ctx: DumpContext) -> Iterator[Text]:
    from postmortem.kernel.schedstat import schedstat
    from postmortem.printers.accounting import schedstat_lines

    found = ctx.attempt("schedstat", lambda: schedstat(ctx.prog))
    if found is not None:
        for lost in found.unreadable:
            ctx.problem("schedstat", lost)
        yield Text("/proc/schedstat", tuple(schedstat_lines(found)))


def _text(one: Accounted) -> Text:
    from postmortem.printers.accounting import getdelays_lines, io_lines, schedstat_line

    title, own = f"{one.task.comm} ({one.task.pid})", one.account
    lines = (*getdelays_lines(own), f"schedstat: {schedstat_line(own)}", *io_lines(own))
    return Text(title, (title, *lines))


def _sum(found: Accounts) -> Table:
    from postmortem.kernel.delays import CAUSES

    total = found.total
    longest = any(delay.max_ns is not None for delay in total.delays.values())
    rows: list[tuple[Cell, ...]] = [("CPU", None, total.virtual_ns, None, None)]
    for cause in found.causes:
        delay = total.delays.get(cause)
        if delay is not None:
            rows.append((CAUSES[cause], delay.count, delay.total_ns, delay.mean_ns, delay.max_ns))
    rows[1:] = sorted(rows[1:], key=lambda row: -float(row[2] or 0))
    columns = (
        Column("on"), Column("count", Unit.COUNT), Column("total", Unit.NS),
        Column("mean", Unit.NS), Column("longest", Unit.NS),
    )  # fmt: skip
    cut = 5 if longest else 4
    return Table(
        f"Where the time of {len(found.each)} tasks went",
        columns[:cut],
        tuple(row[:cut] for row in rows),
        found.why_not() or "",
    )


def _by_task(found: Accounts, accounted: tuple[Accounted, ...]) -> Table:
    from postmortem.kernel.delays import CAUSES

    shown = [cause for cause in found.causes if any(_total(o.account, cause) for o in accounted)]
    ordered = sorted(
        accounted, key=lambda one: (one.account.in_io_ns is None, -one.account.waited_ns)
    )
    columns = (
        Column("pid", Unit.ID),
        Column("comm"),
        Column("threads", Unit.COUNT, extra=4),
        Column("CPU", Unit.NS),
        *(Column(CAUSES[cause], Unit.NS) for cause in shown),
        Column("in I/O now", Unit.NS, extra=1),
        Column("read", Unit.BYTES, extra=2),
        Column("written", Unit.BYTES, extra=3),
    )
    return Table("By task, the most delayed first", columns, tuple(_row(o, shown) for o in ordered))


def _row(one: Accounted, shown: list[str]) -> tuple[Cell, ...]:
    own = one.account
    return (
        one.task.pid, one.task.comm, one.threads, own.virtual_ns,
        *(_total(own, cause) for cause in shown),
        own.in_io_ns, own.io.get("read_bytes"), own.io.get("write_bytes"),
    )  # fmt: skip


def _total(account: Account, cause: str) -> int | None:
    delay = account.delays.get(cause)
    return delay.total_ns if delay is not None else None
