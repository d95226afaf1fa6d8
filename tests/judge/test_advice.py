"""The next step names what the failure names: by logs of machines that never were."""

from __future__ import annotations

import pytest

from postmortem.judge.advice import advised
from postmortem.model.findings import Kind
from postmortem.rules.kinds import RULES, next_steps
from tests.judge.made import context, first, log, oops

BUG = [
    "------------[ cut here ]------------",
    "kernel BUG at drivers/zorb/core.c:71!",
    "invalid opcode: 0000 [#1] SMP",
    "CPU: 1 PID: 7 Comm: zorbd Not tainted 6.9.0 #1",
    "RIP: 0010:zorb_settle+0x10/0x40 [zorb]",
    "Call Trace:",
    " zorb_close+0x2b/0x70 [zorb]",
    " do_syscall_64+0x5b/0x80",
    "---[ end trace 0000000000000000 ]---",
]
SLUB = [
    "=============================================================================",
    "BUG zorb_cell (Not tainted): Poison overwritten",
    "-----------------------------------------------------------------------------",
    "Allocated in zorb_cell_new+0x21/0xd0 [zorb] age=10 cpu=1 pid=17",
    "Freed in zorb_cell_drop+0x31/0x60 [zorb] age=5 cpu=1 pid=18",
    "CPU: 1 PID: 19 Comm: zorbd Not tainted 6.9.0 #1",
    "Call Trace:",
    " dump_stack_lvl+0x44/0x5c",
    " check_bytes_and_report.cold+0x6a/0x9c",
    " check_object+0x1d4/0x280",
    " zorb_cell_new+0x21/0xd0 [zorb]",
    " zorb_fill+0x2b/0x70 [zorb]",
    "FIX zorb_cell: Restoring Poison 0xffff888100000000-0xffff888100000008=0x6b",
]
FREED = [
    "BUG: KASAN: slab-use-after-free in zorb_peek+0x5a/0x90 [zorb]",
    "Read of size 8 at addr ffff88810a5c3a18 by task zorbd/201",
    "CPU: 0 PID: 201 Comm: zorbd Not tainted 6.8.0 #1",
    "Call Trace:",
    " <TASK>",
    " kasan_report+0xd8/0x110",
    " zorb_peek+0x5a/0x90 [zorb]",
    " zorb_read+0x11c/0x230 [zorb]",
    " </TASK>",
    "",
    "Freed by task 202:",
    " kasan_save_stack+0x33/0x60",
    " kfree+0x11c/0x330",
    " zorb_drop+0x2b/0x70 [zorb]",
    "",
    "==================================================================",
]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (oops(), ["zorb_read(), which called zorb_peek()"]),
        (BUG, ["drivers/zorb/core.c:71", "zorb_settle()", "zorb_close() called it"]),
        (FREED, ["zorb_drop(), which freed the object", "zorb_peek()"]),
        (SLUB, ["zorb_cell_drop()"]),
    ],
)
def test_the_step_names_who_and_what(lines: list[str], names: list[str]) -> None:
    ctx, _report, finding = first(log(*lines))
    step = advised(finding, ctx)[0]
    assert all(name in step for name in names), step


def test_entry_code_is_no_caller() -> None:
    lines = [line for line in BUG if "zorb_close" not in line]
    ctx, _report, finding = first(log(*lines))
    assert "called it" not in advised(finding, ctx)[0]


def test_a_log_goes_on_with_the_line_of_the_fault() -> None:
    ctx, _report, finding = first(log(*oops()))
    assert "scripts/faddr2line zorb.ko zorb_peek+0x17/0x40" in advised(finding, ctx)[-1]


def test_a_step_of_a_judge_is_kept() -> None:
    from dataclasses import replace

    ctx, _report, finding = first(log(*oops()))
    own = ("Read zorb_peek() once more.", "And again.")
    assert advised(replace(finding, next_steps=own), ctx)[:2] == own


def test_a_step_that_names_nothing_is_told_where_to_start() -> None:
    from dataclasses import replace

    ctx, _report, finding = first(log(*oops()))
    step = advised(replace(finding, next_steps=("Look around.",)), ctx)[0]
    assert step == "Look around. Start at zorb_peek(); zorb_read() called it."


@pytest.mark.parametrize("kind", [rule.kind for rule in RULES], ids=str)
def test_no_kind_is_without_a_step_whatever_is_known(kind: Kind) -> None:
    from dataclasses import replace

    ctx, _report, finding = first(log(*oops()))
    bare = replace(finding, kind=kind, next_steps=next_steps(kind))
    for changed in (
        bare,
        replace(bare, culprit=type(bare.culprit)()),
        replace(bare, log_line=None),
    ):
        step = advised(changed, ctx)[0]
        assert step.strip() == step and step[0].isupper() and step[-1] in ".?"
        assert "()()" not in step and "None" not in step and " ()" not in step


def test_the_largest_task_is_named_when_memory_ran_out() -> None:
    ctx = context(
        log(
            "zorbd invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0",
            "CPU: 0 PID: 9 Comm: zorbd Not tainted 6.9.0 #1",
            "Call Trace:",
            " oom_kill_process+0xfa/0x200",
            "Mem-Info:",
            "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
            "[      9]     0     9     5000     2560    40000        0             0 zorbd",
            "[     10]     0    10     9000     7680    90000        0             0 quern",
            "Out of memory: Killed process 10 (quern) total-vm:36000kB, anon-rss:30720kB",
        )
    )
    from postmortem.judge.reports import finding_of

    step = advised(finding_of(ctx, ctx.reports[0]), ctx)[0]
    assert "quern (10), the largest task with 30 MiB" in step


def test_an_order_is_told_in_memory() -> None:
    ctx, _report, finding = first(
        log(
            "zorbd: page allocation failure: order:5, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
            "CPU: 0 PID: 9 Comm: zorbd Not tainted 6.9.0 #1",
            "Call Trace:",
            " warn_alloc+0x12c/0x1b0",
            " __alloc_pages_slowpath.constprop.0+0xb5f/0xc90",
            " zorb_map+0x2b/0x70 [zorb]",
            " zorb_open+0x2b/0x70 [zorb]",
        )
    )
    assert "zorb_map() needs order 5 (128 KiB in one piece of memory)" in advised(finding, ctx)[0]
