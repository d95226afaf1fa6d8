"""What the kernel printed of the machine's memory: ``show_mem()`` and the tables of an OOM.

It is printed for sysrq m, for an OOM and for an allocation that failed. Numbers are what the
kernel counted; what it does not print (vmalloc(), per-CPU memory) stays together with what
nobody counts. How its lines look, :mod:`postmortem.log.meminfo` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from postmortem.log.meminfo import Printed, TaskRow, Zone
from postmortem.model.memory import MemoryTree, Part, ProcessMemory, ZoneMemory, largest
from postmortem.model.report import Record

PHRASE = "Mem-Info:"
"""The line with which all begins."""
_MOST = 256
"""So many are kept, the last ones."""
_LINES = 1 << 16
"""So far behind its beginning the end of a print is looked for."""
_ENDS = ("invoked oom-killer", "oom-kill:", "page allocation failure", "sysrq: ")
"""What is printed behind them is of another print, which need not count the machine."""


@dataclass
class _Print:
    """One print, as it is read."""

    line: int
    time: float | None
    said: Printed = field(default_factory=Printed)


@dataclass(frozen=True)
class LoggedMemory:
    """A print in the log, and the tree that it makes."""

    line: int
    time: float | None
    tree: MemoryTree


def logged_memory(records: Iterable[Record]) -> list[LoggedMemory]:
    """Every print in the log, of very many the last ones."""
    found: list[_Print] = []
    going = False
    for record in records:
        if record.user:
            continue
        text = record.text.strip()
        if text.startswith(PHRASE):
            found.append(_Print(record.line, record.time))
            del found[:-_MOST]
            going = True
        elif going and (record.line - found[-1].line > _LINES or any(w in text for w in _ENDS)):
            going = False
        elif going:
            found[-1].said.take(text)
    told = ((one, _tree(one.said)) for one in found)
    return [LoggedMemory(one.line, one.time, tree) for one, tree in told if tree is not None]


# --- the tree -------------------------------------------------------------------------


def _tree(one: Printed) -> MemoryTree | None:
    """All parts, or ``None`` if the print breaks off before it counts."""
    lacks = [
        name for name in ("active_anon", "free", "slab_unreclaimable") if name not in one.counts
    ]
    if lacks:
        return None
    lost = []
    parts = list(_parts(one))
    known = sum(part.bytes for part in parts)
    if one.present is None or one.reserved is None:
        lost.append("the print breaks off before it says how many pages there are")
        total = known
    else:
        total = (one.present - one.reserved) * one.page
        parts.append(
            Part(
                "not told apart",
                total - known,
                note="vmalloc, per-CPU memory and what nobody counts: none is printed",
            )
        )
    processes = sorted(_processes(one), key=lambda process: -process.rss_bytes)
    zones = tuple(map(_zone, (zone for zone in one.zones if "min" in zone.kib)))
    return MemoryTree(total, tuple(parts), tuple(processes), (), tuple(lost), zones)


def _zone(zone: Zone) -> ZoneMemory:
    """The watermarks have the boost in them."""
    sizes = (zone.kib.get(name, 0) << 10 for name in ("min", "low", "high"))
    return ZoneMemory(
        zone.node, zone.name, zone.kib.get("managed", 0) << 10, zone.free_kib << 10, *sizes
    )


def _processes(one: Printed) -> Iterator[ProcessMemory]:
    """Those of the table, where its heading says what is in it."""
    for row in one.tasks:
        if not row.columns:
            continue

        def pages(name: str, row: TaskRow = row) -> int | None:
            return row.columns[name] * one.page if name in row.columns else None

        yield ProcessMemory(
            pid=row.tgid,
            comm=row.comm,
            rss_bytes=row.rss_pages * one.page,
            anon_bytes=pages("rss_anon"),
            file_bytes=pages("rss_file"),
            shmem_bytes=pages("rss_shmem"),
            swap_bytes=pages("swapents") or 0,
            tables_bytes=row.columns.get("pgtables_bytes"),
            adj=row.columns.get("oom_score_adj", 0),
        )


def _parts(one: Printed) -> Iterable[Part]:
    def pages(*names: str) -> int:
        return sum(one.counts.get(name, 0) for name in names) * one.page

    lists = Part("on CPUs' own lists", pages("free_pcp"))
    yield Part("free", pages("free", "free_pcp"), (Part("in the zones", pages("free")), lists))
    lru = pages("active_anon", "inactive_anon", "isolated_anon")
    shmem = min(pages("shmem"), lru)
    yield Part(
        "anonymous",
        lru - shmem,
        _owners(one, lru - shmem),
        "of the lists of anonymous pages, shmem left out",
    )
    yield Part("page cache", pages("active_file", "inactive_file", "isolated_file"))
    yield Part("shmem and tmpfs", shmem)
    yield Part("unevictable", pages("unevictable"), note="locked, of any kind")
    yield _slab(one, pages("slab_reclaimable"), pages("slab_unreclaimable"))
    yield Part("kernel stacks", one.stacks_kib << 10)
    yield Part("page tables", pages("pagetables", "sec_pagetables"))
    huge = [
        Part(f"{item.kib} KiB on node {item.node}", item.pages * item.kib << 10)
        for item in one.huge
    ]
    yield Part("huge pages", sum(part.bytes for part in huge), tuple(huge))


def _owners(one: Printed, total: int) -> tuple[Part, ...]:
    """Processes by their anonymous pages, where the table has them by kind (v6.10)."""
    owners = [
        (f"{process.pid} ({process.comm})", process.anon_bytes)
        for process in _processes(one)
        if process.anon_bytes is not None
    ]
    return largest(owners, total, "other processes")


def _slab(one: Printed, reclaimable: int, unreclaimable: int) -> Part:
    """By cache where an OOM printed the unreclaimable ones."""
    if one.slabs:
        caches = [(name, kib << 10) for name, kib in one.slabs]
        owners = largest(caches, unreclaimable, "other caches that can't be reclaimed")
    else:
        owners = (Part("unreclaimable", unreclaimable),)
    return Part("slab", reclaimable + unreclaimable, (*owners, Part("reclaimable", reclaimable)))
