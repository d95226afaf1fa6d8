"""Who holds the memory: a tree that adds up, its owners, and a picture of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import Cell, Column, Export, Table, Unit
from postmortem.model.stacks import FoldedStack, FoldedStacks
from postmortem.plugin import DumpContext, plugin

if TYPE_CHECKING:
    from postmortem.kernel.memory_tree import MemoryTree, Part

_PROCESSES = 30
_HUES = {
    "free": "idle",
    "anonymous": "running",
    "page cache": "sleeping",
    "shmem and tmpfs": "waking",
    "unaccounted": "blocked",
}
"""How a part is coloured; the others are the kernel's own."""


@plugin("memory", needs=("types",), in_analysis=False)
def memory(ctx: DumpContext) -> Iterator[Table | Export]:
    """Show who holds the memory: processes, caches, slab, vmalloc, and what nobody counts.

    The parts add up to all that the page allocator was given. With -o FILE.svg a picture:
    wide is what is large.
    """
    from postmortem.kernel.memory_tree import memory_tree

    tree = ctx.attempt("memory", lambda: memory_tree(ctx.prog))
    if tree is None:
        return
    for lost in tree.unreadable:
        ctx.problem("memory", lost)
    yield _parts(tree)
    yield _processes(tree)
    yield _callers(tree)
    yield Export("Memory", "svg", _picture(tree))
    yield Export("Memory", "folded", _picture(tree))


def _parts(tree: MemoryTree) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for part in tree.parts:
        rows.append((part.name, None, part.bytes, _share(part, tree), part.note or None))
        rows += [
            (part.name, own.name, own.bytes, _share(own, tree), own.note or None)
            for own in part.parts
        ]
    return Table(
        f"Memory: {tree.total_bytes >> 20} MiB",
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


def _processes(tree: MemoryTree) -> Table:
    page = tree.page_bytes
    shown = tree.processes[:_PROCESSES]
    more = len(tree.processes) - len(shown)
    return Table(
        f"Processes with memory: {len(tree.processes)}",
        (
            Column("pid", Unit.ID),
            Column("comm"),
            Column("anonymous", Unit.BYTES),
            Column("file", Unit.BYTES),
            Column("shmem", Unit.BYTES),
            Column("swap", Unit.BYTES),
            Column("page tables", Unit.BYTES),
        ),
        tuple(
            (
                one.leader.pid,
                one.leader.comm,
                one.anon * page,
                one.file * page,
                one.shmem * page,
                one.swap * page,
                one.tables_bytes,
            )
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
