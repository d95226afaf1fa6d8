"""Who holds the memory: a tree that adds up, its owners, and a picture of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import Cell, Column, Export, Table, Unit
from postmortem.model.stacks import FoldedStack, FoldedStacks
from postmortem.plugin import Context, plugin

if TYPE_CHECKING:
    from postmortem.model.memory import MemoryTree, Part

_PROCESSES = 30
_HUES = {
    "free": "idle",
    "anonymous": "running",
    "page cache": "sleeping",
    "shmem and tmpfs": "waking",
    "unaccounted": "blocked",
}
"""How a part is coloured; the others are the kernel's own."""


@plugin("memory", needs=("log",), in_analysis=False)
def memory(ctx: Context) -> Iterator[Table | Export]:
    """Show who holds the memory: processes, caches, slab, vmalloc, and what nobody counts.

    The parts add up to all that the page allocator was given. With -o FILE.svg a picture:
    wide is what is large. Of a log the last time is shown that the kernel printed it (sysrq m,
    out of memory, an allocation that failed).
    """
    tree, when = _of_dump(ctx) if ctx.prog is not None else _of_log(ctx)
    if tree is None:
        return
    for lost in tree.unreadable:
        ctx.problem("memory", lost)
    yield _parts(tree, when)
    if tree.zones:
        yield _zones(tree)
    if tree.groups:
        yield _groups(tree)
    if tree.processes:
        yield _processes(tree)
    if tree.vmalloc:
        yield _callers(tree)
    yield Export("Memory", "svg", _picture(tree))
    yield Export("Memory", "folded", _picture(tree))


def _of_dump(ctx: Context) -> tuple[MemoryTree | None, str]:
    from postmortem.kernel.memory_tree import memory_tree

    prog = ctx.prog
    return ctx.attempt("memory", lambda: memory_tree(prog)), ""


def _of_log(ctx: Context) -> tuple[MemoryTree | None, str]:
    shown = ctx.case.logged_memory
    if not shown:
        why = "nobody made the kernel print it: no Mem-Info with its counts is in the log"
        ctx.problem("memory", why)
        return None, ""
    last = shown[-1]
    time = f", {last.time:.0f} s after boot" if last.time is not None else ""
    more = f", the last of {len(shown)} times" if len(shown) > 1 else ""
    return last.tree, f", by line {last.line} of the log{time}{more}"


def _parts(tree: MemoryTree, when: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for part in tree.parts:
        rows.append((part.name, None, part.bytes, _share(part, tree), part.note or None))
        rows += [
            (part.name, own.name, own.bytes, _share(own, tree), own.note or None)
            for own in part.parts
        ]
    return Table(
        f"Memory: {tree.total_bytes >> 20} MiB{when}",
        (
            Column("part"),
            Column("owner"),
            Column("size", Unit.BYTES),
            Column("%", Unit.COUNT),
            Column("note", extra=1),
        ),
        tuple(rows),
    )


def _share(part: Part, tree: MemoryTree) -> float | None:
    return round(100 * part.bytes / tree.total_bytes, 1) if tree.total_bytes else None


def _zones(tree: MemoryTree) -> Table:
    sizes = ("managed", "free", "min", "low", "high")
    return Table(
        "Zones and their watermarks",
        (
            Column("node", Unit.ID),
            Column("zone"),
            *(Column(name, Unit.BYTES) for name in sizes),
            Column("state"),
        ),
        tuple(
            (
                zone.node,
                zone.name,
                *(getattr(zone, f"{name}_bytes") for name in sizes),
                zone.state,
            )
            for zone in tree.zones
        ),
    )


def _groups(tree: MemoryTree) -> Table:
    return Table(
        "Memory cgroups, the fullest first",
        (
            Column("group"),
            Column("usage", Unit.BYTES),
            Column("limit", Unit.BYTES),
            Column("% of it", Unit.COUNT),
            Column("OOM kills", Unit.COUNT),
        ),
        tuple(
            (
                one.path,
                one.usage_bytes,
                one.limit_bytes,
                round(100 * one.usage_bytes / one.limit_bytes, 1) if one.limit_bytes else None,
                one.kills,
            )
            for one in tree.groups
        ),
    )


def _processes(tree: MemoryTree) -> Table:
    shown = tree.processes[:_PROCESSES]
    more = len(tree.processes) - len(shown)
    sizes = ("rss", "anon", "file", "shmem", "swap", "tables")
    names = ("resident", "anonymous", "file", "shmem", "swap", "page tables")
    return Table(
        f"Processes with memory: {len(tree.processes)}",
        (
            Column("pid", Unit.ID),
            Column("comm"),
            *(Column(name, Unit.BYTES) for name in names),
            Column("oom_score_adj", Unit.COUNT),
        ),
        tuple(
            (one.pid, one.comm, *(getattr(one, f"{name}_bytes") for name in sizes), one.adj)
            for one in shown
        ),
        note=f"{more} smaller ones are left out" if more > 0 else "",
    )


def _callers(tree: MemoryTree) -> Table:
    return Table(
        "Callers of vmalloc(), stacks left out",
        (Column("function"), Column("areas", Unit.COUNT), Column("size", Unit.BYTES)),
        tuple((one.function, one.areas, one.bytes) for one in tree.vmalloc),
    )


def _picture(tree: MemoryTree) -> FoldedStacks:
    found = []
    for part in tree.parts:
        hue = _HUES.get(part.name, "other")
        left = part.bytes
        for own in part.parts:
            size = min(own.bytes, left)
            left -= size
            found.append(FoldedStack((part.name,), (own.name,), size >> 10, hue))
        if left > 0:
            found.append(FoldedStack((part.name,), (), left >> 10, hue))
    return FoldedStacks(tuple(found), "KiB")
