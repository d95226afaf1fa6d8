"""Areas of vmalloc(): ``struct vmap_area``."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import readable
from postmortem.dump.lists import list_entries

_MAX_NODES = 1 << 12
"""vmap_init_nodes() makes one for each CPU, 128 at most."""


def vmap_areas(prog: drgn.Program) -> Iterator[drgn.Object]:
    """``struct vmap_area *`` of each area that is in use.

    Since v6.9 (d093602919ad) they are in several lists, before in one.

    :raises LookupError: a list runs in a circle, or the types are missing.
    :raises drgn.FaultError: an area is not in the dump.
    """
    for head in _heads(prog):
        yield from list_entries(head, "struct vmap_area", "list")


def _heads(prog: drgn.Program) -> Iterator[drgn.Object]:
    try:
        nodes = prog["vmap_nodes"]
    except KeyError:
        yield prog["vmap_area_list"]
        return
    count = readable(lambda: int(prog["nr_vmap_nodes"].value_()))
    for number in range(min(1 if count is None else count, _MAX_NODES)):
        yield nodes[number].busy.head
