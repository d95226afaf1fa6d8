"""Out of memory, from the log alone: which limit was met, who holds the memory, who was killed.

Who asks for the last page is nobody's culprit. The kernel prints who holds the rest: Mem-Info
counts pages by use, a table lists the tasks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, TaskRef
from postmortem.model.report import Report

_PAGE_KIB = 4
"""Pages of 4 KiB: what most machines have; the log does not say."""
_KERNEL_SHARE = 0.25
"""Of all counted memory: what one use of the kernel holds is named from here on."""
_TASK_SHARE = 0.4
_COUNT = re.compile(r"\b(?P<name>[a-z_]+):(?P<pages>\d{1,15})\b")
_TASK = re.compile(
    r"\[ *(?P<pid>\d{1,9})\] +(?P<uid>\d{1,10}) +(?P<tgid>\d{1,9}) +(?P<vm>\d{1,15})"
    r" +(?P<rss>\d{1,15})(?: +-?\d{1,20})+ (?P<name>\S.{0,30})$"
)
_GROUP = re.compile(r"\boom_memcg=(?P<group>[^,\s]{1,400})")
_STATS = re.compile(r"Memory cgroup stats for (?P<group>\S{1,400}?):?$")
_USAGE = re.compile(
    r"memory: usage (?P<usage>\d+)kB, limit (?P<limit>\d+)kB, failcnt (?P<fails>\d+)"
)
_HUGE = re.compile(
    r"hugepages_total=(?P<total>\d{1,12}) hugepages_free=(?P<free>\d{1,12})"
    r" .{0,60}hugepages_size=(?P<kib>\d{1,9})kB"
)
_SLAB = re.compile(r"(?P<name>[\w.:-]{1,64}) +(?P<used>\d{1,12})KB +(?P<total>\d{1,12})KB")
_ZONE = re.compile(
    r"(?:Node \d{1,4} )?(?P<zone>DMA|DMA32|Normal|HighMem|Movable|Device) free:(?P<free>\d{1,15})kB"
    r"(?: boost:\d{1,15}kB)? min:(?P<min>\d{1,15})kB low:\d{1,15}kB high:(?P<high>\d{1,15})kB"
)
_ZONE_SLAB = re.compile(
    r"\bpresent:(?P<present>\d{1,15})kB\b.*\bslab_unreclaimable:(?P<slab>\d{1,15})kB"
)
_PLENTY = 8
"""A zone with so many times what it would like to have free is not short of memory."""
_USES = {
    "slab_unreclaimable": "slab objects of the kernel that can't be reclaimed",
    "shmem": "shared memory and tmpfs",
    "pagetables": "page tables",
    "unevictable": "locked memory",
}
_COUNTED = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable",
            "slab_reclaimable", "slab_unreclaimable", "pagetables", "free")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A task of the kernel's table."""

    pid: int
    name: str
    rss_pages: int


@dataclass(frozen=True)
class Huge:
    """Huge pages of all nodes and sizes that are set aside."""

    pages: int
    kib: int
    free_kib: int


@dataclass(frozen=True)
class Told:
    """What an OOM report says of memory, in pages."""

    uses: dict[str, int] = field(default_factory=dict)
    tasks: tuple[Row, ...] = ()
    """The largest first."""
    huge: Huge | None = None
    slabs: tuple[tuple[str, int], ...] = ()
    """Unreclaimable caches and their size in KiB, the largest first."""

    @property
    def total(self) -> int:
        """All pages that Mem-Info counts."""
        return sum(self.uses.get(name, 0) for name in _COUNTED)


def read(report: Report) -> Told:
    """Mem-Info and the task table of a report."""
    uses: dict[str, int] = {}
    tasks, slabs, huge = [], [], Huge(0, 0, 0)
    for text in report.text:
        row = _TASK.match(text.strip())
        if "hugepages_total=" in text:
            huge = _with_huge(huge, text)
        elif "KB" in text and (slab := _SLAB.fullmatch(text.strip())) is not None:
            slabs.append((slab["name"], int(slab["total"])))
        elif row is not None:
            tasks.append(Row(int(row["pid"]), row["name"].strip(), int(row["rss"])))
        elif "kB" not in text:
            for match in _COUNT.finditer(text):
                uses.setdefault(match["name"], int(match["pages"]))
    tasks.sort(key=lambda row: -row.rss_pages)
    slabs.sort(key=lambda slab: -slab[1])
    return Told(uses, tuple(tasks), huge if huge.pages else None, tuple(slabs))


