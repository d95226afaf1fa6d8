"""How many objects of each slab cache are in use. Source: mm/slub.c.

:func:`slab_infos` counts as ``get_slabinfo()`` does, :func:`freed_elsewhere` is what an exact
count must not forget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn
from drgn.helpers.linux.percpu import per_cpu_ptr

from postmortem.dump.damage import damage, integer, readable
from postmortem.dump.lists import list_entries
from postmortem.kernel.masks import for_each_online_cpu
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


def freed_elsewhere(cache: drgn.Object) -> int:
    """Free objects in the slabs that CPUs allocate from, freed by another CPU than that one.

    A CPU takes all free objects of a slab to a list of its own and counts them as in use
    (``get_freelist()``); what another one then frees goes to the slab's own list and out of
    its ``inuse`` (``__slab_free()``). drgn 0.3.0 looks at the first list only.

    :param cache: ``struct kmem_cache *``
    :raises drgn.FaultError: a slab's page is not in the dump.
    """
    prog = cache.prog_
    try:
        # Linux kernel commit 32c894c7274b ("slab: remove struct kmem_cache_cpu") (in v7.0):
        # no CPU has a slab to itself any more.
        per_cpu = cache.cpu_slab.read_()
    except AttributeError:
        return 0
    kind = prog.type("struct kmem_cache_cpu")
    # Linux kernel commit bb192ed9aa71 ("mm/slub: Convert most struct page to struct slab by
    # spatch") (in v5.17).
    name = "slab" if any(member.name == "slab" for member in kind.members or ()) else "page"
    found = 0
    for cpu in for_each_online_cpu(prog):
        slab = per_cpu_ptr(per_cpu, cpu).member_(name).read_()
        if slab and slab.slab_cache == cache:
            found += max(int(slab.objects.value_()) - int(slab.inuse.value_()), 0)
    return found


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
