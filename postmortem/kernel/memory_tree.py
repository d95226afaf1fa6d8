"""Who holds the memory, as a tree that adds up to all that the kernel has to give.

What the kernel counts is taken from its counters, as /proc/meminfo shows them; the finer
parts are taken from the owners: processes, slab caches, callers of vmalloc(). What nobody
counts is the rest: pages that code took from the page allocator for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.memo import fact
from postmortem.kernel.memory import slab_caches
from postmortem.kernel.memory_groups import memory_groups
from postmortem.kernel.oom import OomTask, process_memory
from postmortem.kernel.swap import hugepages
from postmortem.kernel.tasks.rows import task_rows
from postmortem.kernel.tasks.trace import Names
from postmortem.kernel.vmalloc import vmap_areas
from postmortem.kernel.zones import Nodes, Zone, nodes, total_pages
from postmortem.model.memory import (
    GroupMemory,
    MemoryTree,
    Part,
    ProcessMemory,
    VmallocCaller,
    ZoneMemory,
    largest,
)

T = TypeVar("T")

_MAX_AREAS = 1 << 18
_GROUPS = 30
"""So many memory cgroups are told."""


@fact
def memory_tree(prog: drgn.Program) -> MemoryTree:
    """Read it.

    :raises LookupError: the types or the counters are missing.
    """
    return _Reader(prog).tree()


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._nodes: Nodes = nodes(prog)
        self._page = self._nodes.page_bytes
        self._lost: list[str] = list(self._nodes.unreadable)

    def tree(self) -> MemoryTree:
        total = total_pages(self._prog) * self._page
        processes = self._read("processes", lambda: process_memory(self._prog)) or []
        processes.sort(key=lambda one: -one.rss)
        groups = self._read("memory cgroups", self._groups) or () if self._has_groups() else ()
        callers = self._read("vmalloc areas", lambda: list(self._vmalloc())) or []
        parts = [
            self._free(),
            self._anonymous(processes),
            Part("page cache", self._cache(), note="pages of files and of block devices"),
            Part("shmem and tmpfs", self._pages("NR_SHMEM")),
            self._slab(),
            self._called(callers),
            Part("kernel stacks", self._stacks()),
            Part(
                "page tables", self._pages("NR_PAGETABLE") + self._pages("NR_SECONDARY_PAGETABLE")
            ),
            self._per_cpu(),
            self._huge(),
        ]
        rest = total - sum(part.bytes for part in parts)
        parts.append(
            Part(
                "unaccounted", rest, note="taken from the page allocator by nobody that is counted"
            )
        )
        return MemoryTree(
            total,
            tuple(parts),
            tuple(_process(one, self._page) for one in processes),
            tuple(callers),
            tuple(self._lost),
            zones=tuple(_zone(zone, self._page) for zone in self._nodes.zones),
            groups=groups,
        )

    def _has_groups(self) -> bool:
        """Whether the kernel was built with CONFIG_MEMCG."""
        return readable(lambda: self._prog.symbol("root_mem_cgroup")) is not None

    def _groups(self) -> tuple[GroupMemory, ...]:
        found = memory_groups(self._prog)
        self._lost += found.unreadable
        ordered = sorted(found.groups, key=lambda one: (-one.filled, -one.usage_bytes))
        return tuple(
            GroupMemory(one.path, one.usage_bytes, one.limit_bytes, one.kills)
            for one in ordered[:_GROUPS]
        )

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except damage() as exc:
            self._lost.append(f"{what}: {exc}")
            return None

    def _pages(self, *names: str) -> int:
        """Bytes of some counters."""
        return sum(self._nodes.counter(name) or 0 for name in names) * self._page

    # --- parts ------------------------------------------------------------------------

    def _free(self) -> Part:
        lists = sum(sum(zone.per_cpu.values()) for zone in self._nodes.zones) * self._page
        buddy = self._pages("NR_FREE_PAGES")
        parts = (Part("in the zones", buddy), Part("on CPUs' own lists", lists))
        return Part("free", buddy + lists, parts)

    def _anonymous(self, processes: Iterable[OomTask]) -> Part:
        total = self._pages("NR_ANON_MAPPED")
        owners = [
            (f"{one.task.pid} ({one.leader.comm})", one.anon * self._page) for one in processes
        ]
        return Part("anonymous", total, largest(owners, total, "other processes"))

    def _cache(self) -> int:
        """NR_FILE_PAGES has the pages of tmpfs and of the swap cache in it."""
        return self._pages("NR_FILE_PAGES") - self._pages("NR_SHMEM") - self._pages("NR_SWAPCACHE")

    def _slab(self) -> Part:
        kinds = ("NR_SLAB_RECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE_B")
        total = self._pages(*kinds)
        caches = self._read("slab caches", lambda: slab_caches(self._prog)) or []
        owners = [(cache.name, cache.bytes) for cache in caches]
        return Part("slab", total, largest(owners, total, "other caches"))

    def _called(self, callers: Iterable[VmallocCaller]) -> Part:
        owners = [(caller.function, caller.bytes) for caller in callers]
        total = sum(size for _name, size in owners)
        return Part(
            "vmalloc", total, largest(owners, total, "other callers"), "without stacks of tasks"
        )

    def _stacks(self) -> int:
        return (self._nodes.counter("NR_KERNEL_STACK_KB") or 0) << 10

    def _per_cpu(self) -> Part:
        """The first chunk was there before the page allocator: it is not of its pages."""
        try:
            units = integer(self._prog["pcpu_nr_units"])
            populated = integer(self._prog["pcpu_nr_populated"])
            first = int(self._prog["pcpu_first_chunk"].nr_pages.value_())
            reserved = self._prog["pcpu_reserved_chunk"]
            if reserved:
                first += int(reserved.nr_pages.value_())
        except damage() as exc:
            self._lost.append(f"per-CPU memory: {exc}")
            return Part("per-CPU", 0, note="not known")
        boot = min(first, populated) * units * self._page
        return Part(
            "per-CPU",
            max(0, populated * units * self._page - boot),
            note=f"{boot >> 10} KiB more were taken at boot, beside all this",
        )

    def _huge(self) -> Part:
        found = hugepages(self._prog)
        parts = tuple(
            Part(f"{one.page_bytes >> 10} KiB on node {one.node}", one.total * one.page_bytes)
            for one in found
            if one.total
        )
        return Part("huge pages", sum(part.bytes for part in parts), parts)

    # --- vmalloc ----------------------------------------------------------------------

    def _vmalloc(self) -> Iterator[VmallocCaller]:
        """Areas with pages of their own, by who asked for them; the largest first."""
        stacks = {row.members.get("stack", 0) for row in task_rows(self._prog).rows}
        names = Names(self._prog)
        sizes: Counter[str] = Counter()
        areas: Counter[str] = Counter()
        for area in islice(vmap_areas(self._prog), _MAX_AREAS):
            vm = readable(lambda area=area: area.vm.read_())  # type: ignore[misc]
            if not vm or int(area.va_start.value_()) in stacks:
                continue
            pages = readable(lambda vm=vm: int(vm.nr_pages.value_()))  # type: ignore[misc]
            if not pages:
                continue
            caller = readable(lambda vm=vm: int(vm.caller.value_())) or 0  # type: ignore[misc]
            name = names.symbol(caller, offset=False) if caller else "not known"
            sizes[name] += pages * self._page
            areas[name] += 1
        for name, size in sizes.most_common():
            yield VmallocCaller(name, areas[name], size)


def _process(one: OomTask, page: int) -> ProcessMemory:
    return ProcessMemory(
        pid=one.leader.pid,
        comm=one.leader.comm,
        rss_bytes=one.rss * page,
        anon_bytes=one.anon * page,
        file_bytes=one.file * page,
        shmem_bytes=one.shmem * page,
        swap_bytes=one.swap * page,
        tables_bytes=one.tables_bytes,
        adj=one.adj,
    )


def _zone(zone: Zone, page: int) -> ZoneMemory:
    marks = [*zone.watermarks[:3], 0, 0, 0]
    low, lower, high = ((mark + (zone.boost or 0)) * page for mark in marks[:3])
    free = zone.counters.get("NR_FREE_PAGES", 0)
    return ZoneMemory(zone.node, zone.name, zone.managed * page, free * page, low, lower, high)
