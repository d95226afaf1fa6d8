"""``show_mem()``: what sysrq m, an OOM kill and a failed allocation print of the memory.

The kernel's formats say which counters there are and in which order; here is only what
each of their words means (mm/show_mem.c, mm/page_alloc.c before v6.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.cpu.cpus import panic_cpu
from postmortem.kernel.rodata import Format, Rodata, rodata
from postmortem.kernel.swap import HugePages, Swap, hugepages, swap
from postmortem.kernel.zones import Node, Nodes, Zone, nodes
from postmortem.printers.cformat import Field, Value, filled, printf
from postmortem.printers.lines import Line, lines, note

_OTHER_NAMES = {
    "mapped": "NR_FILE_MAPPED",
    "dirty": "NR_FILE_DIRTY",
    "isolated(anon)": "NR_ISOLATED_ANON",
    "isolated(file)": "NR_ISOLATED_FILE",
    "shmem_thp": "NR_SHMEM_THPS",
    "anon_thp": "NR_ANON_THPS",
    "writeback_tmp": "NR_WRITEBACK_TEMP",
    "kernel_stack": "NR_KERNEL_STACK_KB",
    "shadow_call_stack": "NR_KERNEL_SCS_KB",
    "pagetables": "NR_PAGETABLE",
    "sec_pagetables": "NR_SECONDARY_PAGETABLE",
    "slab_reclaimable": "NR_SLAB_RECLAIMABLE_B",
    "slab_unreclaimable": "NR_SLAB_UNRECLAIMABLE_B",
    "free": "NR_FREE_PAGES",
    "free_cma": "NR_FREE_CMA_PAGES",
    "Balloon": "NR_BALLOON_PAGES",
    "writepending": "NR_ZONE_WRITE_PENDING",
    "mlocked": "NR_MLOCK",
}
"""Words that are not the enumerator without ``NR_``."""
_HUGE = ("shmem_thp", "shmem_pmdmapped", "anon_thp")
_LETTERS = {
    "MIGRATE_UNMOVABLE": "U",
    "MIGRATE_MOVABLE": "M",
    "MIGRATE_RECLAIMABLE": "E",
    "MIGRATE_HIGHATOMIC": "H",
    "MIGRATE_CMA": "C",
    "MIGRATE_ISOLATE": "I",
}
_PMD_BYTES = 2 << 20


def show_mem(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq m prints after its header.

    :raises LookupError: the types or the kernel's strings are missing.
    """
    yield from _ShowMem(prog).lines()


