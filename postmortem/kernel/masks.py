"""Sets of CPUs and nodes: bits of a mask, as many as the mask has and not one more.

drgn's helpers go up to ``nr_cpu_ids`` and ``nr_node_ids``: words of memory, which in a damaged
dump may be any number. The size of ``struct cpumask`` is a matter of types. No bit beyond
those numbers is ever set, so the whole of a mask of the kernel's own gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import integer, readable

_WORD_BYTES = 8


def for_each_present_cpu(prog: drgn.Program) -> Iterator[int]:
    """CPUs that the machine has. :raises LookupError: the symbol or its type is missing."""
    return _own_cpus(prog, "__cpu_present_mask")


def for_each_online_cpu(prog: drgn.Program) -> Iterator[int]:
    """CPUs that run. :raises LookupError: the symbol or its type is missing."""
    return _own_cpus(prog, "__cpu_online_mask")


def num_online_cpus(prog: drgn.Program) -> int:
    """How many CPUs run. :raises LookupError: the symbol or its type is missing."""
    return sum(1 for _ in for_each_online_cpu(prog))


def for_each_possible_cpu(prog: drgn.Program) -> Iterator[int]:
    """CPUs that can ever be. :raises LookupError: the symbol or its type is missing."""
    return _own_cpus(prog, "__cpu_possible_mask")


def for_each_cpu(mask: drgn.Object) -> Iterator[int]:
    """CPUs of a ``struct cpumask`` that may have been allocated: no longer than need be.

    With CONFIG_CPUMASK_OFFSTACK memory is there for ``nr_cpu_ids`` bits, that is for the
    last possible CPU (setup_nr_cpu_ids(), kernel/smp.c).
    """
    last = max(for_each_possible_cpu(mask.prog_), default=0)
    return _bits(mask.bits, last + 1)


def for_each_online_node(prog: drgn.Program) -> Iterator[int]:
    """NUMA nodes that are on line: 0 in a kernel without (CONFIG_NUMA)."""
    state = readable(lambda: integer(prog.constant("N_ONLINE")))
    if state is None or readable(lambda: prog.symbol("node_data")) is None:
        return iter((0,))
    return _bits(prog["node_states"][state].bits)


def _own_cpus(prog: drgn.Program, name: str) -> Iterator[int]:
    try:
        mask = prog[name]
    except KeyError:
        if readable(lambda: prog.symbol("__per_cpu_offset")) is None:
            return iter((0,))  # a kernel for one CPU
        raise
    return _bits(mask.bits)


def _bits(words: drgn.Object, count: int | None = None) -> Iterator[int]:
    """Numbers of the bits that are set.

    :param words: ``unsigned long [N]``
    :param count: So many of them at most.
    """
    size = (words.type_.length or 0) * _WORD_BYTES
    if count is not None:
        size = min(size, -(-count // 64) * _WORD_BYTES)
    raw = words.prog_.read(words.address_of_().value_(), size)
    for at, byte in enumerate(raw):
        if byte:
            yield from (8 * at + bit for bit in range(8) if byte >> bit & 1)
