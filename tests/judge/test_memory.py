"""Whose memory it is, by what the kernel prints when it runs out."""

from __future__ import annotations

import pytest

from postmortem.judge.memory import told, total_pages
from postmortem.judge.reports import finding_of
from postmortem.log.meminfo import printed
from postmortem.model.findings import Finding, Kind, TaskRef
from tests.judge.made import context, first, log

HEAD = [
    "asker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "CPU: 1 PID: 33 Comm: asker Not tainted 6.9.0 #1",
    "Call Trace:",
    " dump_header+0x54/0x1fc",
    " out_of_memory+0x218/0x34c",
    " __alloc_pages+0xa98/0x1044",
    " zorb_status_read+0x1b8/0x384",
]
KILLED = "Out of memory: Killed process 44 (victim) total-vm:9000kB, anon-rss:20480kB, file-rss:0kB"


def counts(anon: int, slab: int, shmem: int = 0) -> list[str]:
    return [
        "Mem-Info:",
        f"active_anon:{anon} inactive_anon:0 isolated_anon:0",
        f" slab_reclaimable:10 slab_unreclaimable:{slab}",
        f" mapped:3 shmem:{shmem} pagetables:30",
        " free:100 free_pcp:0 free_cma:0",
    ]


def table(*rows: tuple[int, int, str]) -> list[str]:
    head = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    return [head, *(f"[ {p:6}]     0 {p:5}  20000 {rss:8}     8704        0             0 {name}"
                    for p, rss, name in rows)]  # fmt: skip


def oom(*lines: str) -> Finding:
    _, report, finding = first(log(*HEAD, *lines, KILLED))
    return told(finding, report)


def test_who_asked_last_is_nobody_s_culprit() -> None:
    found = oom(*counts(500, 50), *table((33, 100, "asker")))
    assert found.culprit.function is None and found.culprit.task is None


def test_kernel_that_holds_more_than_all_tasks_leaks() -> None:
    found = oom(*counts(500, 98_304), *table((33, 100, "asker"), (44, 5_000, "victim")))
    assert "98304 pages (384 MiB)" in found.explanation
    assert "the kernel itself holds the memory" in found.explanation


def test_the_largest_cache_is_named_where_the_log_lists_them() -> None:
    slabs = (
        "Unreclaimable slab info:",
        "Name                      Used          Total",
        "zorb_request          102400KB     112640KB",
        "kmalloc-64                48KB         52KB",
    )
    found = oom(*counts(500, 98_304), *slabs, *table((33, 100, "asker"), (44, 5_000, "victim")))
    assert "the largest cache is zorb_request with 110 MiB" in found.explanation


HUGE = (
    "Node {node} hugepages_total={total} hugepages_free={free} hugepages_surp=0"
    " hugepages_size=2048kB"
)


def test_huge_pages_that_take_most_of_the_machine_are_named() -> None:
    reserved = [HUGE.format(node=node, total=4_000, free=3_000) for node in (0, 1)]
    found = oom(*counts(90_000, 50), *reserved, *table((33, 80_000, "asker")))
    assert (
        "8000 huge pages (16000 MiB) are set aside, 12000 MiB of them unused" in found.explanation
    )
    assert "nr_hugepages" in found.next_steps[0]


ZONE = "{name} free:{free}kB min:3724kB low:4652kB high:5584kB present:883912kB"


def test_a_zone_that_is_used_up_while_another_has_plenty_is_named() -> None:
    normal = ZONE.format(name="Normal", free=3_688) + " slab_unreclaimable:752872kB"
    found = oom(normal, ZONE.format(name="HighMem", free=1_545_240))
    assert "The zone Normal was used up (3688 kB free, its minimum is 3724 kB)" in found.explanation
    assert "while HighMem had 1509 MiB free" in found.explanation
    assert "735 MiB of the 863 MiB of Normal are slab" in found.explanation


def test_a_zone_is_not_named_where_all_are_short() -> None:
    found = oom(*(ZONE.format(name=name, free=3_000) for name in ("DMA32", "Normal")))
    assert "zone" not in found.explanation


def test_a_few_huge_pages_starve_nobody() -> None:
    few = HUGE.format(node=0, total=10, free=10)
    found = oom(*counts(90_000, 50), few, *table((33, 80_000, "asker")))
    assert "huge" not in found.explanation


def test_shared_memory_outlives_its_makers() -> None:
    found = oom(*counts(90_000, 50, shmem=80_000), *table((33, 100, "asker")))
    assert "shared memory and tmpfs" in found.explanation.lower()


