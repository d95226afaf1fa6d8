"""NUMA nodes and zones: pages that are free, what the others are used for, the buddy lists.

Source: include/linux/mmzone.h, mm/page_alloc.c, mm/vmstat.c. Counters are those that
``/proc/meminfo`` reads: what CPUs have not yet folded into them is not added there either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import drgn

from postmortem.dump.damage import damage, integer, member, readable
from postmortem.kernel.masks import for_each_online_cpu, for_each_online_node
from postmortem.kernel.memo import fact

_MAX_NODES = 1024
_MAX_ITEMS = 1024
_MAX_ORDERS = 64
_MAX_ZONES = 16
_SLACK = 64
"""So small a part of all pages may be on their way from one count to the other."""
_HOPELESS = 16
"""MAX_RECLAIM_RETRIES: so often kswapd failed when it gives a node up (mm/internal.h)."""

Counters = Mapping[str, int]
"""By enumerator (``NR_FREE_PAGES``): pages unless its name says otherwise, never negative."""


@dataclass(frozen=True)
class FreeArea:
    """The free blocks of one order."""

    order: int
    count: int
    types: tuple[int, ...]
    """Migrate types whose list is not empty, ascending."""


@dataclass(frozen=True)
class Zone:
    """One zone of a node. Sizes are pages."""

    node: int
    index: int
    name: str
    present: int
    managed: int
    watermarks: tuple[int, ...]
    """``_watermark[]``: min, low, high ..."""
    boost: int | None
    """``watermark_boost``: what the watermarks are raised by; ``None`` before v5.0."""
    reserved_highatomic: int | None
    free_highatomic: int | None
    lowmem_reserve: tuple[int, ...]
    """For each zone that an allocation may prefer."""
    counters: Counters = field(repr=False)
    """``enum zone_stat_item``"""
    free: tuple[FreeArea, ...] = field(repr=False)
    per_cpu: Mapping[int, int] = field(repr=False)
    """Free pages on each CPU's own lists."""


@dataclass(frozen=True)
class Node:
    """One NUMA node."""

    number: int
    zones: tuple[Zone, ...]
    """The populated ones."""
    counters: Counters = field(repr=False)
    """``enum node_stat_item``"""
    given_up: bool | None
    """kswapd no longer tries to reclaim here (``all_unreclaimable``)."""


@dataclass(frozen=True)
class Nodes:
    """All nodes that are on line."""

    nodes: tuple[Node, ...]
    numa: bool
    """The kernel can have several (CONFIG_NUMA)."""
    node_counters: Counters = field(repr=False)
    """``vm_node_stat``: of all nodes together."""
    zone_counters: Counters = field(repr=False)
    """``vm_zone_stat``"""
    page_bytes: int
    migrate_types: tuple[str, ...]
    """Enumerators of ``enum migratetype`` by value."""
    unreadable: tuple[str, ...] = ()

    @property
    def zones(self) -> Iterator[Zone]:
        """Populated zones by node and index."""
        for node in self.nodes:
            yield from node.zones

    def counter(self, name: str) -> int | None:
        """Of the node items, or of the zone items, where it was on older kernels."""
        found = self.node_counters.get(name)
        return self.zone_counters.get(name) if found is None else found


@fact
def nodes(prog: drgn.Program) -> Nodes:
    """Read them.

    :raises LookupError: types or symbols are missing.
    """
    reader = _Reader(prog)
    found = []
    lost = []
    for count, number in enumerate(for_each_online_node(prog)):
        if count >= _MAX_NODES:
            break
        try:
            found.append(reader.node(number))
        except damage() as exc:
            lost.append(f"node {number}: {exc}")
    lost += reader.lost
    return Nodes(
        nodes=tuple(found),
        numa=reader.numa,
        node_counters=reader.global_counters("vm_node_stat", reader.node_items),
        zone_counters=reader.global_counters("vm_zone_stat", reader.zone_items),
        page_bytes=int(prog["PAGE_SIZE"]),
        migrate_types=_migrate_types(prog),
        unreadable=tuple(lost),
    )


@fact
def total_pages(prog: drgn.Program) -> int:
    """How many pages the page allocator was given: ``totalram_pages()``.

    It changes only with the zones' own numbers (adjust_managed_page_count()), so that one word
    which is damaged makes no machine of petabytes.

    :raises LookupError: the two contradict each other.
    """
    total = integer(prog["_totalram_pages"])
    managed = readable(lambda: sum(_managed(prog)))
    most = readable(lambda: integer(prog["max_pfn"]))
    if managed is not None and abs(total - managed) > managed // _SLACK:
        raise LookupError(f"{total} pages in all, but {managed} in the zones")
    if managed is None and most is not None and not 0 < total <= most:
        raise LookupError(f"{total} pages in all, but {most} are the most that there can be")
    return total


def _managed(prog: drgn.Program) -> Iterator[int]:
    reader = _Reader(prog)
    for number in islice(for_each_online_node(prog), _MAX_NODES):
        zones = reader.pgdat(number).node_zones
        for index in range(min(zones.type_.length or 0, _MAX_ZONES)):
            yield integer(zones[index].managed_pages)


