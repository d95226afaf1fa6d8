"""What the kernel printed of the machine's memory: ``show_mem()`` and the tables of an OOM.

It is printed for sysrq m, for an OOM and for an allocation that failed. Numbers are what the
kernel counted; what it does not print (vmalloc(), per-CPU memory) stays together with what
nobody counts. Formats of mm/show_mem.c, mm/page_alloc.c and mm/oom_kill.c, since v4.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from postmortem.model.memory import MemoryTree, Part, ProcessMemory, ZoneMemory, largest
from postmortem.model.report import Record

PHRASE = "Mem-Info:"
"""The line with which all begins."""
_MOST = 256
"""So many are kept, the last ones."""
_MAX_ROWS = 1 << 15
_LINES = 1 << 16
"""So far behind its beginning the end of a print is looked for."""
_PAGE = 4096
"""Bytes of a page, unless the lists of free blocks begin with another size."""
_ENDS = ("invoked oom-killer", "oom-kill:", "page allocation failure", "sysrq: ")
"""What is printed behind them is of another print, which need not count the machine."""

_COUNT = re.compile(r"\b(?P<name>[a-z_]+):(?P<pages>\d{1,15})(?![\dkK])")
_ZONE = re.compile(
    r"(?:Node (?P<node>\d{1,4}) )?(?P<name>[A-Za-z][A-Za-z0-9]{1,9})"
    r" free:(?P<free>\d{1,15})kB (?P<rest>.*)"
)
_NODE = re.compile(r"Node (?P<node>\d{1,4}) active_anon:\d{1,15}kB ")
_KIB = re.compile(r"(?P<name>[a-z_]+):(?P<kib>\d{1,15})kB")
_HUGE = re.compile(
    r"Node (?P<node>\d{1,4}) hugepages_total=(?P<total>\d{1,12}) "
    r".*hugepages_size=(?P<kib>\d{1,12})kB"
)
_LIST = re.compile(r"(?:Node \d{1,4} )?\w{1,10}: \d{1,12}\*(?P<kib>4|16|64)kB ")
_TOTAL = re.compile(r"(?P<pages>\d{1,15}) pages (?P<what>RAM|reserved)$")
_SLAB = re.compile(r"(?P<name>\S{1,64}) +\d{1,15}KB +(?P<kib>\d{1,15})KB$")
_HEADING = re.compile(r"\[ *pid *\] +uid +tgid +total_vm +rss\b(?P<rest>.*) name$")
_ROW = re.compile(
    r"\[ *(?P<pid>\d{1,9})\] +\d{1,10} +(?P<tgid>\d{1,9}) +\d{1,15} +(?P<rss>\d{1,15})"
    r"(?P<rest>(?: +-?\d{1,20})+) (?P<comm>\S.{0,30})$"
)


@dataclass
class _Print:
    """One print, as it is read."""

    line: int
    time: float | None
    page: int = _PAGE
    counts: dict[str, int] = field(default_factory=dict)
    """Of the global block: pages."""
    zones: list[ZoneMemory] = field(default_factory=list)
    stacks_kib: int = 0
    tables_kib: int = 0
    huge: list[Part] = field(default_factory=list)
    present: int | None = None
    reserved: int | None = None
    slabs: list[tuple[str, int]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    """Of the table of tasks, behind rss."""
    processes: list[ProcessMemory] = field(default_factory=list)


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
            _take(found[-1], text)
    told = ((one, _tree(one)) for one in found)
    return [LoggedMemory(one.line, one.time, tree) for one, tree in told if tree is not None]


def _take(one: _Print, text: str) -> None:
    """Add what a line says; lines of others say nothing."""
    if (zone := _ZONE.match(text)) is not None:
        _take_zone(one, zone)
    elif _NODE.match(text) is not None:
        for match in _KIB.finditer(text):
            if match["name"] == "kernel_stack":
                one.stacks_kib += int(match["kib"])
    elif (huge := _HUGE.match(text)) is not None:
        size = int(huge["total"]) * int(huge["kib"]) << 10
        if size:
            one.huge.append(Part(f"{huge['kib']} KiB on node {huge['node']}", size))
    elif (blocks := _LIST.match(text)) is not None:
        one.page = int(blocks["kib"]) << 10
    elif (total := _TOTAL.match(text)) is not None:
        if total["what"] == "RAM":
            one.present = int(total["pages"])
        else:
            one.reserved = int(total["pages"])
    elif (slab := _SLAB.match(text)) is not None:
        if len(one.slabs) < _MAX_ROWS:
            one.slabs.append((slab["name"], int(slab["kib"]) << 10))
    elif (heading := _HEADING.match(text)) is not None:
        one.columns, one.processes = heading["rest"].split(), []
    elif (row := _ROW.match(text)) is not None:
        _take_row(one, row)
    elif one.present is None and "kB" not in text:
        for match in _COUNT.finditer(text):
            one.counts.setdefault(match["name"], int(match["pages"]))


def _take_zone(one: _Print, match: re.Match[str]) -> None:
    kib = {found["name"]: int(found["kib"]) for found in _KIB.finditer(match["rest"])}
    one.stacks_kib += kib.get("kernel_stack", 0)  # of zones before v5.9
    if "min" in kib and len(one.zones) < _MAX_ROWS:
        # The watermarks have the boost in them.
        sizes = (kib.get(name, 0) << 10 for name in ("min", "low", "high"))
        managed, free = kib.get("managed", 0) << 10, int(match["free"]) << 10
        node = int(match["node"] or 0)
        one.zones.append(ZoneMemory(node, match["name"], managed, free, *sizes))


def _take_row(one: _Print, match: re.Match[str]) -> None:
    values = [int(word) for word in match["rest"].split()]
    named = dict(zip(one.columns, values, strict=False))
    if not one.columns or len(values) != len(one.columns) or len(one.processes) >= _MAX_ROWS:
        return

    def pages(name: str) -> int | None:
        return named[name] * one.page if name in named else None

    one.processes.append(
        ProcessMemory(
            pid=int(match["tgid"]),
            comm=match["comm"].strip(),
            rss_bytes=int(match["rss"]) * one.page,
            anon_bytes=pages("rss_anon"),
            file_bytes=pages("rss_file"),
            shmem_bytes=pages("rss_shmem"),
            swap_bytes=pages("swapents") or 0,
            tables_bytes=named.get("pgtables_bytes"),
            adj=named.get("oom_score_adj", 0),
        )
    )


# --- the tree -------------------------------------------------------------------------


def _tree(one: _Print) -> MemoryTree | None:
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
    processes = sorted(one.processes, key=lambda process: -process.rss_bytes)
    return MemoryTree(total, tuple(parts), tuple(processes), (), tuple(lost), tuple(one.zones))


def _parts(one: _Print) -> Iterable[Part]:
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
    yield Part("huge pages", sum(part.bytes for part in one.huge), tuple(one.huge))


def _owners(one: _Print, total: int) -> tuple[Part, ...]:
    """Processes by their anonymous pages, where the table has them by kind (v6.10)."""
    owners = [
        (f"{process.pid} ({process.comm})", process.anon_bytes)
        for process in one.processes
        if process.anon_bytes is not None
    ]
    return largest(owners, total, "other processes")


def _slab(one: _Print, reclaimable: int, unreclaimable: int) -> Part:
    """By cache where an OOM printed the unreclaimable ones."""
    if one.slabs:
        owners = largest(one.slabs, unreclaimable, "other caches that can't be reclaimed")
    else:
        owners = (Part("unreclaimable", unreclaimable),)
    return Part("slab", reclaimable + unreclaimable, (*owners, Part("reclaimable", reclaimable)))
