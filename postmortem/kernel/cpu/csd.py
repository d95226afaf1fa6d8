"""Cross-CPU calls (``smp_call_function*()``) that were not answered.

Source: kernel/smp.c, include/linux/smp_types.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, member
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.tasks.stacks import Symbolizer

_LOCK = 0x1
"""CSD_FLAG_LOCK: sent, and not yet run (or, if waited for, not yet done)."""
_TYPE_MASK = 0xF0
_TYPE_TTWU = 0x30
_TYPE_IRQ_WORK = 0x20
_MAX_CALLS = 1000


@dataclass(frozen=True)
class Call:
    """A call in the queue of a CPU."""

    target: int
    """CPU that shall run it."""
    source: int | None
    """CPU that sent it, where the kernel notes it."""
    function: str | None
    """What shall be run there; ``None`` for a wake-up or an unknown address."""
    waited_for: bool
    """It is marked as sent and unanswered."""


def pending_calls(prog: drgn.Program, cpus: list[int]) -> list[Call]:
    """All calls that wait in ``call_single_queue`` of these CPUs."""
    found: list[Call] = []
    for cpu in cpus:
        try:
            found += _queued(prog, cpu)
        except damage():
            continue
    return found


def _queued(prog: drgn.Program, cpu: int) -> Iterator[Call]:
    queue = variable(prog, "call_single_queue", cpu, "struct llist_head")
    csd_type = prog.type("struct __call_single_data")
    node = queue.first.value_()
    seen: set[int] = set()
    while node and node not in seen and len(seen) < _MAX_CALLS:
        seen.add(node)
        # The list node is the first member, in a union that changed in v5.8 and v5.11.
        call = drgn.Object(prog, csd_type, address=node).read_()
        node = prog.read_u64(node)
        flags, source = _flags(call)
        if flags & _TYPE_MASK in (_TYPE_TTWU, _TYPE_IRQ_WORK):
            yield Call(cpu, source, None, False)
            continue
        symbol = Symbolizer.of(prog).symbol(call.func.value_())
        yield Call(cpu, source, symbol.function if symbol else None, bool(flags & _LOCK))


def _flags(call: drgn.Object) -> tuple[int, int | None]:
    """``node.u_flags`` and ``node.src`` since v5.11 (545b8c8df41f), members
    of the call itself before."""
    flags = member(call, "node.u_flags", "flags").value_()
    try:
        return flags, member(call, "node.src", "src").value_()
    except LookupError:
        return flags, None
