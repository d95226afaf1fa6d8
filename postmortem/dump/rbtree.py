"""Red-black trees that end, whatever memory says.

drgn's own walk goes down to the left, and up again, for as long as there are pointers.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

_MAX_NODES = 1 << 20
_RIGHT, _LEFT = 8, 16
"""``struct rb_node { unsigned long __rb_parent_color; struct rb_node *rb_right, *rb_left; }``"""


def rb_entries(root: drgn.Object, kind: str, member: str) -> Iterator[drgn.Object]:
    """Each ``kind *`` of a tree, in its order.

    :param root: ``struct rb_root``
    :param kind: ``struct uprobe``
    :raises LookupError: the tree runs in a circle.
    :raises drgn.FaultError: a node is not in the dump.
    """
    prog = root.prog_
    type_ = prog.type(kind)
    pointer = prog.pointer_type(type_)
    offset = int(drgn.offsetof(type_, member))
    for node in nodes(prog, int(root.rb_node.value_())):
        yield drgn.Object(prog, pointer, (node - offset) % (1 << 64))


def nodes(prog: drgn.Program, root: int) -> Iterator[int]:
    """Address of each ``struct rb_node`` below and with ``root``, in order.

    :raises LookupError: the tree runs in a circle.
    :raises drgn.FaultError: a node is not in the dump.
    """
    seen: set[int] = set()
    above: list[int] = []
    node = root
    while node or above:
        while node:
            if node in seen or len(seen) >= _MAX_NODES:
                raise LookupError(f"the tree of {root:#x} runs in a circle at {node:#x}")
            seen.add(node)
            above.append(node)
            node = prog.read_u64(node + _LEFT)
        node = above.pop()
        yield node
        node = prog.read_u64(node + _RIGHT)
