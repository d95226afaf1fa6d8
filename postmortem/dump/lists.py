"""Lists of ``struct list_head`` that end, whatever memory says.

drgn's own walk follows ``next`` until it is back at the head: an entry that points at itself
keeps it busy for ever.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

MAX_ENTRIES = 1 << 20


def list_entries(head: drgn.Object, kind: str, member: str) -> Iterator[drgn.Object]:
    """Each ``kind *`` that is linked into a list by ``member``, as far as it can be read.

    :param head: ``struct list_head``
    :param kind: ``struct super_block``
    :raises LookupError: the list runs in a circle or has no end.
    :raises drgn.FaultError: an entry is not in the dump.
    """
    prog = head.prog_
    type_ = prog.type(kind)
    pointer = prog.pointer_type(type_)
    offset = int(drgn.offsetof(type_, member))
    for node in nodes(prog, int(head.address_of_().value_())):
        yield drgn.Object(prog, pointer, (node - offset) % (1 << 64))


def nodes(prog: drgn.Program, head: int) -> Iterator[int]:
    """Address of each ``struct list_head`` behind the head.

    :raises LookupError: the list runs in a circle or has no end.
    :raises drgn.FaultError: a node is not in the dump.
    """
    seen: set[int] = set()
    node = prog.read_u64(head)
    while node != head:
        if node in seen or len(seen) >= MAX_ENTRIES:
            raise LookupError(f"the list at {head:#x} runs in a circle at {node:#x}")
        seen.add(node)
        yield node
        node = prog.read_u64(node)