def _with_huge(known: Huge, text: str) -> Huge:
    """One node's line of one size; older kernels print each size on a line of its own, too."""
    for match in _HUGE.finditer(text):
        total, free, kib = int(match["total"]), int(match["free"]), int(match["kib"])
        known = Huge(known.pages + total, known.kib + total * kib, known.free_kib + free * kib)
    return known


def told(finding: Finding, report: Report) -> Finding:
    """An OOM report with what its own tables say."""
    if finding.kind is not Kind.OOM:
        return finding
    asker = finding.culprit
    finding = replace(finding, culprit=Culprit())
    limit = _limit(finding, report)
    finding = _with_victim(limit or finding, report)
    if limit is not None:
        return finding
    memory = read(report)
    finding = _with_holder(_with_zone(finding, report), memory)
    if asker.module is None or _held_by_kernel(memory) is None:
        return finding
    # The kernel holds the memory, and code outside of its core asked for more just then.
    return replace(finding, culprit=asker, confidence=Confidence.POSSIBLE)


def _limit(finding: Finding, report: Report) -> Finding | None:
    """A memory cgroup met its limit: the machine itself has memory."""
    usage = next(filter(None, map(_USAGE.search, report.text)), None)
    found = (pattern.search(text) for text in report.text for pattern in (_GROUP, _STATS))
    group = next((match["group"] for match in found if match is not None), None)
    if "cgroup_oom" not in report.detail and usage is None:
        return None
    limit = usage["limit"] if usage else report.detail.get("memcg_limit_kb", "")
    name = f"The memory cgroup {group}" if group else "A memory cgroup"
    said = f"{name} reached its limit"
    if limit.isdigit():
        said += f" of {_mib(int(limit))}"
    if usage is not None:
        said += f" ({usage['fails']} charges had failed)"
    rows = read(report).tasks[:5]
    tasks = [f"{row.name} ({row.pid}) {_pages(row.rss_pages)}" for row in rows]
    evidence = [Evidence(said, f"log line {report.line}")]
    if tasks:
        evidence.append(Evidence(f"its largest tasks: {', '.join(tasks)}", "task table in the log"))
    return replace(
        finding,
        explanation=f"{said}; the machine as a whole may have memory left.",
        evidence=(*finding.evidence, *evidence),
        next_steps=(
            f"Raise memory.max of {group or 'the cgroup'}, or find out why"
            f" {f'{rows[0].name} ({rows[0].pid})' if rows else 'what runs'} in it grows.",
        ),
    )


def _with_victim(finding: Finding, report: Report) -> Finding:
    """Say who was killed for it, and how much that gave back."""
    victim, pid = report.detail.get("victim"), report.detail.get("victim_pid", "")
    if not victim:
        return finding
    said = f"The kernel killed task {pid} ({victim}) for it"
    anon = report.detail.get("anon_rss_kb", "")
    if anon.isdigit() and len(anon) < 16:
        said += f", which held {_mib(int(anon))} of anonymous memory"
    return replace(
        finding,
        explanation=f"{finding.explanation} {said}.",
        evidence=(*finding.evidence, Evidence(said, "log")),
    )


def _with_zone(finding: Finding, report: Report) -> Finding:
    """One zone has nothing left while another has plenty: only memory of that zone would do."""
    zones = [(match, text) for text in report.text if (match := _ZONE.match(text.strip()))]
    short = next(((m, text) for m, text in zones if int(m["free"]) < int(m["min"])), None)
    rich = next((m for m, _ in zones if int(m["free"]) > _PLENTY * int(m["high"])), None)
    if short is None or rich is None or short[0]["zone"] == rich["zone"]:
        return finding
    zone, text = short
    said = (
        f"The zone {zone['zone']} was used up ({zone['free']} kB free, its minimum is"
        f" {zone['min']} kB), while {rich['zone']} had {_mib(int(rich['free']))} free"
    )
    slab = _ZONE_SLAB.search(text)
    if slab is not None and int(slab["slab"]) >= int(slab["present"]) * _KERNEL_SHARE:
        said += (
            f"; {_mib(int(slab['slab']))} of the {_mib(int(slab['present']))} of"
            f" {zone['zone']} are slab objects of the kernel that can't be reclaimed"
        )
    first, _, rest = finding.explanation.partition(". ")
    return replace(
        finding,
        explanation=f"{first.rstrip('.')}. {said}. {rest}".rstrip(),
        evidence=(*finding.evidence, Evidence(said, "Mem-Info in the log")),
    )


