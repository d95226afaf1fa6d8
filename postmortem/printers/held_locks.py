"""``debug_show_all_locks()``: what sysrq d prints, and sysrq t after the run queues.

Source: kernel/locking/lockdep.c.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.printers.lines import WARNING, Line, note


def show_all_locks(prog: drgn.Program) -> Iterator[Line]:
    """Nothing on a kernel without lockdep."""
    if readable(lambda: prog.symbol("lock_classes")) is None:
        return
    if not readable(lambda: integer(prog["debug_locks"])):
        yield Line("INFO: lockdep is turned off.", WARNING)
        return
    yield note("the locks that lockdep has listed are not printed yet")
