"""Where the memory went: totals, slab caches, the largest processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.dump.damage import damage, integer, member, readable, tolerated
from postmortem.dump.lists import list_entries
from postmortem.kernel.cpu.percpu import counter_sum
from postmortem.kernel.masks import for_each_online_node
from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.kernel.zones import total_pages
from postmortem.model.findings import TaskRef

_MAX_CACHES = 4096
_MAX_ORDER = 10
"""MAX_PAGE_ORDER of x86-64: the buddy allocator has no larger pieces."""


@dataclass(frozen=True)
class SlabCache:
    """What one slab cache occupies."""

    name: str
    object_size: int
    """Bytes of an object without red zones and padding."""
    slots: int
    """Places for objects in its slabs, free and taken."""
    slabs: int
    bytes: int
    """Pages of all slabs."""


@dataclass(frozen=True)
class TaskMemory:
    """What one process occupies."""

    task: TaskRef
    rss_bytes: int
    """Resident set: anonymous, file and shared memory pages."""
    swap_bytes: int


@dataclass(frozen=True)
class MemoryTotals:
    """Totals in bytes; ``None`` where a counter does not exist or can't be read."""

    total: int | None
    free: int | None
    anonymous: int | None
    file: int | None
    shmem: int | None
    slab_reclaimable: int | None
    slab_unreclaimable: int | None
    page_tables: int | None
    kernel_stacks: int | None
    vmalloc: int | None = None


def memory(prog: drgn.Program) -> MemoryTotals:
    """Read the machine-wide counters (``vm_zone_stat``, ``vm_node_stat``)."""
    page = int(prog["PAGE_SIZE"])
    return MemoryTotals(
        total=_total(prog, page),
        free=_counter(prog, "vm_zone_stat", ("NR_FREE_PAGES",), page),
        anonymous=_counter(prog, "vm_node_stat", ("NR_ANON_MAPPED",), page),
        file=_counter(prog, "vm_node_stat", ("NR_FILE_PAGES",), page),
        shmem=_counter(prog, "vm_node_stat", ("NR_SHMEM",), page),
        slab_reclaimable=_counter(prog, "vm_node_stat", ("NR_SLAB_RECLAIMABLE_B",), page),
        slab_unreclaimable=_counter(prog, "vm_node_stat", ("NR_SLAB_UNRECLAIMABLE_B",), page),
        # Moved from the zone to the node in v5.11 (f0c0c115fb81).
        page_tables=_counter(prog, "vm_node_stat", ("NR_PAGETABLE",), page)
        or _counter(prog, "vm_zone_stat", ("NR_PAGETABLE",), page),
        kernel_stacks=_counter(prog, "vm_node_stat", ("NR_KERNEL_STACK_KB",), 1024)
        or _counter(prog, "vm_zone_stat", ("NR_KERNEL_STACK_KB",), 1024),
    )


def _total(prog: drgn.Program, page: int) -> int | None:
    return readable(lambda: total_pages(prog) * page)


def _counter(prog: drgn.Program, table: str, names: tuple[str, ...], unit: int) -> int | None:
    for name in names:
        try:
            index = prog.constant(name).value_()
            value = int(prog[table][index].counter.value_())
        except damage():
            continue
        # Per-CPU parts that are not folded in yet can make a sum negative.
        return max(value, 0) * unit
    return None


def slab_caches(prog: drgn.Program) -> list[SlabCache]:
    """All slab caches, the largest first; those that can't be read are left out.

    Counted from ``kmem_cache_node`` (CONFIG_SLUB_DEBUG), which costs nothing
    like a walk of the slabs.
    """
    from drgn.helpers.linux.slab import slab_cache_order

    page = int(prog["PAGE_SIZE"])
    result: list[SlabCache] = []
    for cache in _each_slab_cache(prog):
        try:
            order = int(slab_cache_order(cache))
            if order > _MAX_ORDER:
                raise LookupError(f"a slab would have 2 to the power of {order} pages")
            slabs = objects = 0
            for node in cache_nodes(cache):
                slabs += node.nr_slabs.counter.value_()
                objects += node.total_objects.counter.value_()
            result.append(
                SlabCache(
                    name=cache.name.string_().decode("utf-8", "replace"),
                    object_size=int(cache.object_size.value_()),
                    slots=int(objects),
                    slabs=int(slabs),
                    bytes=int(slabs * (page << order)),
                )
            )
        except damage():
            continue
    return sorted(result, key=lambda cache: cache.bytes, reverse=True)


def _each_slab_cache(prog: drgn.Program) -> Iterator[drgn.Object]:
    """``struct kmem_cache *`` of each, as far as the list goes."""
    with tolerated():
        caches = list_entries(prog["slab_caches"], "struct kmem_cache", "list")
        yield from islice(caches, _MAX_CACHES)


def cache_nodes(cache: drgn.Object) -> list[drgn.Object]:
    """``struct kmem_cache_node *`` of each NUMA node that the cache uses."""
    prog = cache.prog_
    result = []
    for number in for_each_online_node(prog):
        # v7.1 put node and barn into one array element per node.
        nodes = member(cache, "per_node", "node")
        node = nodes[number]
        if node.type_.unaliased_kind() == drgn.TypeKind.STRUCT:
            node = node.node
        if node:
            result.append(node)
    return result


def largest_tasks(prog: drgn.Program, count: int = 10) -> list[TaskMemory]:
    """Processes with the largest resident set, largest first."""
    page = int(prog["PAGE_SIZE"])
    threads: dict[int, list[int]] = defaultdict(list)
    for task in all_tasks(prog).tasks:
        threads[task.tgid].append(task.address)
    found = []
    for task in all_tasks(prog).tasks:
        if not task.mm or task.pid != task.tgid:
            continue
        try:
            rss, swap = _resident(prog, task.mm, threads[task.pid])
        except damage():
            continue
        found.append(TaskMemory(task.ref, max(rss, 0) * page, max(swap, 0) * page))
    found.sort(key=lambda item: item.rss_bytes, reverse=True)
    return found[:count]


_RESIDENT = ("MM_FILEPAGES", "MM_ANONPAGES", "MM_SHMEMPAGES")


def _resident(prog: drgn.Program, mm: int, threads: list[int]) -> tuple[int, int]:
    """Pages in memory, and in swap.

    ``mm->rss_stat`` is an array of percpu counters since v6.2 (f1a7941243c1). Before, each
    thread had a part of its own that was not added yet.

    :param mm: ``struct mm_struct *``
    :param threads: ``struct task_struct *``
    """
    stat = drgn.Object(prog, "struct mm_struct *", mm).rss_stat
    counters = stat.type_.unaliased_kind() == drgn.TypeKind.ARRAY

    def pages(name: str) -> int:
        index = prog.constant(name).value_()
        if counters:
            return counter_sum(stat[index])
        total = integer(stat.count[index])
        for address in threads:
            task = drgn.Object(prog, "struct task_struct *", address)
            total += readable(lambda task=task: int(task.rss_stat.count[index].value_())) or 0  # type: ignore[misc]
        return total

    return sum(map(pages, _RESIDENT)), pages("MM_SWAPENTS")
