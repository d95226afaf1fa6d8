"""Out of memory in a dump: counters, tasks and slab caches name who holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.model.findings import (
    Column,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Strength,
    Table,
    Unit,
)
from postmortem.plugin import Context

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.memory import MemoryTotals, SlabCache, TaskMemory
    from postmortem.model.memory import MemoryTree

_LEAK_SHARE = 0.25
"""A slab cache that holds this part of all memory is named as the holder."""
_TASK_SHARE = 0.4
_ROWS = 10


def with_holders(ctx: Context, prog: drgn.Program, finding: Finding) -> Finding:
    """The finding with tables of who holds memory, and the holder if one stands out."""
    from postmortem.kernel.memory import largest_tasks, memory, slab_caches
    from postmortem.kernel.memory_tree import memory_tree

    totals = ctx.attempt("memory counters", lambda: memory(prog))
    caches = ctx.attempt("slab caches", lambda: slab_caches(prog)) or []
    tasks = ctx.attempt("memory of tasks", lambda: largest_tasks(prog, _ROWS)) or []
    tables = []
    tree = ctx.attempt("memory tree", lambda: memory_tree(prog))
    if tree is not None:
        tables.append(_tree_table(tree))
        tables += _groups_table(tree)
    elif totals is not None:
        tables.append(_totals_table(totals))
    if tasks:
        tables.append(_task_table(tasks))
    if caches:
        tables.append(_slab_table(caches[:_ROWS]))
    finding = replace(finding, tables=tuple(tables))
    total = totals.total if totals is not None else None
    if not total:
        return finding
    told = _with_holder(finding, total, caches, tasks)
    return _with_pages(told, tree) if told is finding and tree is not None else told


def _with_holder(
    finding: Finding, total: int, caches: list[SlabCache], tasks: list[TaskMemory]
) -> Finding:
    """Name the holder if one stands out."""
    if caches and caches[0].bytes >= total * _LEAK_SHARE:
        cache = caches[0]
        said = (
            f"Slab cache {cache.name} holds {_mib(cache.bytes)} of {_mib(total)}"
            f" in {cache.slots} slots of {cache.object_size} bytes: a leak, or a cache that"
            " nothing bounds, looks like that."
        )
        where = f"kmem_cache {cache.name}"
    elif tasks and tasks[0].rss_bytes >= total * _TASK_SHARE:
        task = tasks[0]
        said = (
            f"Task {task.task.pid} ({task.task.comm}) holds {_mib(task.rss_bytes)} of"
            f" {_mib(total)}."
        )
        where = f"task {task.task.pid}"
        finding = replace(finding, culprit=replace(finding.culprit or Culprit(), task=task.task))
    else:
        return finding
    return replace(
        finding,
        confidence=Confidence.CERTAIN,
        explanation=f"{finding.explanation} {said}",
        evidence=(*finding.evidence, Evidence(said, where, Strength.PROOF)),
    )


def _with_pages(finding: Finding, tree: MemoryTree) -> Finding:
    """Name who took whole pages, if no cache and no task stands out."""
    limit = tree.total_bytes * _LEAK_SHARE
    rest = tree.part("unaccounted")
    if tree.vmalloc and tree.vmalloc[0].bytes >= limit:
        caller = tree.vmalloc[0]
        said = (
            f"{caller.function} holds {_mib(caller.bytes)} of {_mib(tree.total_bytes)} in"
            f" {caller.areas} areas of vmalloc()."
        )
        where = f"vmap_area of {caller.function}"
    elif rest is not None and rest.bytes >= limit:
        said = (
            f"{_mib(rest.bytes)} of {_mib(tree.total_bytes)} are counted by nobody: code of the"
            " kernel, most likely a driver, took them from the page allocator."
        )
        where = "the kernel's counters of pages, added up"
    else:
        return finding
    return replace(
        finding,
        explanation=f"{finding.explanation} {said}",
        evidence=(*finding.evidence, Evidence(said, where, Strength.PROOF)),
    )


def _tree_table(tree: MemoryTree) -> Table:
    return Table(
        "Memory when the dump was taken, adding up to all",
        (Column("what"), Column("size", Unit.BYTES), Column("most of it", extra=1)),
        tuple(
            (part.name, part.bytes, part.parts[0].name if part.parts else None)
            for part in tree.parts
        ),
    )


def _groups_table(tree: MemoryTree) -> list[Table]:
    """Cgroups with a limit, the fullest first: one that is full is out of memory by itself."""
    limited = [group for group in tree.groups if group.limit_bytes]
    if not limited:
        return []
    columns = (
        Column("group"),
        Column("usage", Unit.BYTES),
        Column("limit", Unit.BYTES),
        Column("OOM kills", Unit.COUNT),
    )
    rows = tuple((g.path, g.usage_bytes, g.limit_bytes, g.kills) for g in limited[:_ROWS])
    return [Table("Memory cgroups with a limit, the fullest first", columns, rows)]


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _totals_table(totals: MemoryTotals) -> Table:
    named = {
        "total": totals.total,
        "free": totals.free,
        "anonymous": totals.anonymous,
        "page cache": totals.file,
        "shmem and tmpfs": totals.shmem,
        "slab, reclaimable": totals.slab_reclaimable,
        "slab, unreclaimable": totals.slab_unreclaimable,
        "page tables": totals.page_tables,
        "kernel stacks": totals.kernel_stacks,
    }
    return Table(
        "Memory when the dump was taken",
        (Column("what"), Column("size", Unit.BYTES)),
        tuple(named.items()),
    )


def _task_table(tasks: list[TaskMemory]) -> Table:
    return Table(
        "Largest tasks",
        (
            Column("pid", Unit.ID),
            Column("comm"),
            Column("RSS", Unit.BYTES),
            Column("swap", Unit.BYTES),
        ),
        tuple((item.task.pid, item.task.comm, item.rss_bytes, item.swap_bytes) for item in tasks),
    )


def _slab_table(caches: list[SlabCache]) -> Table:
    return Table(
        "Largest slab caches",
        (
            Column("cache"),
            Column("size", Unit.BYTES),
            Column("slots", Unit.COUNT),
            Column("object size", Unit.BYTES),
        ),
        tuple((c.name, c.bytes, c.slots, c.object_size) for c in caches),
    )
