"""Each report is told by the plugin of its family, once, and by no other."""

from __future__ import annotations

import pytest

from postmortem.model.findings import Finding, Kind, Severity
from postmortem.plugin import discover, run_plugin
from tests.judge.made import context, log, oops

PLUGINS = {item.name: item for item in discover()[0]}

OOM = (
    "zorbd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "CPU: 1 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
    "Call Trace:",
    " dump_header+0x54/0x1fc",
    " out_of_memory+0x218/0x34c",
    "Mem-Info:",
    "Out of memory: Killed process 44 (hog) total-vm:9000kB, anon-rss:20480kB, file-rss:0kB",
)
PANIC = (
    "Kernel panic - not syncing: zorb: the backend is gone",
    "CPU: 1 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
    "Call Trace:",
    " dump_stack_lvl+0x44/0x60",
    " panic+0x118/0x2f0",
    " zorb_give_up+0x14/0x20 [zorb]",
)
WARN = (
    "------------[ cut here ]------------",
    "WARNING: CPU: 1 PID: 70 at drivers/zorb/main.c:37 zorb_check+0x2b/0x40 [zorb]",
    "CPU: 1 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
    "RIP: 0010:zorb_check+0x2b/0x40 [zorb]",
    "Call Trace:",
    " zorb_read+0x2b/0x70 [zorb]",
    "---[ end trace 0000000000000000 ]---",
)
HUNG = (
    "INFO: task zorbd:70 blocked for more than 120 seconds.",
    "      Not tainted 6.9.0 #1",
    "task:zorbd           state:D stack:0     pid:70    ppid:2      flags:0x00004000",
    "Call Trace:",
    " __schedule+0x3bf/0xb40",
    " schedule+0x27/0xd0",
    " zorb_wait+0x2b/0x70 [zorb]",
)
LOCKUP = (
    "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [zorbd:70]",
    "CPU: 1 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
    "RIP: 0010:zorb_spin+0x7/0x10 [zorb]",
    "Call Trace:",
    " zorb_read+0x2b/0x70 [zorb]",
)
CASES = {
    "oops": (tuple(oops()), Kind.NULL_DEREFERENCE, Severity.ERROR, "zorb_peek"),
    "oops WARN": (WARN, Kind.WARNING, Severity.WARNING, "zorb_check"),
    "panic": (PANIC, Kind.PANIC, Severity.FATAL, "zorb_give_up"),
    "oom": (OOM, Kind.OOM, Severity.ERROR, None),
    "hung": (HUNG, Kind.HUNG_TASK, Severity.ERROR, "zorb_wait"),
    "lockups": (LOCKUP, Kind.SOFT_LOCKUP, Severity.ERROR, "zorb_spin"),
}


def findings(name: str, lines: tuple[str, ...]) -> list[Finding]:
    found = run_plugin(PLUGINS[name], context(log(*lines)))
    return [item for item in found if isinstance(item, Finding)]


@pytest.mark.parametrize("case", CASES)
def test_plugin_tells_its_own(case: str) -> None:
    lines, kind, severity, function = CASES[case]
    (finding,) = findings(case.split()[0], lines)
    assert (finding.kind, finding.severity) == (kind, severity)
    assert finding.culprit.function == function
    assert finding.next_steps
    assert finding.evidence[0].where.startswith("log line ")


@pytest.mark.parametrize("case", CASES)
def test_no_other_plugin_tells_it_too(case: str) -> None:
    lines = CASES[case][0]
    teller = case.split()[0]
    others = [name for name, item in PLUGINS.items() if "log" in item.needs and name != teller]
    assert "checkers" in others
    assert {name: findings(name, lines) for name in others if findings(name, lines)} == {}


def test_poison_in_a_register_of_an_oops_is_explained() -> None:
    lines = [*oops()]
    lines.insert(-2, "RAX: 6b6b6b6b6b6b6b6b RBX: 0000000000000001 RCX: 0000000000000007")
    (finding,) = findings("oops", tuple(lines))
    said = [item.what for item in finding.evidence if "6b6b6b6b6b6b6b6b" in item.what]
    assert len(said) == 1 and "free" in said[0]


def test_jump_into_nothing_says_where_it_went() -> None:
    lines = (
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "#PF: supervisor instruction fetch in kernel mode",
        "Oops: 0010 [#1] PREEMPT SMP NOPTI",
        "CPU: 5 PID: 70 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:0x0",
        "Code: Unable to access opcode bytes at 0xffffffffffffffd6.",
        "Call Trace:",
        " zorb_dispatch+0x2b/0x70 [zorb]",
        "CR2: 0000000000000000",
        "---[ end trace 0000000000000000 ]---",
    )
    (finding,) = findings("oops", lines)
    assert "It jumped to 0x0" in finding.explanation
    assert finding.culprit.function == "zorb_dispatch"
