"""CPUs that wait for an answer, and the one that does not give it."""

from __future__ import annotations

from postmortem.model.findings import Confidence
from tests.judge.test_victims import verdict_of


def text(*lines: str) -> str:
    return "\n".join(lines)


CSD = (
    "smp: csd: Detected non-responsive CSD lock (#1) on CPU#2, waiting 24000000123 ns for CPU#06"
    " do_sync_core+0x0/0x30(0x0)."
)
WAITER = [
    "watchdog: BUG: soft lockup - CPU#2 stuck for 23s! [heron:811]",
    "CPU: 2 PID: 811 Comm: heron Not tainted 6.7.1 #1",
    "RIP: 0010:smp_call_function_many_cond+0x132/0x4f0",
    "RAX: 0000000000000011 RBX: ffff9e3d7f7b6a00 RCX: 0000000000000007",
    "Call Trace:",
    " <TASK>",
    " on_each_cpu_cond_mask+0x24/0x60",
    " text_poke_bp_batch+0x8a/0x160",
    " </TASK>",
]
LOOP = [
    "NMI backtrace for cpu 6",
    "CPU: 6 PID: 90 Comm: bittern Not tainted 6.7.1 #1",
    "RIP: 0010:stork_drain+0x7d/0x140 [stork]",
    "RSP: 0018:ffffb4d98ae87c90 EFLAGS: 00000002",
    "RAX: ffff9e2e11ac3f00 RBX: ffff9e2e0c31a000 RCX: ffff9e2e0c31a6c0",
    "Call Trace:",
    " <TASK>",
    " stork_ioctl+0x6f0/0x2b40 [stork]",
    " __x64_sys_ioctl+0x84/0xd0",
    " </TASK>",
]
SPINS = [
    "NMI backtrace for cpu 4",
    "CPU: 4 PID: 91 Comm: egretd Not tainted 6.7.1 #1",
    "RIP: 0010:native_queued_spin_lock_slowpath+0x2a5/0x2e0",
    "RSP: 0018:ffffb4d98ae3fcb8 EFLAGS: 00000046",
    "RDX: 0000000000000000 RSI: 0000000000000001 RDI: ffff9e2e0c31a6c0",
    "Call Trace:",
    " <TASK>",
    " _raw_spin_lock_irqsave+0x5c/0x80",
    " stork_poll+0x1f2/0x930 [stork]",
    " </TASK>",
]


def test_the_kernel_names_who_does_not_answer_and_a_later_stack_shows_it() -> None:
    verdict = verdict_of(text(CSD, *WAITER, *SPINS, *LOOP))
    task = verdict.culprit.task
    assert (verdict.culprit.function, verdict.culprit.module) == ("stork_drain", "stork")
    assert (verdict.culprit.cpu, task.pid if task else None) == (6, 90)
    assert verdict.confidence is Confidence.LIKELY
    said = " ".join(item.what for item in verdict.evidence)
    assert "CPU 6 has interrupts off (EFLAGS 0x2)" in said
    assert "CPU 4 spins for the lock at 0xffff9e2e0c31a6c0, which CPU 6 has in rcx" in said
    assert "soft lockup" in verdict.summary  # of the waiter, as a consequence


def test_without_that_line_the_cpu_that_neither_waits_nor_spins_is_asked() -> None:
    verdict = verdict_of(text(*WAITER, *SPINS, *LOOP))
    assert (verdict.culprit.function, verdict.culprit.cpu) == ("stork_drain", 6)


def test_two_cpus_that_work_are_both_possible_and_none_is_named() -> None:
    other = [line.replace("cpu 6", "cpu 1").replace("CPU: 6", "CPU: 1") for line in LOOP]
    other = [line.replace("stork_drain", "swift_fly").replace("[stork]", "[swift]")
             for line in other]  # fmt: skip
    verdict = verdict_of(text(*WAITER, *LOOP, *other))
    assert verdict.culprit.function is None
    assert "Which CPU does not answer, this report does not show" in verdict.summary


def test_only_cpus_that_spin_are_no_answer() -> None:
    assert verdict_of(text(*WAITER, *SPINS)).culprit.function is None


def test_a_silent_cpu_that_no_stack_shows_is_named_by_its_number() -> None:
    verdict = verdict_of(text(CSD))
    assert (verdict.culprit.function, verdict.culprit.cpu) == (None, 6)
    assert "What it does, the log does not show" in verdict.summary
    assert verdict.confidence is Confidence.POSSIBLE


def test_a_silent_cpu_that_idles_runs_nobodys_loop() -> None:
    idle = "NMI backtrace for cpu 6 skipped: idling at intel_idle+0x62/0xb0"
    verdict = verdict_of(text(CSD, *WAITER, idle))
    assert verdict.culprit.function is None
    assert "idled when it was asked" in verdict.summary


def test_arm64_masks_interrupts_in_pstate() -> None:
    loop = [
        "NMI backtrace for cpu 6",
        "CPU: 6 PID: 90 Comm: bittern Not tainted 6.7.1 #1",
        "pstate: 604000c9 (nZCv daIF +PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
        "pc : stork_drain+0x9c/0x160 [stork]",
        "lr : stork_ioctl+0x48/0x78 [stork]",
        "sp : ffff800083b1bc20",
        "x29: ffff800083b1bc20 x28: ffff0000c3f5b900 x27: 0000000000000000",
        "Call trace:",
        " stork_drain+0x9c/0x160 [stork]",
        " stork_ioctl+0x48/0x78 [stork]",
    ]
    verdict = verdict_of(text(CSD, *loop))
    assert verdict.culprit.function == "stork_drain"
    assert any("(pstate 0x604000c9)" in item.what for item in verdict.evidence)
