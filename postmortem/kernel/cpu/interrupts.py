"""Interrupts: how many came since boot, to which CPU, and whether anybody handled them.

Source: struct irq_desc (include/linux/irqdesc.h), note_interrupt() of kernel/irq/spurious.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.irqs import irq_descs
from postmortem.kernel.masks import for_each_possible_cpu

_MAX_IRQS = 1 << 16
UNHANDLED = 10_000
"""So many of the last 100,000 that nobody claimed are trouble; at 99,900 the kernel gives up."""
RATE = 20_000
"""Interrupts a second, on average since boot, that are a storm on any machine."""


@dataclass(frozen=True)
class Interrupt:
    """One interrupt line."""

    number: int
    name: str
    """Of the devices that share it."""
    total: int
    """Since boot, on all CPUs."""
    per_second: float
    """On average since boot."""
    unhandled: int
    """Of the last 100,000: those that no handler claimed."""

    @property
    def stormy(self) -> bool:
        """Far more than a device that works would send."""
        return self.unhandled >= UNHANDLED or self.per_second >= RATE


def interrupts(prog: drgn.Program, seconds: float) -> list[Interrupt]:
    """All lines that were used, the busiest first.

    :param seconds: Since boot.
    :raises LookupError: the types are missing.
    """
    found = []
    for count, (number, desc) in enumerate(irq_descs(prog)):
        if count >= _MAX_IRQS:
            break
        try:
            total = _total(desc)
            name = _name(desc)
            unhandled = int(desc.irqs_unhandled.value_())
        except damage():
            continue
        if total:
            rate = total / seconds if seconds > 0 else 0.0
            found.append(Interrupt(int(number), name, total, rate, unhandled))
    return sorted(found, key=lambda line: -line.total)


def _total(desc: drgn.Object) -> int:
    """Sum of ``kstat_irqs`` of all CPUs; ``struct irqstat`` since v6.10 (86d2a2f51fba)."""
    from drgn.helpers.linux.percpu import per_cpu_ptr

    prog = desc.prog_
    total = 0
    for cpu in for_each_possible_cpu(prog):
        value = per_cpu_ptr(desc.kstat_irqs, cpu)[0]
        if value.type_.unaliased().kind == drgn.TypeKind.STRUCT:
            value = value.cnt
        total += int(value.value_())
    return total


def _name(desc: drgn.Object) -> str:
    names: list[str] = []
    action = desc.action.read_()
    while action and len(names) < 32:
        names.append(action.name.string_().decode("utf-8", "replace"))
        action = action.next.read_()
    return ", ".join(names) or "no handler"
