"""Calls that the function graph tracer, kretprobes and fprobes followed and that had not returned
when the machine died: of each task its own, outermost first, with their time so far."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.clock import machine_time
from postmortem.kernel.system import present_cpus
from postmortem.kernel.tasks.ret_stack import Call, restore_returns
from postmortem.kernel.tasks.tasks import TaskReader
from postmortem.kernel.tasks.trace import Names
from postmortem.kernel.timekeeping import sched_clock_ns
from postmortem.trace.buffers import trace_arrays
from postmortem.trace.events import last_time

_NS = 1_000_000
_FAR = 24 * 3600 * 1000 * _NS


def calls_in_progress(prog: drgn.Program, pids: tuple[int, ...] = ()) -> Iterator[str]:
    """A line for each task and for each of its calls; nothing if there are none.

    :param pids: Of these tasks, of all if empty.
    """
    hooked = restore_returns(prog)
    reader, names = TaskReader(prog), Names(prog)
    now = trace_now(
        prog, max((call.began for calls in hooked.by_task.values() for call in calls), default=0)
    )
    for address, calls in hooked.by_task.items():
        try:
            task = reader.read(address)[0]
        except damage():
            continue
        if pids and task.pid not in pids:
            continue
        where = f"on CPU {task.cpu}" if task.on_cpu else f"state {task.state}, CPU {task.cpu}"
        yield f"{task.comm}-{task.pid} ({where})"
        for depth, call in enumerate(calls):
            yield _line(names, call, depth, now)


def _line(names: Names, call: Call, depth: int, now: int) -> str:
    so_far = f"{(now - call.began) / _NS:14.3f} ms" if 0 < call.began <= now else f"{'-':>17}"
    if call.function:
        what = f"{names.symbol(call.function, offset=False)}() {{"
    else:
        what = f"a probed call that returns to {names.backtrace(call.returns_to)}"
    return f"{so_far} |  {'  ' * depth}{what}"


def trace_now(prog: drgn.Program, latest: int = 0) -> int:
    """``trace_clock_local()`` when the machine died.

    :param latest: A time that the tracer has seen: no call and no event began later.
    """
    told = readable(lambda: machine_time(prog, present_cpus(prog)).now_ns) or 0
    clock = readable(lambda: sched_clock_ns(prog, told)) or told
    main = trace_arrays(prog)[0]
    if main.clock == "local":
        latest = max(latest, readable(lambda: last_time(main.main)) or 0)
    # A reading far ahead of what the tracer itself has seen is wild.
    return max(latest, clock) if not latest or clock < latest + _FAR else latest
