"""perf's events and the samples that nobody has read yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import Cell, Column, Export, Table, Text, Unit
from postmortem.plugin import DumpContext, plugin

if TYPE_CHECKING:
    from postmortem.kernel.perf import PerfEvent, PerfEvents, Records


@plugin("perf", needs=("type:struct perf_event",), in_analysis=False)
def perf(ctx: DumpContext) -> Iterator[Table | Text | Export]:
    """List perf's events: who counts what, how far it got, who opened it, BPF programs on it.

    With -o FILE.data the samples that lie in the buffers are written for perf script.
    """
    from postmortem.kernel.perf import perf_events, records

    found = ctx.attempt("perf", lambda: perf_events(ctx.prog))
    if found is None:
        return
    ctx.note(found.problems)
    if not found.events:
        yield Text("perf", ("no event of perf was open when the machine died",))
        return
    yield _events(found)
    read: dict[int, Records] = {}
    for address, buffer in found.buffers.items():
        users = [event for event in found.events if event.buffer == address]
        backward = any(event.attr.write_backward for event in users)
        got = ctx.attempt(
            "perf buffer",
            lambda b=buffer, w=backward: records(ctx.prog, b, w),  # type: ignore[misc]
        )
        if got is not None:
            read[address] = got
            if got.torn:
                ctx.problem(f"perf buffer {address:#x}", got.torn)
    if read:
        yield _buffers(found, read)
        yield from _file(ctx, found, read)


def _events(found: PerfEvents) -> Table:
    columns = (
        Column("event"), Column("CPU"), Column("task"), Column("state", extra=1),
        Column("count", Unit.COUNT), Column("enabled", Unit.NS),
        Column("running", Unit.NS, extra=2), Column("sampled"), Column("owner"),
        Column("handler", extra=3), Column("BPF", extra=4), Column("address", Unit.HEX, extra=5),
    )  # fmt: skip
    own = (event for event in found.events if not event.parent)
    ordered = sorted(own, key=lambda event: (event.name, event.cpu, event.address))
    return Table("Events of perf", columns, tuple(_row(event) for event in ordered))


def _row(event: PerfEvent) -> tuple[Cell, ...]:
    attr = event.attr
    every = f"{attr.period} Hz" if attr.by_frequency else f"each {attr.period}"
    task = f"{event.task.comm} ({event.task.pid})" if event.task else None
    owner = f"{event.owner.comm} ({event.owner.pid})" if event.owner else None
    return (
        event.name, str(event.cpu) if event.cpu >= 0 else "all", task, event.state, event.count,
        event.enabled_ns, event.running_ns, every if attr.period else None, owner, event.handler,
        ", ".join(event.programs) or None, event.address,
    )  # fmt: skip


def _buffers(found: PerfEvents, read: dict[int, Records]) -> Table:
    rows = []
    for address, got in read.items():
        buffer = found.buffers[address]
        names = sorted({event.name for event in found.events if event.buffer == address})
        cpus = sorted({event.cpu for event in found.events if event.buffer == address})
        unread = sum(map(len, got.records))
        rows.append(
            (", ".join(names), ", ".join(map(str, cpus)), buffer.size, buffer.written, unread,
             len(got.records), buffer.lost, address)
        )  # fmt: skip
    columns = (
        Column("of"), Column("CPU"), Column("size", Unit.BYTES), Column("written", Unit.BYTES),
        Column("not read", Unit.BYTES), Column("records", Unit.COUNT), Column("lost", Unit.COUNT),
        Column("address", Unit.HEX, extra=1),
    )  # fmt: skip
    return Table("Buffers", columns, tuple(rows))


def _file(ctx: DumpContext, found: PerfEvents, read: dict[int, Records]) -> Iterator[Export]:
    from postmortem.kernel.tasks.tasks import all_tasks
    from postmortem.printers.perf_data import perf_data, readable_together
    from postmortem.trace.formats import event_formats

    sampled = [event for event in found.events if event.buffer in read and not event.parent]
    kept, left = readable_together(sampled)
    if left:
        names = ", ".join(sorted({event.name for event in left}))
        ctx.problem("perf.data", f"{names}: perf could not tell their samples from the others'")
    buffers = {event.buffer for group in kept for event in group}
    records = [record for address in buffers for record in read[address].records]
    if records:
        numbers = {group[0].attr.config for group in kept if group[0].is_tracepoint}
        formats = [one for one in event_formats(ctx.prog).all() if one.id in numbers]
        data = perf_data(kept, records, all_tasks(ctx.prog).tasks, formats)
        yield Export("Samples of perf", "data", data)
