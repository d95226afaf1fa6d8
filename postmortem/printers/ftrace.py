"""``ftrace_dump()``: what sysrq z prints. So far only of a buffer that holds nothing."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import damage, integer, member
from postmortem.kernel.rodata import rodata
from postmortem.printers.lines import Line, lines, note


def ftrace_dump(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq z prints after its header."""
    try:
        entries = _entries(prog)
    except damage() as exc:
        yield note(f"the ftrace buffer can't be read: {exc}")
        return
    if entries:
        yield note(
            f"the ftrace buffer holds {entries} entries, which the trace reader would print:"
            " it does not exist yet"
        )
        return
    for text in ("Dumping ftrace buffer:\n", "   (ftrace buffer empty)\n"):
        found = rodata(prog).starting(text)
        if found is not None:
            yield from lines(found.text, found.level)


def _entries(prog: drgn.Program) -> int:
    """How many entries all CPUs' buffers hold that nobody has read.

    :raises LookupError: this kernel has no ring buffer that is known.
    """
    from drgn.helpers.linux.cpumask import for_each_online_cpu

    buffer = member(prog["global_trace"], "array_buffer", "trace_buffer").buffer
    total = 0
    for cpu in for_each_online_cpu(prog):
        own = buffer.buffers[cpu]
        if own:
            gone = _local(own.overrun) + int(own.read.value_())
            total += max(0, _local(own.entries) - gone)
    return total


def _local(counter: drgn.Object) -> int:
    """``local_t``"""
    return integer(counter.a)