class _ShowMem:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._nodes: Nodes = nodes(prog)
        self._strings: Rodata = rodata(prog)
        self._page_kib = self._nodes.page_bytes >> 10
        asking = readable(lambda: panic_cpu(prog))
        self._asking = asking or 0
        """Whose own free pages are ``local_pcp``: nobody asks a dead machine."""

    def lines(self) -> Iterator[Line]:
        yield Line("Mem-Info:")
        yield from self._filled(("active_anon:%lu inactive_anon:%lu",), self._global)
        for node in self._nodes.nodes:
            if self._is_listed(node):
                yield from self._node(node)
        for zone in self._nodes.zones:
            yield from self._zone(zone)
        for zone in self._nodes.zones:
            yield Line(self._free_list(zone))
        yield from self._hugepages()
        yield from self._totals()
        for lost in self._nodes.unreadable:
            yield note(f"unreadable: {lost}")

    def _filled(self, pieces: tuple[str, ...], value: Callable[[Field], Value]) -> Iterator[Line]:
        found = self._strings.format(*pieces)
        if found is None:
            yield note(f"this kernel has no line with {pieces[0]!r}")
            return
        yield from lines(filled(found.text, value), found.level)

    # --- the machine ------------------------------------------------------------------

    def _global(self, field: Field) -> Value:
        if field.label == "free_pcp":
            return sum(sum(zone.per_cpu.values()) for zone in self._nodes.zones)
        return (
            self._nodes.counter(_item(field.label)) if field.label != "bounce" else self._bounce()
        )

    def _bounce(self) -> int:
        """The word outlived the counter: the kernel prints 0 then."""
        return self._nodes.counter("NR_BOUNCE") or 0

    # --- a node -----------------------------------------------------------------------

    def _is_listed(self, node: Node) -> bool:
        """Nodes without managed memory are left out since v6.1 (974f4367dd31), which is
        told by a word that came with it."""
        newer = self._strings.format("kernel_misc_reclaimable:%lu") is not None
        return not newer or any(zone.managed for zone in node.zones)

    def _node(self, node: Node) -> Iterator[Line]:
        def value(field: Field) -> Value:
            if field.label == "Node":
                return node.number
            if field.label == "all_unreclaimable":
                return None if node.given_up is None else "yes" if node.given_up else "no"
            return self._in_kib(field.label, node.counters)

        yield from self._filled(("Node %d active_anon:%lukB",), value)

    def _in_kib(self, label: str, counters: Mapping[str, int]) -> int | None:
        item = _item(label)
        found = counters.get(item)
        if found is None:
            return None
        if item.endswith("_KB"):
            return found
        if label in _HUGE and self._counts_huge_pages:
            found *= _PMD_BYTES // self._nodes.page_bytes
        return found * self._page_kib

    @property
    def _counts_huge_pages(self) -> bool:
        """Those counters counted huge pages until v5.11 (69473e5de873), which also moved
        NR_PAGETABLE from the zones to the nodes."""
        return "NR_PAGETABLE" in self._nodes.zone_counters

    # --- a zone -----------------------------------------------------------------------

    def _prefix(self, zone: Zone) -> str:
        return f"Node {zone.node} " if self._nodes.numa else ""

    def _zone(self, zone: Zone) -> Iterator[Line]:
        found = self._strings.format(" free:%lukB", "min:%lukB", "present:%lukB")
        if found is None:
            found = self._strings.format("min:%lukB", "present:%lukB")
        if found is None:
            yield note("this kernel has no line for zones")
            return
        text = filled(found.text, lambda field: self._zone_value(zone, field))
        yield from lines(self._prefix(zone) + text.lstrip("\n"), found.level)
        reserves = "".join(f" {pages}" for pages in zone.lowmem_reserve)
        yield Line(f"lowmem_reserve[]:{reserves}")

    def _zone_value(self, zone: Zone, field: Field) -> Value:
        label, kib = field.label, self._page_kib
        if field.spec == "%s":
            return zone.name
        pages: dict[str, int | None] = {
            "boost": zone.boost,
            "reserved_highatomic": zone.reserved_highatomic,
            "free_highatomic": zone.free_highatomic,
            "present": zone.present,
            "managed": zone.managed,
            "free_pcp": sum(zone.per_cpu.values()),
            "local_pcp": zone.per_cpu.get(self._asking),
        }
        for number, name in enumerate(("min", "low", "high")):
            if number < len(zone.watermarks):
                pages[name] = zone.watermarks[number] + (zone.boost or 0)
        if label in pages:
            found = pages[label]
            return None if found is None else found * kib
        found = zone.counters.get(f"NR_ZONE_{label.upper()}", zone.counters.get(_item(label)))
        if found is None:
            return 0 if label == "bounce" else None
        return found if label == "kernel_stack" else found * kib

    def _free_list(self, zone: Zone) -> str:
        parts = [f"{self._prefix(zone)}{zone.name}: "]
        total = 0
        for area in zone.free:
            parts.append(f"{area.count}*{self._page_kib << area.order}kB ")
            total += area.count << area.order
            if area.count:
                letters = (self._nodes.migrate_types[kind] for kind in area.types)
                parts.append(f"({''.join(_LETTERS.get(name, '') for name in letters)}) ")
        parts.append(f"= {total * self._page_kib}kB")
        return "".join(parts)

    # --- the rest ---------------------------------------------------------------------

    def _hugepages(self) -> Iterator[Line]:
        found = self._strings.format("hugepages_total=%u hugepages_free=%u")
        if found is None:
            return
        for pages in hugepages(self._prog):
            yield from lines(printf(found.text, *_huge_values(pages)), found.level)

    def _totals(self) -> Iterator[Line]:
        swapped: Swap = swap(self._prog)
        kib = self._page_kib
        zones = list(self._nodes.zones)
        reserved = sum(zone.present - zone.managed for zone in zones)

        def in_kib(pages: int | None) -> int | None:
            return None if pages is None else pages * kib

        each: tuple[tuple[str, tuple[int | None, ...]], ...] = (
            ("%ld total pagecache pages\n", (self._nodes.counter("NR_FILE_PAGES"),)),
            ("%lu pages in swap cache\n", (swapped.cached,)),
            (
                "Swap cache stats: add %lu, delete %lu, find %lu/%lu\n",
                (swapped.added, swapped.deleted, swapped.found, swapped.sought),
            ),
            ("Free swap  = %ldkB\n", (in_kib(swapped.free),)),
            ("Total swap = %lukB\n", (in_kib(swapped.total),)),
            ("%lu pages RAM\n", (sum(zone.present for zone in zones),)),
            ("%lu pages HighMem/MovableOnly\n", (self._high(zones),)),
            ("%lu pages reserved\n", (reserved,)),
            ("%lu pages cma reserved\n", (self._variable("totalcma_pages"),)),
            ("%lu pages hwpoisoned\n", (self._variable("num_poisoned_pages"),)),
        )
        for text, values in each:
            found: Format | None = self._strings.starting(text)
            if found is not None:
                yield from lines(printf(found.text, *values), found.level)

    @staticmethod
    def _high(zones: list[Zone]) -> int:
        """Pages that the kernel can't reach directly: none with 64 bits."""
        return sum(zone.present for zone in zones if zone.name == "HighMem")

    def _variable(self, name: str) -> int | None:
        return readable(lambda: integer(self._prog[name]))


def _item(label: str) -> str:
    return _OTHER_NAMES.get(label, f"NR_{label.upper()}")


def _huge_values(pages: HugePages) -> tuple[int, ...]:
    return (pages.node, pages.total, pages.free, pages.surplus, pages.page_bytes >> 10)
