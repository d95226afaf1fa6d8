"""Swap and huge pages, counted as the kernel counts them. Source: mm/swap_state.c, mm/hugetlb.c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.memo import fact
from postmortem.kernel.zones import nodes

_MAX_STATES = 16
_MAX_SPACES = 4096


@dataclass(frozen=True)
class Swap:
    """Pages; ``None`` where the kernel has no such counter or it can't be read."""

    free: int | None
    total: int | None
    cached: int | None
    added: int | None
    """``swap_cache_info`` of kernels before v5.12."""
    deleted: int | None
    found: int | None
    sought: int | None


@dataclass(frozen=True)
class HugePages:
    """Huge pages of one size on one node."""

    node: int
    page_bytes: int
    total: int
    free: int
    surplus: int


@fact
def swap(prog: drgn.Program) -> Swap:
    """Read it."""

    def info(name: str) -> int | None:
        return readable(lambda: integer(prog["swap_cache_info"].member_(name)))

    return Swap(
        free=readable(lambda: integer(prog["nr_swap_pages"])),
        total=readable(lambda: integer(prog["total_swap_pages"])),
        cached=_cached(prog),
        added=info("add_total"),
        deleted=info("del_total"),
        found=info("find_success"),
        sought=info("find_total"),
    )


def _cached(prog: drgn.Program) -> int | None:
    """A node item since v5.12 (b6038942480e), before the sum over all address spaces."""
    counted = readable(lambda: nodes(prog).node_counters.get("NR_SWAPCACHE"))
    if counted is not None:
        return counted
    return readable(lambda: sum(_space_pages(prog)))


def _space_pages(prog: drgn.Program) -> Iterator[int]:
    """``struct address_space *swapper_spaces[]``, ``nr_swapper_spaces[]`` of them each."""
    spaces, counts = prog["swapper_spaces"], prog["nr_swapper_spaces"]
    for number in range(min(spaces.type_.length or 0, 64)):
        for index in range(min(int(counts[number].value_()), _MAX_SPACES)):
            if spaces[number]:
                yield int(spaces[number][index].nrpages.value_())


@fact
def hugepages(prog: drgn.Program) -> tuple[HugePages, ...]:
    """By node, then in the order of ``hstates[]``; empty where the kernel has none."""
    found = []
    try:
        states = prog["hstates"]
        count = min(int(prog["hugetlb_max_hstate"].value_()), _MAX_STATES)
        numbers = [node.number for node in nodes(prog).nodes]
        page = int(prog["PAGE_SIZE"])
        for node in numbers:
            for index in range(count):
                state = states[index]
                found.append(
                    HugePages(
                        node,
                        page << int(state.order.value_()),
                        int(state.nr_huge_pages_node[node].value_()),
                        int(state.free_huge_pages_node[node].value_()),
                        int(state.surplus_huge_pages_node[node].value_()),
                    )
                )
    except damage():
        return tuple(found)
    return tuple(found)
