"""Whose doing a failed check is."""

from __future__ import annotations

import pytest

from postmortem.judge.assertions import told
from postmortem.model.findings import Confidence, Finding, Kind
from tests.judge.made import first, log, oops


def story(*lines: str) -> Finding:
    _, report, finding = first(log(*lines))
    return told(finding, report)


def warning(place: str) -> list[str]:
    return [
        "------------[ cut here ]------------",
        f"WARNING: CPU: 1 PID: 700 at kernel/softirq.c:376 {place}+0x8b/0xd0",
        "CPU: 1 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        f"RIP: 0010:{place}+0x8b/0xd0",
        "Call Trace:",
        " zorb_flush+0x38/0x50 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    ]


def test_who_fails_the_check_of_a_helper_does_not_stand_in_its_file() -> None:
    found = story(*warning("__local_bh_enable_ip"))
    assert found.explanation.startswith("zorb_flush() failed a check that __local_bh_enable_ip()")
    assert (found.culprit.function, found.culprit.file) == ("zorb_flush", None)
    assert any("kernel/softirq.c:376" in item.what for item in found.evidence)


def test_who_checks_itself_stands_there() -> None:
    found = story(*warning("zorb_check"))
    assert found.culprit.file == "kernel/softirq.c"


@pytest.mark.parametrize(
    ("atomic", "irqs", "count", "said"),
    [
        (0, 1, 0, "interrupts were off, and no spinlock was counted"),
        (1, 1, 0, "interrupts were off, and no spinlock was counted"),  # the count is exact
        (1, 1, None, "interrupts were off and preemption was disabled"),
        (0, 1, None, "interrupts were off, and no spinlock was counted"),
        (1, 1, 1, "interrupts were off and preemption was disabled"),
        (1, 0, 1, "preemption was disabled: a spinlock is held"),
    ],
)
def test_why_it_may_not_sleep(atomic: int, irqs: int, count: int | None, said: str) -> None:
    found = story(
        "BUG: sleeping function called from invalid context at kernel/locking/rwsem.c:1589",
        f"in_atomic(): {atomic}, irqs_disabled(): {irqs}, non_block: 0, pid: 310, name: zorbd",
        *([] if count is None else [f"preempt_count: {count}, expected: 0"]),
        "CPU: 0 PID: 310 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " __might_resched+0x120/0x130",
        " down_write+0x2c/0x58",
        " zorb_update+0x54/0xc8 [zorb]",
    )
    assert said in found.explanation


def test_allocator_that_trips_over_its_freelist_is_innocent_and_so_is_who_asked() -> None:
    head = "general protection fault, probably for non-canonical address 0x78d29c0722bf7aa1: 0000"
    body = [line.replace("zorb_peek+0x17/0x40 [zorb]", "__kmalloc+0x111/0x330") for line in oops()]
    found = story(f"{head} [#1] SMP NOPTI", *body[3:])
    assert found.kind is Kind.MEMORY_CORRUPTION
    assert found.culprit.function is None
    assert "zorb (loaded, which proves nothing yet)" in found.explanation


def test_who_frees_an_object_did_not_overrun_it() -> None:
    found = story(
        "BUG kmalloc-64 (Tainted: G           OE     ): Right Redzone overwritten",
        "Allocated in zorb_make+0x3a/0x90 [zorb] age=1201 cpu=1 pid=881",
        "CPU: 1 PID: 881 Comm: zorbd Tainted: G           OE      6.6.1 #1",
        "Call Trace:",
        " <TASK>",
        " check_bytes_and_report+0xfb/0x140",
        " kfree+0x1b0/0x2a0",
        " zorb_close+0x41/0x80 [zorb]",
        " </TASK>",
    )
    assert "zorb_close() only gave the occasion" in found.explanation
    assert found.confidence is Confidence.POSSIBLE
    assert any("allocated in zorb_make()" in item.what for item in found.evidence)


def test_a_check_is_its_own_function_s_also_where_only_the_header_names_it() -> None:
    _, report, finding = first(log(
        "------------[ cut here ]------------",
        "proc_dir_entry 'zorb/17' already registered",
        "WARNING: CPU: 1 PID: 700 at fs/proc/generic.c:330 proc_register+0x2a4/0x370",
        "CPU: 1 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:proc_register+0x2a4/0x370",
        "Call Trace:",
        " proc_create_data+0xf8/0x180",
        " zorb_add+0xf9c/0x16d0 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    ))  # fmt: skip
    text = told(finding, report).explanation
    assert text.startswith("zorb_add() failed a check that proc_register() makes.")
