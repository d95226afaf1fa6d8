"""The kernel's interrupt lines: ``struct irq_desc`` by number."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.maple import maple_entries
from postmortem.dump.xarray import xarray_entries


def irq_descs(prog: drgn.Program) -> Iterator[tuple[int, drgn.Object]]:
    """Number and ``struct irq_desc *``, in order.

    :raises LookupError: the tree is damaged, or this kernel has none (CONFIG_SPARSE_IRQ).
    :raises drgn.FaultError: a part of the tree is not in the dump.
    """
    try:
        # A maple tree since v6.5 (721255b9826b), before a radix tree, which is an xarray.
        tree = prog["sparse_irqs"]
    except KeyError:
        entries = xarray_entries(prog["irq_desc_tree"])
    else:
        entries = maple_entries(tree)
    for number, address in entries:
        yield number, drgn.Object(prog, "struct irq_desc *", address)
