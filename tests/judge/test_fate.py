"""What became of the machine is said only where a later line, or the log's end, proves it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

import postmortem
from postmortem.judge.fate import Fate, Outcome, outcome
from postmortem.judge.reports import severity_of
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Severity, Verdict
from tests.judge.made import context, first, log, oops


def fate(*lines: str) -> Outcome:
    ctx, report, _ = first(log(*lines))
    return outcome(ctx, report)


def test_a_later_line_proves_that_the_machine_went_on() -> None:
    found = fate(*oops(), "[  160.000000] zorb: still there")
    assert found.fate is Fate.WENT_ON
    assert "killed task 700 and the machine went on: it still spoke 60 s later" in found.sentence


def test_a_log_that_ends_with_the_oops_tells_nothing() -> None:
    assert fate(*oops()) == Outcome(Fate.UNKNOWN)
    assert fate(*oops(), "[  101.000000] zorb: a line of the same breath").fate is Fate.UNKNOWN


def test_crash_kernel_takes_over_before_the_last_line() -> None:
    found = fate(*oops(kdump="Kdump: loaded ", end=False))
    assert found.fate is Fate.CRASH_KERNEL
    ctx, report, _ = first(log(*oops(kdump="Kdump: loaded ", end=False)))
    assert severity_of(ctx, report) is Severity.FATAL


def test_with_its_last_line_or_without_a_crash_kernel_it_did_not() -> None:
    assert fate(*oops(kdump="Kdump: loaded ")).fate is Fate.UNKNOWN
    assert fate(*oops(end=False)).fate is Fate.UNKNOWN


def test_report_that_is_cut_says_nothing_of_the_machine() -> None:
    assert fate(*oops(kdump="Kdump: loaded ", end=False)[:8]).fate is Fate.UNKNOWN


def test_idle_task_init_and_interrupts_can_not_go_on() -> None:
    assert "the idle task" in fate(*oops(pid=0)).sentence
    assert "init" in fate(*oops(pid=1)).sentence
    assert "an interrupt" in fate(*oops(irq=True)).sentence


def test_a_panic_tells_it_itself() -> None:
    panic = "Kernel panic - not syncing: Fatal exception in interrupt"
    assert "hard panic" in fate(*oops(irq=True), panic).sentence
    assert fate(*oops(), "Kernel panic - not syncing: Fatal exception") == Outcome(Fate.PANICKED)


def test_nobody_dies_of_a_warning() -> None:
    lines = [
        "------------[ cut here ]------------",
        "WARNING: CPU: 1 PID: 700 at drivers/zorb.c:12 zorb_check+0x2b/0x40 [zorb]",
        "CPU: 1 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:zorb_check+0x2b/0x40 [zorb]",
        "Call Trace:",
        " zorb_read+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
        "[  160.000000] zorb: still there",
    ]
    assert fate(*lines) == Outcome(Fate.UNKNOWN)


def test_line_of_a_later_boot_proves_nothing_of_an_earlier_one() -> None:
    boot = "[    0.000000] Linux version 6.9.0 (x@y) #1 SMP"
    data = log(boot, *oops(), boot, "[  900.000000] zorb: up")
    ctx = context(data)
    assert outcome(ctx, ctx.reports[0]).fate is Fate.UNKNOWN


def test_a_crash_kernel_that_could_not_save_is_told() -> None:
    crash = [
        "[    0.000000] Linux version 6.9.0 (x@y) #1 SMP",
        "[    0.000000] Command line: root=/dev/zorb elfcorehdr=0x3b000000",
        "[    5.000000] zorb.sh[9]: makedumpfile Failed.",
    ]
    found = fate(*oops(kdump="Kdump: loaded ", end=False), *crash)
    assert found.fate is Fate.CRASH_KERNEL
    assert "crash kernel: its boot begins at log line" in found.sentence
    assert "it could not save the dump (log line 15: " in found.sentence


BANNER = "[    0.000000] Linux version 6.9.0 (x@y) #1 SMP"
NEXT = [BANNER, "[    0.000001] Command line: root=/dev/zorb"]


def of_file(*lines: str) -> Outcome:
    """As the way in reads it: the boots' own ends are known."""
    scan = scan_bytes(log(*lines))
    ctx = context(log(*lines))
    ctx.case._head = scan.head
    return outcome(ctx, ctx.reports[0])


def test_a_later_line_of_the_same_boot_proves_it_also_where_another_boot_follows() -> None:
    later = "[  161.000000] zorb: still there"
    for before in ([BANNER], []):
        found = of_file(*before, *oops(), later, *NEXT)
        assert found.fate is Fate.WENT_ON
        assert "it still spoke" in found.sentence


@pytest.mark.parametrize("words", ["Restarting system", "Power down", "System halted"])
def test_reboot_2_is_no_crash(words: str) -> None:
    found = of_file(BANNER, *oops(), f"[  170.000000] reboot: {words}", *NEXT)
    assert found.fate is Fate.WENT_ON
    assert f"reboot: {words}" in found.sentence and "reboot(2)" in found.sentence


def test_the_next_boots_lines_prove_nothing() -> None:
    assert of_file(BANNER, *oops(), *NEXT, "[  400.000000] zorb: up").fate is Fate.UNKNOWN


def test_the_crash_kernels_own_restart_is_not_the_machines() -> None:
    crash = [BANNER, "[    0.000001] Command line: elfcorehdr=0x3b000000",
             "[    9.000000] zorb.sh[9]: kdump: saving vmcore complete",
             "[   10.000000] reboot: Restarting system"]  # fmt: skip
    found = of_file(BANNER, *oops(), *crash, *NEXT)
    assert found.fate is Fate.CRASH_KERNEL and "it saved the dump" in found.sentence


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("zorb.sh[9]: kdump: saving vmcore complete", "and it saved the dump (log line"),
        ("zorb-tools[9]: makedumpfile Failed.", "and it could not save the dump (log line"),
        ("zorb: nothing of it", "what became of the dump, the log does not say"),
    ],
)
def test_what_became_of_the_dump_is_told_after_a_lockup_too(said: str, told: str) -> None:
    lines = log(
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3",
        "CPU: 3 PID: 70 Comm: zorbd Kdump: loaded Not tainted 5.14.0 #1",
        "RIP: 0010:zorb_spin+0x8c/0x310 [zorb]",
        "Call Trace:",
        " zorb_irq+0x54/0xa0 [zorb]",
        "Kernel panic - not syncing: Hard LOCKUP",
        BANNER,
        "[    0.000001] Command line: elfcorehdr=0x3b000000 nr_cpus=1",
        f"[    9.000000] {said}",
        *NEXT,
    )
    summary = verdict_of_file(lines).summary
    assert "Then the crash kernel took over" in summary and told in summary


def test_without_a_crash_kernel_nothing_is_said_of_one() -> None:
    assert "crash kernel" not in verdict_of_file(log(BANNER, *oops(), *NEXT)).summary


def verdict_of_file(data: bytes) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "console.log"
        path.write_bytes(data)
        return postmortem.open(path).analyze().verdict
