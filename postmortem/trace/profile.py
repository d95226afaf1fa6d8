"""What the function profiler counted on each CPU, as ``trace_stat/functionN`` shows it.

Source: kernel/trace/ftrace.c, kernel/trace/trace_stat.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.tasks.trace import Names
from postmortem.trace.buffers import drgn_cpus
from postmortem.trace.graph import duration

_PAGE = 4096
_HEADER = 16
"""``next`` and ``index`` of ``struct ftrace_profile_page``."""
_MAX_PAGES = 1 << 14
_RECORD = struct.Struct("<16xQQQQ")
"""``struct ftrace_profile``: a list node, ip, counter, time, time_squared."""
_COUNTED = struct.Struct("<16xQQ")
"""The same in kernels without the function graph tracer."""
_WORDS = (1 << 64) - 1


class Record(NamedTuple):
    """One function on one CPU."""

    ip: int
    counter: int
    time: int = 0
    """Nanoseconds."""
    squared: int = 0


def profiles(prog: drgn.Program) -> Iterator[tuple[int, list[Record]]]:
    """Records of each CPU that has some, in the order of its pages.

    :raises LookupError: this kernel has no function profiler.
    """
    prog.symbol("ftrace_profile_stats")
    for cpu in drgn_cpus(prog):
        found = readable(lambda cpu=cpu: list(_records(prog, cpu)))  # type: ignore[misc]
        if found:
            yield cpu, found


def _records(prog: drgn.Program, cpu: int) -> Iterator[Record]:
    stat = variable(prog, "ftrace_profile_stats", cpu, "struct ftrace_profile_stat")
    timed = prog.type("struct ftrace_profile").has_member("time")
    layout = _RECORD if timed else _COUNTED
    page = int(stat.start.value_())
    for _ in range(_MAX_PAGES):
        if not page:
            return
        try:
            raw = prog.read(page, _PAGE)
        except damage():
            return
        page, count = struct.unpack_from("<QQ", raw)
        for number in range(min(count, (_PAGE - _HEADER) // layout.size)):
            record = Record(*layout.unpack_from(raw, _HEADER + number * layout.size))
            if record.counter:
                yield record


def profile_lines(prog: drgn.Program, cpu: int | None = None) -> Iterator[str]:
    """``trace_stat/functionN`` of a CPU, or of all that have one with their names."""
    if readable(lambda: prog.symbol("ftrace_profile_stats")) is None:
        raise LookupError("this kernel was built without the function profiler")
    names = Names(prog)
    timed = prog.type("struct ftrace_profile").has_member("time")
    threshold = readable(lambda: int(prog.read_u64(prog.symbol("tracing_thresh").address))) or 0
    counted = dict(profiles(prog))
    shown = counted if cpu is None else {cpu: counted.get(cpu, [])}
    for number, records in shown.items():
        if cpu is None:
            yield f"# trace_stat/function{number}\n"
        yield "  Function                               Hit"
        yield "    Time            Avg             s^2\n" if timed else "\n"
        yield "  --------                               ---"
        yield "    ----            ---             ---\n" if timed else "\n"
        # Of equal ones insert_stat() puts the later before the earlier.
        later_first = records[::-1]
        key = (lambda one: one.time) if timed else (lambda one: one.counter)
        for record in sorted(later_first, key=key, reverse=True):
            if timed and threshold and record.time // record.counter < threshold:
                continue
            yield _line(names, record, timed)


def _line(names: Names, record: Record, timed: bool) -> str:
    name = names.symbol(record.ip, offset=False).partition(" ")[0][:30]
    line = f"  {name:<30}  {record.counter:10}"
    if not timed:
        return f"{line}\n"
    count = record.counter
    deviation = 0
    below = count * (count - 1) * 1000 & _WORDS
    if below:
        deviation = (count * record.squared - record.time * record.time & _WORDS) // below
    times = (record.time, record.time // count, deviation)
    return f"{line}    {'    '.join(map(duration, times))}\n"
