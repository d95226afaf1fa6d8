"""What sanitizers and lockdep found, as `checkers` tells it."""

from __future__ import annotations

from postmortem.model.findings import Finding, Holds, Kind, Severity
from postmortem.plugin import discover, run_plugin
from tests.judge.made import context, log

LOCKDEP = (
    "======================================================",
    "WARNING: possible circular locking dependency detected",
    "6.9.0 #1 Not tainted",
    "------------------------------------------------------",
    "zorbd/70 is trying to acquire lock:",
    "ffff88800a1b2c30 (&zorb->inner){+.+.}-{3:3}, at: zorb_close+0x2b/0x90 [zorb]",
    "",
    "but task is already holding lock:",
    "ffff88800a1b2d48 (&zorb->outer){+.+.}-{3:3}, at: zorb_sync+0x17/0x60 [zorb]",
    "",
    "which lock already depends on the new lock.",
    "",
    "the existing dependency chain (in reverse order) is:",
    "",
    "-> #1 (&zorb->outer){+.+.}-{3:3}:",
    "       lock_acquire+0xd1/0x2e0",
    "       __mutex_lock+0x97/0xd80",
    "       zorb_open+0x44/0x110 [zorb]",
    "       do_dentry_open+0x1f2/0x590",
    "",
    "-> #0 (&zorb->inner){+.+.}-{3:3}:",
    "       check_prev_add+0x93/0xc60",
    "       __lock_acquire+0x144d/0x1f20",
    "       lock_acquire+0xd1/0x2e0",
    "       __mutex_lock+0x97/0xd80",
    "       zorb_close+0x2b/0x90 [zorb]",
    "",
    "stack backtrace:",
    "CPU: 2 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x7a/0xb0",
    " check_noncircular+0x132/0x150",
    " __lock_acquire+0x144d/0x1f20",
    " lock_acquire+0xd1/0x2e0",
    " __mutex_lock+0x97/0xd80",
    " zorb_close+0x2b/0x90 [zorb]",
    " </TASK>",
)
KASAN = (
    "==================================================================",
    "BUG: KASAN: slab-use-after-free in zorb_peek+0x2f/0x80 [zorb]",
    "Read of size 8 at addr ffff88800c7e4018 by task zorbd/70",
    "CPU: 2 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x7a/0xb0",
    " print_report+0xd0/0x620",
    " kasan_report+0xb4/0xf0",
    " zorb_peek+0x2f/0x80 [zorb]",
    " zorb_read+0x2b/0x70 [zorb]",
    " </TASK>",
    "==================================================================",
)


def told(*lines: str) -> list[Finding]:
    (item,) = (item for item in discover()[0] if item.name == "checkers")
    return run_plugin(item, context(log(*lines)))  # type: ignore[return-value]


def test_locks_of_a_circle_are_listed_until_it_closes() -> None:
    (finding,) = told(*LOCKDEP)
    (block,) = finding.blocks
    assert (finding.kind, finding.severity) == (Kind.LOCKDEP, Severity.WARNING)
    assert block.holds is Holds.WAITS
    assert block.lines == (
        "&zorb->outer, taken in zorb_open",
        "&zorb->inner, taken in zorb_close",
        "&zorb->outer: the circle is closed",
    )


def test_invalid_access_has_its_culprit_and_no_circle() -> None:
    (finding,) = told(*KASAN)
    assert finding.kind is Kind.KASAN
    assert (finding.culprit.function, finding.culprit.module) == ("zorb_peek", "zorb")
    assert finding.severity is Severity.ERROR
    assert finding.blocks == ()


def test_two_reports_are_two_findings_in_their_order() -> None:
    findings = told(*LOCKDEP, *KASAN)
    assert [finding.log_line for finding in findings] == [2, len(LOCKDEP) + 2]


def test_other_reports_are_left_to_other_plugins() -> None:
    assert told("Kernel panic - not syncing: zorb") == []
