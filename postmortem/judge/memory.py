"""Out of memory, from the log alone: which limit was met, who holds the memory, who was killed.

Who asks for the last page is nobody's culprit. The kernel prints who holds the rest: Mem-Info
counts pages by use, a table lists the tasks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from postmortem.log.meminfo import Printed, TaskRow, printed
from postmortem.log.since import told_at
from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, TaskRef
from postmortem.model.report import Report

_KERNEL_SHARE = 0.25
"""Of all counted memory: what one use of the kernel holds is named from here on."""
_TASK_SHARE = 0.4
_GROUP = re.compile(r"\boom_memcg=(?P<group>[^,\s]{1,400})")
# Before 4.19 the counters stood in the same line.
_STATS = re.compile(r"Memory cgroup stats for (?P<group>\S{1,400}?)(?::?$|: )")
_USAGE = re.compile(
    r"memory: usage (?P<usage>\d+)kB, limit (?P<limit>\d+)kB, failcnt (?P<fails>\d+)"
)
_PLENTY = 8
"""A zone with so many times what it would like to have free is not short of memory."""
_USES = {
    "slab_unreclaimable": "slab objects of the kernel that can't be reclaimed",
    "shmem": "shared memory and tmpfs",
    "pagetables": "page tables",
    "unevictable": "locked memory",
}
_CAUSES = {
    "slab_unreclaimable": "the kernel itself holds the memory: it leaks, or a cache grows without"
    " bound",
    "shmem": "files in tmpfs or shared memory hold it, and outlive those who made them",
    "pagetables": "processes that map very much have them",
    "unevictable": "programs locked it (mlock), or it lies in ramfs",
}
_COUNTED = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable",
            "slab_reclaimable", "slab_unreclaimable", "pagetables", "free")  # fmt: skip


def total_pages(memory: Printed) -> int:
    """All pages that Mem-Info counts."""
    return sum(memory.counts.get(name, 0) for name in _COUNTED)


def _largest(memory: Printed) -> list[TaskRow]:
    return sorted(memory.tasks, key=lambda row: -row.rss_pages)


def told(finding: Finding, report: Report, reports: Sequence[Report] = ()) -> Finding:
    """An OOM report with what its own tables say, or those that were printed last before it.

    :param reports: all of the log; the kernel does not print the tables for each OOM.
    """
    if finding.kind is not Kind.OOM:
        return finding
    asker = finding.culprit
    finding = replace(finding, culprit=Culprit())
    limit = _limit(finding, report)
    finding = _with_victim(limit or finding, report)
    if limit is not None:
        return finding
    memory = printed(report.text)
    if not total_pages(memory) and not memory.zones:
        memory = printed((earlier := _last_tables(report, reports) or report).text)
        finding = _with_kills(finding, report, reports)
        finding = _as_of(finding, _with_holder(finding, memory), report, earlier)
    else:
        finding = _with_holder(_with_zone(finding, memory), memory)
    if asker.module is None or _held_by_kernel(memory) is None:
        return finding
    # The kernel holds the memory, and code outside of its core asked for more just then.
    return replace(finding, culprit=asker, confidence=Confidence.POSSIBLE)


_RECENT = 600.0
"""Seconds for which tables still tell who holds the memory."""
_MAX_KILLED = 4


def _last_tables(report: Report, reports: Sequence[Report]) -> Report | None:
    """The report of the same trouble that printed Mem-Info last."""
    for other in reversed(reports):
        near = other.kind is Kind.OOM and _just_before(other, report)
        if near and total_pages(printed(other.text)):
            return other
    return None


def _just_before(other: Report, report: Report) -> bool:
    if other.boot != report.boot or other.line >= report.line:
        return False
    then, now = told_at(other), told_at(report)
    return then is None or now is None or now - then <= _RECENT


def _with_kills(finding: Finding, report: Report, reports: Sequence[Report]) -> Finding:
    """Whom the kernel had killed before, and memory was short again."""
    killed = [
        (f"{other.detail['victim']} ({other.detail['victim_pid']})", other.line)
        for other in reports
        if other.kind is Kind.OOM
        and {"victim", "victim_pid"} <= other.detail.keys()
        and _just_before(other, report)
    ]
    if not killed:
        return finding
    names = list(dict.fromkeys(name for name, _ in killed))
    more = f" and {len(names) - _MAX_KILLED} more" if len(names) > _MAX_KILLED else ""
    said = f"It had killed {', '.join(names[:_MAX_KILLED])}{more} before, which did not help"
    return replace(
        finding,
        explanation=f"{finding.explanation} {said}.",
        evidence=(*finding.evidence, Evidence(said, f"log lines {killed[0][1]} to {report.line}")),
    )


def _as_of(before: Finding, after: Finding, report: Report, earlier: Report) -> Finding:
    """What other tables say, as of the time at which they were printed."""
    if after is before:
        return before
    then, now = told_at(earlier), told_at(report)
    ago = f"{now - then:.0f} s before" if then is not None and now is not None else "before"
    said = after.explanation.removeprefix(before.explanation).strip()
    where = f"as the kernel printed {ago} (log line {earlier.line})"
    return replace(after, explanation=f"{before.explanation} {said.rstrip('.')}, {where}.")


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
    memory = printed(report.text)
    rows = _largest(memory)[:5]
    named = [f"{row.comm} ({row.pid}) {_size(memory, row.rss_pages)}" for row in rows]
    evidence = [Evidence(said, f"log line {report.line}")]
    if named:
        evidence.append(Evidence(f"its largest tasks: {', '.join(named)}", "task table in the log"))
    return replace(
        finding,
        explanation=f"{said}; the machine as a whole may have memory left.",
        evidence=(*finding.evidence, *evidence),
        next_steps=(
            f"Raise memory.max of {group or 'the cgroup'}, or find out why"
            f" {f'{rows[0].comm} ({rows[0].pid})' if rows else 'what runs'} in it grows.",
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


def _with_zone(finding: Finding, memory: Printed) -> Finding:
    """One zone has nothing left while another has plenty: only memory of that zone would do."""
    zones = [zone for zone in memory.zones if {"min", "high"} <= zone.kib.keys()]
    short = next((zone for zone in zones if zone.free_kib < zone.kib["min"]), None)
    rich = next((zone for zone in zones if zone.free_kib > _PLENTY * zone.kib["high"]), None)
    if short is None or rich is None or short.name == rich.name:
        return finding
    said = (
        f"The zone {short.name} was used up ({short.free_kib} kB free, its minimum is"
        f" {short.kib['min']} kB), while {rich.name} had {_mib(rich.free_kib)} free"
    )
    slab, present = short.kib.get("slab_unreclaimable", 0), short.kib.get("present", 0)
    if slab and slab >= present * _KERNEL_SHARE:
        said += (
            f"; {_mib(slab)} of the {_mib(present)} of {short.name} are slab objects of the kernel"
            " that can't be reclaimed"
        )
    first, _, rest = finding.explanation.partition(". ")
    return replace(
        finding,
        explanation=f"{first.rstrip('.')}. {said}. {rest}".rstrip(),
        evidence=(*finding.evidence, Evidence(said, "Mem-Info in the log")),
    )


def _held_by_kernel(memory: Printed) -> str | None:
    """The use that the kernel itself makes of most of the memory."""
    use = max(_USES, key=lambda name: memory.counts.get(name, 0))
    pages, rss = memory.counts.get(use, 0), sum(row.rss_pages for row in memory.tasks)
    return use if pages >= total_pages(memory) * _KERNEL_SHARE and pages > rss else None


def _with_holder(finding: Finding, memory: Printed) -> Finding:
    """Name who holds most of it, if the report counts."""
    total = total_pages(memory)
    if not total:
        return finding
    rss = sum(row.rss_pages for row in memory.tasks)
    if _huge_kib(memory) > max(rss, total) * memory.page >> 10:
        return _with_huge_pages(finding, memory)
    use = _held_by_kernel(memory)
    if use is not None:
        pages = memory.counts[use]
        what = f"{_USES[use]} ({use}) hold {pages} pages ({_size(memory, pages)})"
        said = f"{what[0].upper()}{what[1:]} of {_size(memory, total)} that are counted"
        if memory.tasks:
            said += f"; all tasks together hold {_size(memory, rss)}"
        if use == "slab_unreclaimable" and memory.slabs:
            name, kib = max(memory.slabs, key=lambda slab: slab[1])
            said += f"; the largest cache is {name} with {_mib(kib)}"
        steps = (
            "Watch /proc/slabinfo (slabtop) for the cache that grows; slub_debug=U and"
            " kmemleak name who allocates.",
        )
        if use == "shmem":
            steps = ("Look for large files on tmpfs mounts, and for shared memory (ipcs).",)
        return replace(
            finding,
            explanation=f"{finding.explanation} {said}: {_CAUSES[use]}.",
            evidence=(*finding.evidence, Evidence(said, "Mem-Info in the log")),
            next_steps=steps if use in ("shmem", "slab_unreclaimable") else finding.next_steps,
        )
    row = next(iter(_largest(memory)), None)
    if row is not None and row.rss_pages >= total * _TASK_SHARE:
        held = f"{_size(memory, row.rss_pages)} of {_size(memory, total)}"
        said = f"Task {row.pid} ({row.comm}) holds {held}"
        return replace(
            finding,
            culprit=replace(finding.culprit, task=TaskRef(row.pid, row.comm)),
            explanation=f"{finding.explanation} {said}.",
            evidence=(*finding.evidence, Evidence(said, "task table in the log")),
        )
    return finding


def _huge_kib(memory: Printed) -> int:
    return sum(item.pages * item.kib for item in memory.huge)


def _with_huge_pages(finding: Finding, memory: Printed) -> Finding:
    """More is set aside for huge pages than all else that Mem-Info counts has."""
    pages = sum(item.pages for item in memory.huge)
    free = sum(item.free * item.kib for item in memory.huge)
    said = (
        f"{pages} huge pages ({_mib(_huge_kib(memory))}) are set aside, {_mib(free)} of them"
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


def _size(memory: Printed, pages: int) -> str:
    return _mib(pages * memory.page >> 10)


def _mib(kib: int) -> str:
    return f"{kib / 1024:.0f} MiB" if kib >= 10 * 1024 else f"{kib} KiB"