def _migrate_types(prog: drgn.Program) -> tuple[str, ...]:
    """Enumerators below MIGRATE_TYPES. MIGRATE_HIGHATOMIC shares its value with PCPTYPES."""
    named = dict(_enumerators(prog, "migratetype"))
    count = named.get("MIGRATE_TYPES", 0)
    by_value = {value: name for name, value in named.items() if name != "MIGRATE_PCPTYPES"}
    return tuple(by_value.get(value, "") for value in range(min(count, 32)))


def _enumerators(prog: drgn.Program, enum: str) -> Iterator[tuple[str, int]]:
    for item in prog.type(f"enum {enum}").enumerators or ():
        yield item.name, item.value


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self.node_items = self._items("node_stat_item")
        self.zone_items = self._items("zone_stat_item")
        self.numa = readable(lambda: prog.symbol("node_data")) is not None
        self._cpus = list(for_each_online_cpu(prog))
        self.lost: list[str] = []

    def _items(self, enum: str) -> dict[str, int]:
        """Index of each counter; some have two names."""
        named = _enumerators(self._prog, enum)
        return {name: value for name, value in named if 0 <= value < _MAX_ITEMS}

    def pgdat(self, number: int) -> drgn.Object:
        """``struct pglist_data`` of a node."""
        prog = self._prog
        # Without CONFIG_NUMA there is one node, which the table of variables may not know.
        address = (
            prog["node_data"][number].value_()
            if self.numa
            else prog.symbol("contig_page_data").address
        )
        return drgn.Object(prog, prog.type("struct pglist_data"), address=address)

    def node(self, number: int) -> Node:
        pgdat = self.pgdat(number)
        return Node(
            number,
            tuple(self._zones(number, pgdat)),
            self._counters(pgdat.vm_stat, self.node_items),
            readable(lambda: integer(pgdat.kswapd_failures) >= _HOPELESS),
        )

    def _zones(self, number: int, pgdat: drgn.Object) -> Iterator[Zone]:
        zones = pgdat.node_zones
        for index in range(min(zones.type_.length or 0, _MAX_ZONES)):
            try:
                zone = zones[index]
                if zone.present_pages.value_():
                    yield self._zone(number, index, zone)
            except damage() as exc:
                self.lost.append(f"zone {index} of node {number}: {exc}")

    def _zone(self, number: int, index: int, zone: drgn.Object) -> Zone:
        return Zone(
            node=number,
            index=index,
            name=zone.name.string_().decode("ascii", "replace"),
            present=int(zone.present_pages.value_()),
            managed=integer(zone.managed_pages),
            # _watermark since v5.0 (a921444382b4), watermark before
            watermarks=tuple(int(v) for v in member(zone, "_watermark", "watermark").value_()),
            boost=readable(lambda: int(zone.watermark_boost.value_())),
            reserved_highatomic=readable(lambda: int(zone.nr_reserved_highatomic.value_())),
            free_highatomic=readable(lambda: int(zone.nr_free_highatomic.value_())),
            lowmem_reserve=tuple(int(v) for v in zone.lowmem_reserve.value_()),
            counters=self._counters(zone.vm_stat, self.zone_items),
            free=tuple(self._free(zone.free_area)),
            per_cpu=dict(self._per_cpu(zone)),
        )

    def _free(self, areas: drgn.Object) -> Iterator[FreeArea]:
        for order in range(min(areas.type_.length or 0, _MAX_ORDERS)):
            area = areas[order]
            lists = area.free_list
            types = tuple(
                number
                for number in range(min(lists.type_.length or 0, 32))
                if lists[number].next.value_() != lists[number].address_of_().value_()
            )
            yield FreeArea(order, int(area.nr_free.value_()), types)

    def _per_cpu(self, zone: drgn.Object) -> Iterator[tuple[int, int]]:
        from drgn.helpers.linux.percpu import per_cpu_ptr

        for cpu in self._cpus:
            try:
                # per_cpu_pages of its own since v5.14 (28f836b6777b)
                if zone.type_.has_member("per_cpu_pageset"):
                    count = per_cpu_ptr(zone.per_cpu_pageset, cpu).count
                else:
                    count = per_cpu_ptr(zone.pageset, cpu).pcp.count
                yield cpu, int(count.value_())
            except damage() as exc:
                self.lost.append(f"free pages of CPU {cpu}: {exc}")

    def global_counters(self, name: str, items: dict[str, int]) -> Counters:
        found = readable(lambda: self._counters(self._prog[name], items))
        if found is None:
            self.lost.append(name)
        return found or {}

    def _counters(self, array: drgn.Object, items: dict[str, int]) -> Counters:
        """An array of ``atomic_long_t``; reads of a negative one give 0, as vmstat.h does."""
        count = min(array.type_.length or 0, _MAX_ITEMS)
        raw = self._prog.read(array.address_of_().value_(), 8 * count)
        values = struct.unpack(f"<{count}q", raw)
        return {name: max(values[at], 0) for name, at in items.items() if at < count}
