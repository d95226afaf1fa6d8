"""What became of the machine is said only where a later line, or the log's end, proves it."""

from __future__ import annotations

from postmortem.judge.fate import Fate, Outcome, outcome
from postmortem.judge.reports import severity_of
from postmortem.model.findings import Severity
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
