"""``ftrace_dump()``: what sysrq z prints."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.rodata import Format, rodata
from postmortem.printers.lines import Line, lines, note
from postmortem.trace.buffers import trace_arrays
from postmortem.trace.text import Trace

_RULE = "---------------------------------\n"
_EMPTY = "   (ftrace buffer empty)\n"
_EMERGENCY = 0


def ftrace_dump(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq z prints after its header: the main buffer, which it would take out."""
    try:
        trace = Trace(prog, trace_arrays(prog)[0])
        holds = any(True for cpu in trace.buffer.cpus for _ in cpu.batches())
    except damage() as exc:
        yield note(f"the ftrace buffer can't be read: {exc}")
        return
    head = _format(prog, "Dumping ftrace buffer:\n")
    yield from lines(head.text, head.level)
    if not holds:
        empty = _format(prog, _EMPTY)
        yield from lines(empty.text, empty.level)
        return
    rule = _format(prog, _RULE)
    yield from lines(rule.text, rule.level)
    for piece in trace.dumped():
        yield from lines(piece, head.level)
    yield from lines(rule.text, rule.level)
    for problem in trace.problems():
        yield note(problem)


def _format(prog: drgn.Program, text: str) -> Format:
    found = rodata(prog).starting(text)
    return found if found is not None else Format(text, _EMERGENCY)
