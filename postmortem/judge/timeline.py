"""What ftrace recorded last, before the failure: on its CPU, and for its task.

From the ring buffers of a dump, or from what the kernel printed of them into its log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from postmortem.log.ftrace import LoggedBuffer, logged_buffers
from postmortem.model.findings import Block
from postmortem.model.report import Report
from postmortem.rules.kinds import MILD

if TYPE_CHECKING:
    import drgn

    from postmortem.plugin import Context
    from postmortem.trace.buffers import Buffer, TraceArray
    from postmortem.trace.events import Event

_SHOWN = 24
_MAX_BUFFERS = 4
_TAILS = (16, 256)
"""Pages of each CPU that are read: more if the machine went on recording after the failure."""
_LOG_CLOCKS = frozenset({"local", "global", "perf"})
"""Made of sched_clock(), as the time stamps of the log are if that clock is stable."""
_KERNEL = 0xFFFF800000000000
_NO_OBJECTS = frozenset({"rip", "pc", "rsp", "sp", "rbp"})


@dataclass(frozen=True)
class Moment:
    """When, where and for whom it failed; what is not known is ``None``."""

    report: Report | None
    cpu: int | None
    pid: int | None
    comm: str = ""

    @property
    def time_ns(self) -> int | None:
        """Of the log."""
        time = self.report.time if self.report is not None else None
        return int(time * 1e9) + 999 if time else None

    def whose(self) -> str:
        """In words."""
        parts = [f"CPU {self.cpu}"] if self.cpu is not None else []
        if self.pid is not None:
            parts.append(f"{self.comm or 'the task'} (pid {self.pid})")
        return " and ".join(parts)


def timeline(ctx: Context) -> Iterator[Block]:
    """A block for each buffer that has something to say about the failure."""
    moment = moment_of(ctx)
    if moment is None:
        return
    if ctx.prog is not None and ctx.has_types:
        yield from ctx.attempt("the trace", lambda: list(_from_memory(ctx.prog, moment))) or ()
    if not ctx.case.mentions("Dumping ftrace "):
        return
    for buffer in islice(logged_buffers(ctx.records), _MAX_BUFFERS):
        yield from _from_log(buffer, moment)


def moment_of(ctx: Context) -> Moment | None:
    """The first serious report of the log; without any, where the kernel panicked."""
    serious = (one for one in ctx.reports if one.kind not in MILD or one.is_panic)
    report = next(serious, None)
    if report is None or (report.cpu is None and report.task is None):
        return None
    task = report.task
    return Moment(
        report,
        report.cpu,
        task.pid if task is not None else None,
        (task.comm or "") if task else "",
    )


def _from_memory(prog: drgn.Program, moment: Moment) -> Iterator[Block]:
    from postmortem.trace.buffers import trace_arrays

    shown = 0
    for array in trace_arrays(prog):
        if array.entries() <= 0:
            continue
        block = _block(prog, array, moment)
        if block is not None:
            yield block
            shown += 1
            if shown >= _MAX_BUFFERS:
                return


def _block(prog: drgn.Program, array: TraceArray, moment: Moment) -> Block | None:
    from postmortem.trace.text import Trace

    # oops_enter() stops all recording; what goes on has to be cut off at the time of the log.
    comparable = array.clock in _LOG_CLOCKS and _is_stable(prog)
    until = moment.time_ns if array.recording and comparable else None
    found = _before(array.main, moment, until)
    if not found:
        return None
    trace = Trace(prog, array)
    objects = _objects(moment.report)
    end = until if until is not None else found[-1].time
    lines, mark = [], None
    for number, event in enumerate(found):
        when = f"{(event.time - end) / 1e6:11.3f} ms" if array.in_ns else f"{event.time - end:14}"
        comm = trace.cmdlines.comm(event.pid)
        text = trace.printers.text(event.type, event.data).rstrip("\n").replace("\n", " ")
        named = [name for name, word in objects if word in event.data]
        if named:
            text += f"   <- {', '.join(named)} at the fault"
            mark = number
        flags = trace.flags.text(event.flags)
        lines.append(f"{when}  CPU {event.cpu}  {comm}-{event.pid}  {flags}  {text}")
    where = f"the instance {array.name}" if array.name else "the main buffer"
    if until is not None:
        upto = "before the failure"
    else:
        upto = "until the end" if array.recording else "until recording stopped"
    title = f"What ftrace recorded last of {moment.whose()}, in {where}, {upto}"
    return Block(title, tuple(lines), mark)


def _is_stable(prog: drgn.Program) -> bool:
    """``sched_clock_stable()``: else the log's clock is corrected and the trace's is not."""
    from postmortem.dump.damage import integer, readable

    enabled = readable(lambda: integer(prog["__sched_clock_stable"].key.enabled))
    return bool(enabled)


def _before(buffer: Buffer, moment: Moment, until: int | None) -> list[Event]:
    """The last events of the CPU and of the task, up to a time."""
    found: list[Event] = []
    for tail in _TAILS:
        found = sorted(_tail(buffer, moment, until, tail), key=lambda event: event.time)
        if found:
            break
    return found[-_SHOWN:]


def _tail(buffer: Buffer, moment: Moment, until: int | None, tail: int) -> Iterator[Event]:
    from postmortem.trace.events import HEADER, Event

    unpack = HEADER.unpack_from
    for one in buffer.cpus:
        own = one.cpu == moment.cpu
        for data, places in one.batches(tail=tail):
            for time, at, size in places:
                if size < HEADER.size or (until is not None and time > until):
                    continue
                number, flags, pid = unpack(data, at)
                if own or pid == moment.pid:
                    yield Event(time, one.cpu, number, flags, pid, data[at : at + size])


def _objects(report: Report | None) -> list[tuple[str, bytes]]:
    """Registers of the fault that point into the kernel's data, as events would hold them."""
    found = []
    for name, value in (report.registers if report is not None else {}).items():
        word = name.lower()
        # Code and modules lie in the highest 2 GiB.
        if word not in _NO_OBJECTS and _KERNEL <= value < 0xFFFFFFFF80000000:
            found.append((word, struct.pack("<Q", value)))
    return found


def _from_log(buffer: LoggedBuffer, moment: Moment) -> Iterator[Block]:
    own = [one for one in buffer.events if one.cpu == moment.cpu or one.pid == moment.pid]
    if not own:
        return
    last = own[-1].time_us
    lines = tuple(
        f"{(one.time_us - last) / 1000:11.3f} ms  CPU {one.cpu}  {one.comm}-{one.pid}"
        f"  {one.flags}  {one.text}"
        for one in own[-_SHOWN:]
    )
    where = f"the instance {buffer.instance}" if buffer.instance else "ftrace's buffer"
    title = (
        f"What ftrace recorded last of {moment.whose()}, as the kernel printed {where}"
        f" (log line {buffer.line})"
    )
    if not buffer.whole:
        title += ", which breaks off"
    yield Block(title, lines)
