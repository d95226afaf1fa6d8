"""Per-CPU variables, also of kernels whose BTF does not describe them."""

from __future__ import annotations

import drgn

from postmortem.dump.damage import damage, integer
from postmortem.kernel.masks import for_each_online_cpu


def variable(prog: drgn.Program, name: str, cpu: int, c_type: str | None = None) -> drgn.Object:
    """The variable ``name`` of a CPU.

    :param c_type: Its type where the dump does not say (BTF has had per-CPU
        variables since pahole 1.18, so kernels of 2020 do not).
    :raises LookupError: there is no such variable, or no type for it.
    """
    from drgn.helpers.linux.percpu import per_cpu

    try:
        return per_cpu(prog[name], cpu)
    except LookupError:
        if c_type is None:
            raise
    address = prog.symbol(name).address
    base = drgn.Object(prog, prog.type(c_type), address=address)
    return per_cpu(base, cpu)


def number(prog: drgn.Program, name: str, cpu: int, c_type: str = "unsigned long") -> int | None:
    """The value of an integer variable of a CPU, ``None`` if this kernel has none.

    ``atomic_t`` and ``atomic_long_t`` count as integers.
    """
    try:
        found = variable(prog, name, cpu, c_type)
        return integer(found)
    except damage():
        return None


def counter_sum(counter: drgn.Object) -> int:
    """``percpu_counter_sum()``: what was folded in and what each CPU has beside.

    :param counter: ``struct percpu_counter``
    """
    from drgn.helpers.linux.percpu import per_cpu_ptr

    total = int(counter.count.value_())
    for cpu in for_each_online_cpu(counter.prog_):
        total += int(per_cpu_ptr(counter.counters, cpu)[0].value_())
    return total
