"""Which objects of a slab cache are free. Source: mm/slub.c.

A free object links to the next one by the word at ``kmem_cache.offset``. Each slab has such a
list, and each CPU one of its own slab's; since v6.18 CPUs and nodes also keep free objects in
arrays, the sheaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import drgn
from drgn.helpers.linux.percpu import per_cpu_ptr

from postmortem.dump.lists import list_entries
from postmortem.kernel.masks import for_each_online_cpu, for_each_online_node
from postmortem.kernel.memory import cache_nodes

_MAX_OBJECTS = 1 << 15
"""OO_MASK: a slab has no more."""
_MAX_SHEAVES = 1 << 12


class FreeLists:
    """The free lists of one cache."""

    def __init__(self, cache: drgn.Object) -> None:
        """:param cache: ``struct kmem_cache *``"""
        self._cache = cache
        self._prog = cache.prog_
        self._offset = int(cache.offset.value_())
        # CONFIG_SLAB_FREELIST_HARDENED; with the address byte-swapped since v5.7
        # (1ad53d9fa3f6), which stable kernels took over.
        kind = cache.type_.type
        self._random = int(cache.random.value_()) if kind.has_member("random") else None

    def linked(self, head: int) -> frozenset[int]:
        """Addresses of the objects of the list that begins with ``head``.

        :raises LookupError: it runs in a circle or is longer than a slab.
        :raises drgn.FaultError: it leads to where nothing is, or not all of it is in the dump.
        """
        found: set[int] = set()
        at = head
        while at:
            if at in found or len(found) >= _MAX_OBJECTS:
                raise LookupError(f"the free list at {head:#x} runs in a circle at {at:#x}")
            found.add(at)
            at = self._next(at)
        return frozenset(found)

    def _next(self, at: int) -> int:
        place = (at + self._offset) % (1 << 64)
        word = self._prog.read_u64(place)
        if self._random is None:
            return int(word)
        swapped = int.from_bytes(place.to_bytes(8, "little"), "big")
        return int(word ^ self._random ^ swapped)

    def set_aside(self) -> frozenset[int]:
        """Free objects that CPUs and nodes keep, which are on no slab's own list."""
        found: set[int] = set()
        for cpu_slab in self._per_cpu("cpu_slab"):
            found |= self.linked(int(cpu_slab.freelist.value_()))
        for cpu_sheaves in self._per_cpu("cpu_sheaves"):
            for sheaf in (cpu_sheaves.main.read_(), cpu_sheaves.spare.read_()):
                found |= _held(sheaf)
        for barn in self._barns():
            full = list_entries(barn.sheaves_full, "struct slab_sheaf", "barn_list")
            for sheaf in islice(full, _MAX_SHEAVES):
                found |= _held(sheaf)
        return frozenset(found)

    def _per_cpu(self, name: str) -> Iterator[drgn.Object]:
        """What each CPU has of a per-CPU member; nothing if the kernel has no such member.

        ``cpu_slab`` went with v7.0 (32c894c7274b), ``cpu_sheaves`` came with v6.18 (2d517aa09bbc).
        """
        if not self._cache.type_.type.has_member(name):
            return
        pointer = self._cache.member_(name).read_()
        for cpu in for_each_online_cpu(self._prog) if pointer else ():
            yield per_cpu_ptr(pointer, cpu)

    def _barns(self) -> Iterator[drgn.Object]:
        """``struct node_barn *`` of each node: beside its ``struct kmem_cache_node`` since
        v7.1 (5ba6bc27b1f9), in it before."""
        kind = self._cache.type_.type
        if kind.has_member("per_node"):
            # Declared for all nodes there may be, allocated for those there are.
            array = self._cache.per_node
            holders = [array[number] for number in for_each_online_node(self._prog)]
        else:
            holders = cache_nodes(self._cache)
        for holder in holders:
            record = holder.type_
            record = record.type if record.kind == drgn.TypeKind.POINTER else record
            barn = holder.barn.read_() if record.has_member("barn") else None
            if barn:
                yield barn


def _held(sheaf: drgn.Object) -> frozenset[int]:
    """:param sheaf: ``struct slab_sheaf *``"""
    if not sheaf:
        return frozenset()
    size = min(int(sheaf.size.value_()), _MAX_OBJECTS)
    first = int(sheaf.objects.address_of_().value_())
    prog = sheaf.prog_
    return frozenset(prog.read_u64(first + 8 * number) for number in range(size))
