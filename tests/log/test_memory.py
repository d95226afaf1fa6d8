"""What a log tells of memory; numbers and names are invented, forms are the kernel's."""

from __future__ import annotations

from collections.abc import Iterable

from postmortem.log.memory import logged_memory
from postmortem.model.report import Record

PAGE = 4096
MIB = 1 << 20

COUNTS = """Mem-Info:
active_anon:1000 inactive_anon:500 isolated_anon:4
 active_file:300 inactive_file:200 isolated_file:0
 unevictable:16 dirty:7 writeback:0
 slab_reclaimable:100 slab_unreclaimable:400
 mapped:90 shmem:250 pagetables:40
 sec_pagetables:2 bounce:0
 kernel_misc_reclaimable:0
 free:600 free_pcp:50 free_cma:0"""
NODE = (
    "Node 0 active_anon:4000kB inactive_anon:2000kB mapped:360kB shmem:1000kB"
    " kernel_stack:320kB pagetables:160kB all_unreclaimable? no"
)
ZONE = (
    "Node 0 Normal free:{free}kB boost:0kB min:1000kB low:1250kB high:1500kB"
    " active_anon:4000kB present:20000kB managed:16384kB mlocked:0kB"
)
REST = """lowmem_reserve[]: 0 0 0
Node 0 Normal: 10*4kB (U) 2*8kB (M) = 56kB
Node 0 hugepages_total=2 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB
500 total pagecache pages
0 pages in swap cache
Free swap  = 0kB
Total swap = 0kB
6000 pages RAM
0 pages HighMem/MovableOnly
904 pages reserved"""
KINDS = " rss_anon rss_file rss_shmem"
TABLE = f"""Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss{KINDS} pgtables_bytes swapents oom_score_adj name
[     31]     0    31      900      700  600   60   40    45056        3           200 zorb worker
[     32]  1000    32      300      100  100    0    0    12288        0         -1000 quuxd"""


def records(*texts: str) -> list[Record]:
    lines = [line for text in texts for line in text.split("\n")]
    return [Record(number, text, 7.5) for number, text in enumerate(lines, 1)]


def whole(*more: str, free: int = 2400) -> list[Record]:
    return records(COUNTS, NODE, ZONE.format(free=free), REST, *more)


def sizes(found: Iterable[Record]) -> dict[str, int]:
    (memory,) = logged_memory(found)
    return {part.name: part.bytes for part in memory.tree.parts}


def test_parts_are_what_the_kernel_counts_and_add_up_to_what_it_manages() -> None:
    found = sizes(whole())
    assert found == {
        "free": 650 * PAGE,
        "anonymous": (1504 - 250) * PAGE,
        "page cache": 500 * PAGE,
        "shmem and tmpfs": 250 * PAGE,
        "unevictable": 16 * PAGE,
        "slab": 500 * PAGE,
        "kernel stacks": 320 << 10,
        "page tables": 42 * PAGE,
        "huge pages": 4 * MIB,
        "not told apart": found["not told apart"],
    }
    assert sum(found.values()) == (6000 - 904) * PAGE


def test_a_zone_has_its_watermarks_and_what_they_mean() -> None:
    states = []
    for free in (2400, 1100, 900):
        (zone,) = logged_memory(whole(free=free))[0].tree.zones
        assert (zone.node, zone.name, zone.managed_bytes) == (0, "Normal", 16 * MIB)
        assert (zone.min_bytes, zone.low_bytes, zone.high_bytes) == (
            1000 << 10,
            1250 << 10,
            1500 << 10,
        )
        states.append(zone.state.partition(":")[0])
    assert states == ["enough", "below low", "below min"]


def test_the_table_of_an_oom_names_the_processes() -> None:
    (memory,) = logged_memory(whole(TABLE))
    first, second = memory.tree.processes
    assert (first.pid, first.comm, first.rss_bytes) == (31, "zorb worker", 700 * PAGE)
    assert (first.anon_bytes, first.shmem_bytes) == (600 * PAGE, 40 * PAGE)
    assert (first.swap_bytes, first.tables_bytes, first.adj) == (3 * PAGE, 45056, 200)
    assert (second.comm, second.adj) == ("quuxd", -1000)
    owners = memory.tree.part("anonymous").parts  # type: ignore[union-attr]
    assert [owner.name for owner in owners] == ["31 (zorb worker)", "32 (quuxd)", "other processes"]


def test_kernels_before_rss_was_told_apart_have_no_owners() -> None:
    old = TABLE.replace(KINDS, "").replace("  600   60   40", "").replace("  100    0    0", "")
    (memory,) = logged_memory(whole(old))
    assert [process.rss_bytes for process in memory.tree.processes] == [700 * PAGE, 100 * PAGE]
    assert memory.tree.processes[0].anon_bytes is None
    assert memory.tree.part("anonymous").parts == ()  # type: ignore[union-attr]


def test_slabs_that_an_oom_lists_are_the_owners() -> None:
    slabs = (
        "Unreclaimable slab info:\nName       Used          Total\nzorb_node   900KB       1000KB"
    )
    (memory,) = logged_memory(whole(slabs))
    owners = {part.name: part.bytes for part in memory.tree.part("slab").parts}  # type: ignore[union-attr]
    assert owners["zorb_node"] == 1000 << 10
    assert owners["reclaimable"] == 100 * PAGE
    assert sum(owners.values()) == 500 * PAGE


def test_the_table_of_a_cgroup_s_oom_is_not_the_machine_s() -> None:
    other = "quuxd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
    (memory,) = logged_memory(whole("sysrq: Show State", TABLE))
    assert memory.tree.processes == ()
    (memory,) = logged_memory(whole(other, TABLE))
    assert memory.tree.processes == ()


def test_pages_of_64_kib_are_known_by_the_free_lists() -> None:
    rest = REST.replace("10*4kB (U) 2*8kB (M) = 56kB", "10*64kB (U) 2*128kB (M) = 896kB")
    found = sizes(records(COUNTS, NODE, ZONE.format(free=9), rest))
    assert found["page cache"] == 500 << 16


def test_what_breaks_off_says_so_or_is_none() -> None:
    assert logged_memory(records(*COUNTS.split("\n")[:3])) == []
    (memory,) = logged_memory(records(COUNTS))
    assert memory.tree.unreadable
    assert sum(part.bytes for part in memory.tree.parts) == memory.tree.total_bytes


def test_every_print_is_one() -> None:
    found = logged_memory([*whole(), *whole()])
    assert len(found) == 2
