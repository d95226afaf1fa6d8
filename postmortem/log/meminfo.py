"""The lines of ``show_mem()`` and of an OOM's tables: the one place that knows their formats.

mm/show_mem.c, mm/page_alloc.c and mm/oom_kill.c, since v4.10; older ones where they are the same.
Numbers are kept as printed: pages of the machine's size, KiB where the kernel wrote ``kB``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_ROWS = 1 << 15
_PAGE = 4096
"""Bytes of a page, unless the lists of free blocks begin with another size."""

_COUNT = re.compile(r"\b(?P<name>[a-z_]+):(?P<pages>\d{1,15})\b")
_ZONE = re.compile(
    r"(?:Node (?P<node>\d{1,4}) )?(?P<name>[A-Za-z][A-Za-z0-9]{1,9})"
    r" free:(?P<free>\d{1,15})kB (?P<rest>.*)"
)
_NODE = re.compile(r"Node (?P<node>\d{1,4}) active_anon:\d{1,15}kB ")
_KIB = re.compile(r"(?P<name>[a-z_]+):(?P<kib>\d{1,15})kB")
_HUGE = re.compile(
    r"(?:Node (?P<node>\d{1,4}) )?hugepages_total=(?P<total>\d{1,12})"
    r" hugepages_free=(?P<free>\d{1,12}) .{0,60}?hugepages_size=(?P<kib>\d{1,12})kB"
)
_LIST = re.compile(r"(?:Node \d{1,4} )?\w{1,10}: \d{1,12}\*(?P<kib>4|16|64)kB ")
_TOTAL = re.compile(r"(?P<pages>\d{1,15}) pages (?P<what>RAM|reserved)$")
_SLAB = re.compile(r"(?P<name>\S{1,64}) +\d{1,15}KB +(?P<kib>\d{1,15})KB$")
_HEADING = re.compile(r"\[ *pid *\] +uid +tgid +total_vm +rss\b(?P<rest>.*) name$")
_TASK = re.compile(
    r"\[ *(?P<pid>\d{1,9})\] +\d{1,10} +(?P<tgid>\d{1,9}) +\d{1,15} +(?P<rss>\d{1,15})"
    r"(?P<rest>(?: +-?\d{1,20})+) (?P<comm>\S.{0,30})$"
)
_SIGNS = ("kB", "KB", " pages ", "]", ":")
"""One of them is in each of these lines."""


@dataclass(frozen=True)
class Zone:
    """A zone of a node."""

    node: int
    name: str
    free_kib: int
    kib: Mapping[str, int]
    """What else is printed of it: ``min``, ``present``, ``slab_unreclaimable`` ..."""


@dataclass(frozen=True)
class HugePages:
    """Huge pages of one size, on one node."""

    node: int
    pages: int
    free: int
    kib: int
    """Of one page."""


@dataclass(frozen=True)
class TaskRow:
    """A process in the table of an OOM."""

    pid: int
    tgid: int
    comm: str
    rss_pages: int
    columns: Mapping[str, int]
    """What stands behind rss, by the table's heading; empty where that is missing."""


@dataclass
class Printed:
    """What one print says, as far as it was read."""

    page: int = _PAGE
    """Bytes of a page."""
    counts: dict[str, int] = field(default_factory=dict)
    """Of the global block: pages."""
    zones: list[Zone] = field(default_factory=list)
    stacks_kib: int = 0
    huge: list[HugePages] = field(default_factory=list)
    present: int | None = None
    """All pages."""
    reserved: int | None = None
    slabs: list[tuple[str, int]] = field(default_factory=list)
    """Caches that can't be reclaimed, and their KiB."""
    tasks: list[TaskRow] = field(default_factory=list)
    _columns: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        """Add what a line says; lines of others say nothing."""
        text = text.strip()
        if not any(sign in text for sign in _SIGNS):
            return
        if (zone := _ZONE.match(text)) is not None:
            self._take_zone(zone)
        elif _NODE.match(text) is not None:
            for match in _KIB.finditer(text):
                if match["name"] == "kernel_stack":
                    self.stacks_kib += int(match["kib"])
        elif "hugepages_total=" in text:
            self._take_huge(text)
        elif (blocks := _LIST.match(text)) is not None:
            self.page = int(blocks["kib"]) << 10
        elif (total := _TOTAL.match(text)) is not None:
            if total["what"] == "RAM":
                self.present = int(total["pages"])
            else:
                self.reserved = int(total["pages"])
        elif (slab := _SLAB.match(text)) is not None:
            if len(self.slabs) < MAX_ROWS:
                self.slabs.append((slab["name"], int(slab["kib"])))
        elif (heading := _HEADING.match(text)) is not None:
            self._columns, self.tasks = heading["rest"].split(), []
        elif (row := _TASK.match(text)) is not None:
            self._take_task(row)
        elif self.present is None and "kB" not in text:
            for match in _COUNT.finditer(text):
                self.counts.setdefault(match["name"], int(match["pages"]))

    def _take_zone(self, match: re.Match[str]) -> None:
        kib = {found["name"]: int(found["kib"]) for found in _KIB.finditer(match["rest"])}
        self.stacks_kib += kib.get("kernel_stack", 0)  # of zones before v5.9
        if len(self.zones) < MAX_ROWS:
            node = int(match["node"] or 0)
            self.zones.append(Zone(node, match["name"], int(match["free"]), kib))

    def _take_huge(self, text: str) -> None:
        """One line of one size; older kernels print each size on a line of its own, too."""
        for match in _HUGE.finditer(text):
            if int(match["total"]) and len(self.huge) < MAX_ROWS:
                node, kib = int(match["node"] or 0), int(match["kib"])
                self.huge.append(HugePages(node, int(match["total"]), int(match["free"]), kib))

    def _take_task(self, match: re.Match[str]) -> None:
        values = [int(word) for word in match["rest"].split()]
        known = len(values) == len(self._columns)
        if len(self.tasks) < MAX_ROWS:
            self.tasks.append(
                TaskRow(
                    int(match["pid"]),
                    int(match["tgid"]),
                    match["comm"].strip(),
                    int(match["rss"]),
                    dict(zip(self._columns, values, strict=True)) if known else {},
                )
            )


def printed(lines: Iterable[str]) -> Printed:
    """What the lines of one report say."""
    found = Printed()
    for text in lines:
        found.take(text)
    return found
