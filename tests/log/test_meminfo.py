"""The lines of show_mem() and of an OOM's tables; formats of mm/show_mem.c and mm/oom_kill.c."""

from __future__ import annotations

from postmortem.log.meminfo import printed

LINES = (
    "active_anon:1000 inactive_anon:20 isolated_anon:0",
    " slab_reclaimable:30 slab_unreclaimable:400",
    " mapped:5 shmem:6 pagetables:7",
    "Node 1 active_anon:64000kB inactive_anon:1280kB kernel_stack:2048kB pagetables:448kB",
    "Node 1 Normal free:5120kB boost:0kB min:4096kB low:8192kB high:12288kB present:65536kB"
    " managed:61440kB slab_unreclaimable:25600kB",
    "Node 1 Normal: 3*64kB (UM) 0*128kB 1*256kB (M) = 448kB",
    "Node 1 hugepages_total=4 hugepages_free=1 hugepages_surp=0 hugepages_size=16384kB",
    "Node 1 hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=1048576kB",
    "4096 pages RAM",
    "256 pages reserved",
    "zorb_cache            1200KB       1300KB",
    "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "[    612]  1000   611    90000     1234         65536        9          -500 zorb worker",
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=zorb,pid=612,uid=1000",
)


def test_each_line_says_its_part() -> None:
    said = printed(LINES)
    assert said.page == 65536  # the lists of free blocks begin with it
    assert (said.counts["active_anon"], said.counts["slab_unreclaimable"]) == (1000, 400)
    assert (said.present, said.reserved, said.stacks_kib) == (4096, 256, 2048)
    (zone,) = said.zones
    assert (zone.node, zone.name, zone.free_kib, zone.kib["min"]) == (1, "Normal", 5120, 4096)
    (huge,) = said.huge
    assert (huge.node, huge.pages, huge.free, huge.kib) == (1, 4, 1, 16384)
    assert said.slabs == [("zorb_cache", 1300)]
    (row,) = said.tasks
    assert (row.pid, row.tgid, row.comm, row.rss_pages) == (612, 611, "zorb worker", 1234)
    assert row.columns == {"pgtables_bytes": 65536, "swapents": 9, "oom_score_adj": -500}


def test_a_table_without_its_heading_has_rows_all_the_same() -> None:
    (row,) = printed(LINES[-2:-1]).tasks
    assert (row.rss_pages, row.columns) == (1234, {})


def test_other_lines_say_nothing() -> None:
    said = printed(["Killed process 612 (zorb)", "x" * 5000, "[ pid ]", "", "a:1kB b:2"])
    assert said.counts == {} and not said.tasks and not said.zones