def _held_by_kernel(memory: Told) -> str | None:
    """The use that the kernel itself makes of most of the memory."""
    use = max(_USES, key=lambda name: memory.uses.get(name, 0))
    pages, rss = memory.uses.get(use, 0), sum(row.rss_pages for row in memory.tasks)
    return use if pages >= memory.total * _KERNEL_SHARE and pages > rss else None


def _with_holder(finding: Finding, memory: Told) -> Finding:
    """Name who holds most of it, if the report counts."""
    total = memory.total
    if not total:
        return finding
    rss = sum(row.rss_pages for row in memory.tasks)
    if memory.huge is not None and memory.huge.kib > max(rss, total) * _PAGE_KIB:
        return _with_huge_pages(finding, memory.huge)
    use = _held_by_kernel(memory)
    if use is not None:
        pages = memory.uses[use]
        what = f"{_USES[use]} ({use}) hold {pages} pages ({_pages(pages)})"
        said = f"{what[0].upper()}{what[1:]} of {_pages(total)} that are counted"
        if memory.tasks:
            said += f"; all tasks together hold {_pages(rss)}"
        cause = "the kernel itself holds the memory: it leaks, or a cache grows without bound"
        if use == "slab_unreclaimable" and memory.slabs:
            name, kib = memory.slabs[0]
            said += f"; the largest cache is {name} with {_mib(kib)}"
        if use == "shmem":
            cause = "files in tmpfs or shared memory hold it, and outlive those who made them"
        steps = (
            "Watch /proc/slabinfo (slabtop) for the cache that grows; slub_debug=U and"
            " kmemleak name who allocates.",
        )
        if use == "shmem":
            steps = ("Look for large files on tmpfs mounts, and for shared memory (ipcs).",)
        return replace(
            finding,
            explanation=f"{finding.explanation} {said}: {cause}.",
            evidence=(*finding.evidence, Evidence(said, "Mem-Info in the log")),
            next_steps=steps if use in ("shmem", "slab_unreclaimable") else finding.next_steps,
        )
    if memory.tasks and memory.tasks[0].rss_pages >= total * _TASK_SHARE:
        row = memory.tasks[0]
        said = f"Task {row.pid} ({row.name}) holds {_pages(row.rss_pages)} of {_pages(total)}"
        return replace(
            finding,
            culprit=replace(finding.culprit, task=TaskRef(row.pid, row.name)),
            explanation=f"{finding.explanation} {said}.",
            evidence=(*finding.evidence, Evidence(said, "task table in the log")),
        )
    return finding


def _with_huge_pages(finding: Finding, huge: Huge) -> Finding:
    """More is set aside for huge pages than all else that Mem-Info counts has."""
    said = (
        f"{huge.pages} huge pages ({_mib(huge.kib)}) are set aside, {_mib(huge.free_kib)} of them"
        " unused: nothing else can have that memory"
    )
    first, _, rest = finding.explanation.partition(". ")
    return replace(
        finding,
        explanation=f"{first.rstrip('.')}. {said}. {rest}".rstrip(),
        evidence=(*finding.evidence, Evidence(said, "Mem-Info in the log")),
        next_steps=(
            "Lower vm.nr_hugepages (or hugepages= on the command line) to what is used.",
            *finding.next_steps,
        ),
    )


def _pages(pages: int) -> str:
    return _mib(pages * _PAGE_KIB)


def _mib(kib: int) -> str:
    return f"{kib / 1024:.0f} MiB" if kib >= 10 * 1024 else f"{kib} KiB"
