"""How many objects of each slab cache are in use: ``get_slabinfo()``. Source: mm/slub.c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.dump.lists import list_entries
from postmortem.kernel.memo import fact
from postmortem.kernel.memory import cache_nodes

_MAX_PARTIAL = 10_000
"""MAX_PARTIAL_TO_SCAN: of more slabs with free places the kernel looks at so many."""
_RECLAIM_ACCOUNT = 0x20000
"""SLAB_RECLAIM_ACCOUNT until v6.9 (cc61eb851c0a) numbered the flags by an enum."""


@dataclass(frozen=True)
class SlabInfo:
    """``struct slabinfo`` of one cache."""

    name: str
    size: int
    """Bytes from one object to the next."""
    used: int
    """Objects. Free ones that a CPU has set aside count as used, as in /proc/slabinfo."""
    total: int
    reclaimable: bool


@dataclass(frozen=True)
class SlabInfos:
    """All caches, in the order of the kernel's list."""

    caches: tuple[SlabInfo, ...]
    unreadable: tuple[str, ...]


@fact
def slab_infos(prog: drgn.Program) -> SlabInfos:
    """Read them.

    :raises LookupError: the types are missing.
    """
    flag = _reclaim_flag(prog)
    found, lost = [], []
    try:
        for cache in list_entries(prog["slab_caches"], "struct kmem_cache", "list"):
            try:
                found.append(_info(cache, flag))
            except damage() as exc:
                lost.append(f"a slab cache: {exc}")
    except damage() as exc:
        lost.append(f"the list of slab caches: {exc}")
    return SlabInfos(tuple(found), tuple(lost))


def _reclaim_flag(prog: drgn.Program) -> int:
    bit = readable(lambda: int(prog.constant("_SLAB_RECLAIM_ACCOUNT").value_()))
    return _RECLAIM_ACCOUNT if bit is None else 1 << (bit & 31)


def _info(cache: drgn.Object, flag: int) -> SlabInfo:
    total = free = 0
    for node in cache_nodes(cache):
        objects = integer(node.total_objects)
        total += objects
        free += min(_free(node), max(objects, 0))
    return SlabInfo(
        name=cache.name.string_().decode("utf-8", "replace"),
        size=int(cache.size.value_()),
        used=max(total - free, 0),
        total=max(total, 0),
        reclaimable=bool(int(cache.flags.value_()) & flag),
    )


def _free(node: drgn.Object) -> int:
    """Free objects of the slabs that have some: ``count_partial()``, and what v6.10
    (046f4c690d2b) made of it where there are very many."""
    partial = int(node.nr_partial.value_())
    if partial <= _MAX_PARTIAL:
        return sum(_each_free(node, partial, "next"))
    half = _MAX_PARTIAL // 2
    seen = sum(_each_free(node, half, "next")) + sum(_each_free(node, half, "prev"))
    return seen * partial // _MAX_PARTIAL


def _each_free(node: drgn.Object, most: int, side: str) -> Iterator[int]:
    prog = node.prog_
    # struct slab since v5.17 (d122019bf061)
    kind = readable(lambda: prog.type("struct slab")) or prog.type("struct page")
    offset = int(drgn.offsetof(kind, "slab_list"))
    head = node.partial.address_of_().value_()
    forward = 0 if side == "next" else 8
    at = prog.read_u64(head + forward)
    for _ in range(most):
        if at == head:
            return
        slab = drgn.Object(prog, kind, address=at - offset)
        yield max(int(slab.objects.value_()) - int(slab.inuse.value_()), 0)
        at = prog.read_u64(at + forward)