@pytest.mark.parametrize(("pages", "named"), [(39_000, False), (41_000, True)])
def test_a_task_is_named_from_two_fifths_on(pages: int, named: bool) -> None:
    # counts() adds what it counts: the share is of all of it.
    total = total_pages(printed(first(log(*HEAD, *counts(90_000, 500), KILLED))[1].text))
    found = oom(*counts(90_000, 500), *table((44, total * pages // 100_000, "hog")))
    assert ("Task 44 (hog) holds" in found.explanation) is named


@pytest.mark.parametrize(("percent", "named"), [(24, False), (26, True)])
def test_the_kernel_is_named_from_a_quarter_on(percent: int, named: bool) -> None:
    rest = total_pages(printed(first(log(*HEAD, *counts(90_000, 0), KILLED))[1].text))
    slab = rest * percent // (100 - percent)
    found = oom(*counts(90_000, slab), *table((33, 100, "asker")))
    assert ("the kernel itself holds the memory" in found.explanation) is named


def test_task_that_holds_most_is_named() -> None:
    found = oom(*counts(100_000, 500), *table((33, 100, "asker"), (44, 90_000, "victim")))
    assert "Task 44 (victim) holds 352 MiB" in found.explanation
    assert found.culprit.task == TaskRef(44, "victim")


def test_nobody_stands_out() -> None:
    rows = [(pid, 1_000, f"t{pid}") for pid in range(50, 90)]
    found = oom(*counts(40_000, 5_000), *table(*rows))
    assert "holds" not in found.explanation


@pytest.mark.parametrize("counters", ["", " cache:17132KB rss:2080020KB mapped_file:0KB"])
def test_limit_of_a_cgroup_is_not_the_machine_s_end(counters: str) -> None:
    _, report, finding = first(
        log(
            *HEAD,
            "memory: usage 524288kB, limit 524288kB, failcnt 77",
            f"Memory cgroup stats for /zorb.slice:{counters}",
            *table((44, 5_000, "victim")),
            KILLED.replace("Out of memory", "Memory cgroup out of memory"),
        )
    )
    found = told(finding, report)
    assert "The memory cgroup /zorb.slice reached its limit of 512 MiB" in found.explanation
    assert "machine ran out" not in found.explanation
    assert "killed task 44 (victim) for it, which held 20 MiB" in found.explanation


def test_pages_are_as_large_as_the_lists_of_free_blocks_say() -> None:
    """A kernel of ppc64 or arm64 with pages of 64 KiB."""
    rows = (
        "active_anon:1000 inactive_anon:0 unevictable:0 slab_reclaimable:0 slab_unreclaimable:10",
        " shmem:0 pagetables:0 free:10",
        "Node 0 Normal: 3*64kB (UM) 0*128kB = 192kB",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "[    612]  1000   612    90000     1000         65536        0             0 zorbd",
    )
    _, report, finding = first(log(*HEAD, *rows))
    assert "Task 612 (zorbd) holds 62 MiB of" in told(finding, report).explanation


def test_page_tables_belong_to_processes() -> None:
    rows = (
        "active_anon:100 inactive_anon:0 unevictable:0 slab_reclaimable:0 slab_unreclaimable:10",
        " shmem:0 pagetables:9000 free:10",
    )
    _, report, finding = first(log(*HEAD, *rows))
    text = told(finding, report).explanation
    assert "processes that map very much have them" in text
    assert "the kernel itself" not in text


def last_of(*lines: str) -> Finding:
    """The last OOM of a log, judged with all of it."""
    ctx = context(log(*lines))
    reports = [report for report in ctx.reports if report.kind is Kind.OOM]
    return told(finding_of(ctx, reports[-1]), reports[-1], reports)


def test_an_oom_without_tables_is_told_with_the_last_ones_before_it() -> None:
    found = last_of(
        *HEAD, *counts(500, 50, shmem=90_000), *table((44, 300, "victim")), KILLED,
        f"[  140.000000] {HEAD[0]}",
    )  # fmt: skip
    assert "tmpfs or shared memory hold it" in found.explanation
    assert "as the kernel printed 40 s before (log line 1)" in found.explanation
    assert "It had killed victim (44) before" in found.explanation


def test_tables_of_long_ago_or_of_another_boot_tell_nothing() -> None:
    tables = [*HEAD, *counts(500, 50, shmem=90_000), KILLED]
    late = f"[ 9140.000000] {HEAD[0]}"
    assert "shmem" not in last_of(*tables, late).explanation
    boot = "[    0.000000] Linux version 6.9.0 (x@y) #1 SMP"
    assert "shmem" not in last_of(*tables, boot, f"[  140.000000] {HEAD[0]}").explanation


def test_a_cgroups_limit_has_nothing_to_do_with_the_machines_tables() -> None:
    found = last_of(
        *HEAD, *counts(500, 50, shmem=90_000), KILLED, f"[  140.000000] {HEAD[0]}",
        "[  140.000001] memory: usage 2048kB, limit 2048kB, failcnt 7",
    )  # fmt: skip
    assert "shmem" not in found.explanation and "cgroup" in found.explanation
