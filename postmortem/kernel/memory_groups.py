"""Memory cgroups: what each has been charged, and how much it may have.

Source: mm/memcontrol.c, include/linux/page_counter.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.dump.lists import list_entries
from postmortem.kernel.memo import fact
from postmortem.kernel.paths import kernfs_path

_CSS = "struct cgroup_subsys_state"
_MAX_GROUPS = 1 << 14
_MAX_DEPTH = 256


@dataclass(frozen=True)
class MemoryGroup:
    """``struct mem_cgroup`` with what it holds and what groups below it hold."""

    address: int
    path: str
    usage_bytes: int
    """Charged pages, those that CPUs have set aside for it included (``memory.current``)."""
    limit_bytes: int | None
    """``memory.max``; ``None``: no limit of its own."""
    swap_bytes: int | None
    """``memory.swap.current``"""
    kills: int | None
    """Processes that the OOM killer ended in it or below (``memory.events``)."""
    oom_pages: int
    """What the points of an OOM in it are measured by: its limit and what it may swap out."""
    parents: tuple[int, ...]
    """Addresses of the groups that it is in, the nearest first."""

    @property
    def filled(self) -> float:
        """Part of its limit that it holds, 0 without one."""
        return self.usage_bytes / self.limit_bytes if self.limit_bytes else 0.0


@dataclass(frozen=True)
class MemoryGroups:
    """All of them but the root, whose usage is not counted, parents first."""

    groups: tuple[MemoryGroup, ...]
    root: int
    """``root_mem_cgroup``"""
    unreadable: tuple[str, ...] = ()

    def limited(self) -> list[MemoryGroup]:
        """Those with a limit of their own, the fullest first."""
        return sorted(
            (one for one in self.groups if one.limit_bytes is not None), key=lambda g: -g.filled
        )


@fact
def memory_groups(prog: drgn.Program) -> MemoryGroups:
    """Read them.

    :raises LookupError: the kernel was built without CONFIG_MEMCG, or its types are missing.
    """
    kind = prog.type("struct mem_cgroup")
    root = int(prog["root_mem_cgroup"].value_())
    offset = int(drgn.offsetof(kind, "css"))
    found: list[MemoryGroup] = []
    lost: list[str] = []
    parents: dict[int, tuple[int, ...]] = {root: ()}
    waiting = [root]
    while waiting and len(parents) < _MAX_GROUPS:
        address = waiting.pop()
        group = drgn.Object(prog, kind, address=address)
        below = []
        try:
            if address != root:
                found.append(_group(group, parents[address]))
            for css in list_entries(group.css.children, _CSS, "sibling"):
                child = int(css.value_()) - offset
                if child not in parents:
                    parents[child] = (address, *parents[address])[:_MAX_DEPTH]
                    below.append(child)
        except damage() as exc:
            lost.append(f"the memory cgroup at {address:#x}: {exc}")
        waiting += reversed(below)
    return MemoryGroups(tuple(found), root, tuple(lost))


def _group(group: drgn.Object, parents: tuple[int, ...]) -> MemoryGroup:
    prog = group.prog_
    page = int(prog["PAGE_SIZE"])
    most = int(group.memory.max.value_())
    # PAGE_COUNTER_MAX
    limit = None if most >= (1 << 63) // page - 1 else most * page
    swap = readable(lambda: integer(group.swap.usage))
    total_swap = readable(lambda: integer(prog["total_swap_pages"])) or 0
    may_swap = min(readable(lambda: int(group.swap.max.value_())) or 0, total_swap)
    kill = readable(lambda: int(prog.constant("MEMCG_OOM_KILL").value_()))
    return MemoryGroup(
        address=int(group.address_of_().value_()),
        path=kernfs_path(group.css.cgroup.kn.read_()),
        usage_bytes=max(integer(group.memory.usage), 0) * page,
        limit_bytes=limit,
        swap_bytes=None if swap is None else max(swap, 0) * page,
        kills=None if kill is None else readable(lambda: integer(group.memory_events[kill])),
        oom_pages=min(most, (1 << 63) // page) + may_swap,
        parents=parents,
    )


def group_of(task: drgn.Object) -> int:
    """Address of the memory cgroup of a task. ``struct task_struct *``

    :raises LookupError: the kernel has none, or it can't be told which of its controllers it is.
    """
    prog = task.prog_
    number = int(prog.constant("memory_cgrp_id").value_())
    offset = int(drgn.offsetof(prog.type("struct mem_cgroup"), "css"))
    return int(task.cgroups.subsys[number].value_()) - offset
