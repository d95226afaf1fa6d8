"""``debug_show_all_locks()``: what sysrq d prints, and sysrq t after the run queues.

Source: kernel/locking/lockdep.c.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import readable
from postmortem.kernel.cpu.cpus import panic_task
from postmortem.kernel.locking.held import HeldLock, lock_holders, lockdep_state
from postmortem.kernel.tasks.trace import Names
from postmortem.printers.lines import WARNING, Line, lines, note


def show_all_locks(prog: drgn.Program) -> Iterator[Line]:
    """Nothing on a kernel without lockdep.

    :raises LookupError: the types are missing.
    """
    state = lockdep_state(prog)
    if state is None:
        return
    if not state:
        yield Line("INFO: lockdep is turned off.", WARNING)
        return
    yield from lines("\nShowing all locks held in the system:\n", WARNING)
    names = Names(prog)
    asking = readable(lambda: panic_task(prog))
    for holder in lock_holders(prog):
        task, plural = holder.row.task, "" if holder.depth == 1 else "s"
        yield Line(f"{holder.depth} lock{plural} held by {task.comm}/{task.pid}:")
        # What a task on a CPU has changes while it is read, but for who asks.
        if holder.row.state == 0 and task.address != asking:
            continue
        for number, lock in enumerate(holder.locks):
            yield Line(f" #{number}: {_lock(names, lock)}")
        if holder.unreadable:
            yield note(f"the locks of {task.pid} break off: {holder.unreadable}")
    yield Line("", WARNING)
    yield from lines("=" * 45 + "\n\n", WARNING)


def _lock(names: Names, lock: HeldLock) -> str:
    """``print_lock()``"""
    kind = lock.kind
    if kind is None:
        return "<RELEASED>"
    what = f"({kind.name}){{{kind.usage}}}-{{{kind.outer}:{kind.inner}}}"
    return f"{lock.instance:016x} {what}, at: {names.symbol(lock.taken_at)}"
