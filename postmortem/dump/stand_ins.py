"""Objects that stand in for what drgn's helpers would otherwise believe of a dump.

Helpers loop over ``__cpu_online_mask``, but panic() takes every CPU that it stops off
line: their slab free lists, counters and run queues would be passed over. And they loop
up to ``nr_cpu_ids`` and ``nr_node_ids``, whatever a damaged word says. Only the objects
are others; memory and symbols stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable

import drgn

from postmortem.dump.damage import damage, integer, readable

_NOBODY = -1
"""PANIC_CPU_INVALID, also the start of ``crashing_cpu``."""


def register_stand_ins(prog: drgn.Program) -> None:
    """Let the program ask here first."""
    prog.register_object_finder("stand-ins", _StandIns(prog).find, enable_index=0)


class _StandIns:
    """Each is worked out when it is first asked for."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._made: dict[str, drgn.Object | None] = {}
        self._ways: dict[str, Callable[[], drgn.Object | None]] = {
            "__cpu_online_mask": self._online,
            "nr_cpu_ids": lambda: self._bounded("nr_cpu_ids", "struct cpumask"),
            "nr_node_ids": lambda: self._bounded("nr_node_ids", "nodemask_t"),
        }

    def find(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        """Find an object as ``Program.register_object_finder()`` describes."""
        way = self._ways.get(name)
        if way is None or filename is not None or not flags & drgn.FindObjectFlags.VARIABLE:
            return None
        if name not in self._made:
            self._made[name] = None  # while the true one is looked at
            self._made[name] = readable(way)
        return self._made[name]

    def _online(self) -> drgn.Object | None:
        """``struct cpumask`` of the CPUs that there are, if a panic took some off line.

        stop_this_cpu() (arch/x86/kernel/process.c) and its like clear their own bit. A CPU
        that was off line before has empty lists and its counters were folded up: to count
        it in does no harm.
        """
        if not self._panicked():
            return None
        present: drgn.Object = self._prog["__cpu_present_mask"]
        return present

    def _panicked(self) -> bool:
        """Whether a CPU ran panic(), or was on its way into the crash kernel."""
        numbers = (
            readable(lambda: integer(self._prog["panic_cpu"])),
            readable(lambda: integer(self._prog["crashing_cpu"])),
        )
        return any(number not in (None, _NOBODY) for number in numbers)

    def _bounded(self, name: str, mask: str) -> drgn.Object | None:
        """The number of bits of a mask, if the number of those in use is more or unreadable."""
        bits = 8 * drgn.sizeof(self._prog.type(mask))
        true = self._prog[name]
        try:
            if 0 < true.value_() <= bits:
                return None
        except damage():
            pass
        return drgn.Object(self._prog, true.type_, bits)
