"""Sections with interrupts or preemption off that had not ended when the machine died.

The latency tracers note when a section begins and by whom, and say nothing until it ends; of one
that never did only memory tells. Source: kernel/trace/trace_irqsoff.c, trace_sched_wakeup.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.cpu.percpu import number
from postmortem.kernel.tasks.trace import Names
from postmortem.trace.buffers import TraceArray, drgn_cpus, trace_arrays
from postmortem.trace.calls import trace_now

WHAT = {
    "irqsoff": "interrupts off",
    "preemptoff": "preemption off",
    "preemptirqsoff": "interrupts or preemption off",
}
"""What each tracer watches."""


@dataclass(frozen=True)
class Section:
    """One that was open."""

    cpu: int
    tracer: str
    began_ns: int
    """By the clock of the trace."""
    began_at: int
    """Address of the code that began it."""
    so_far_ns: int | None
    """Until the machine was stopped, if that can be told."""
    longest_ns: int
    """Of those that ended, the longest: ``tracing_max_latency``."""
    array: str
    """Name of the instance, empty for the main one."""

    def sentence(self, names: Names) -> str:
        """``CPU 1: interrupts off since 12.345678 by foo+0x1/0x2, 3.2 ms so far``"""
        seconds, rest = divmod(self.began_ns, 1_000_000_000)
        text = (
            f"CPU {self.cpu}: {WHAT[self.tracer]} since {seconds}.{rest // 1000:06}"
            f" by {names.symbol(self.began_at)}"
        )
        if self.so_far_ns is not None:
            text += f", {self.so_far_ns / 1e6:.3f} ms so far"
        if self.longest_ns:
            text += f" (the longest before: {self.longest_ns / 1e6:.3f} ms)"
        return text


def open_sections(prog: drgn.Program) -> Iterator[Section]:
    """Those of the instance whose latency tracer was on; at most one of each CPU."""
    for array in trace_arrays(prog):
        if array.tracer in WHAT:
            yield from _of(prog, array)


def _of(prog: drgn.Program, array: TraceArray) -> Iterator[Section]:
    longest = readable(lambda: int(array.obj.max_latency)) or 0
    if longest >> 63:
        longest = 0
    now = trace_now(prog) if array.clock == "local" else None
    for cpu in drgn_cpus(prog):
        if not number(prog, "tracing_cpu", cpu, "int"):
            continue
        data = readable(lambda cpu=cpu: array.main.data(cpu).read_())  # type: ignore[misc]
        if data is None:
            continue
        start, began = integer(data.critical_start), integer(data.preempt_timestamp)
        if not start or not began:
            continue
        so_far = now - began if now is not None and now >= began else None
        yield Section(cpu, array.tracer, began, start, so_far, longest, array.name)
