"""A panic's message, the words just before it, and how init ended."""

from __future__ import annotations

import pytest

from postmortem.judge.panics import said_before, told
from postmortem.judge.reports import finding_of
from postmortem.model.findings import Finding
from postmortem.model.result import System
from tests.judge.made import context, first, log

TRACE = ["CPU: 2 PID: 1 Comm: zinit Not tainted 6.9.0 #1", "Call Trace:", " panic+0x1/0x2",
         " zorb_stop+0x10c/0x1cc", " zorb_power_on+0x24/0x38"]  # fmt: skip


def story(data: bytes) -> Finding:
    _, report, finding = first(data)
    return told(finding, report, System(command_line="quiet root=/dev/zda1"))


def test_line_right_before_a_panic_is_evidence() -> None:
    found = story(
        log(
            "[   99.000000] zorb: up",
            "[   99.999950] zorb 3-1: no answer from domain 'accel'",
            "[  100.000000] Kernel panic - not syncing: zorb_panic set",
            *TRACE,
        )
    )
    said = [item.what for item in found.evidence]
    assert "said just before: zorb 3-1: no answer from domain 'accel'" in said
    assert not any("zorb: up" in what for what in said)
    assert 'It said: "zorb_panic set"' in found.explanation


def test_words_of_another_report_are_not_said_before() -> None:
    _, report, _ = first(log("Kernel panic - not syncing: zorb_panic set", *TRACE))
    assert said_before(report) == []


@pytest.mark.parametrize(
    ("code", "how", "step"),
    [
        ("0x00007f00", "left with status 127", "loader"),
        ("0x00000100", "left with status 1", "init's own messages"),
        ("0x0000000b", "killed by signal 11 (SIGSEGV)", "SIGSEGV"),
        ("0x00000007", "killed by signal 7 (SIGBUS)", "SIGBUS"),
        ("0x0000008b", "killed by signal 11 (SIGSEGV)", "SIGSEGV"),  # with a core dump
        ("0x00000040", "killed by signal 64 (see kill -l)", "what the exit code says"),
    ],
)
def test_how_init_ended(code: str, how: str, step: str) -> None:
    panic = f"Kernel panic - not syncing: Attempted to kill init! exitcode={code}"
    found = story(log("Run /sbin/zinit as init process", "[   95.0] x", panic, *TRACE))
    assert how in found.explanation
    assert step in found.next_steps[0]
    assert found.culprit.function is None


def test_what_the_loader_said_is_evidence() -> None:
    panic = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00"
    data = log("Run /sbin/zinit as init process") + b"zinit: no such library\n" + log(panic, *TRACE)
    assert any("zinit: no such library" in item.what for item in story(data).evidence)


def test_root_that_is_asked_for() -> None:
    panic = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
    assert "root=/dev/zda1" in story(log(panic, *TRACE)).explanation


def test_corrected_error_is_for_information() -> None:
    from postmortem.model.findings import Severity

    line = "EDAC MC1: 1 CE memory read error on CPU_SrcID#1_Chan#2_DIMM#0 (channel:2 slot:0 page:0)"
    found = story(log(line))
    assert found.severity is Severity.INFO
    assert "corrected it" in found.explanation
    assert "CPU_SrcID#1_Chan#2_DIMM#0 (channel 2 slot 0" in found.explanation
    broken = story(log(line.replace(" CE ", " UE ")))
    assert broken.severity is not Severity.INFO


def test_failure_of_a_device_right_before_a_panic_is_evidence_too() -> None:
    def said(time: str) -> bool:
        failed = f"[{time}] blk_update_request: I/O error, dev zda, sector 8 op 0x0:(READ)"
        panic = "[  100.000000] Kernel panic - not syncing: zorb_panic set"
        ctx = context(log(failed, panic, *TRACE))
        disk, report = ctx.reports
        found = told(finding_of(ctx, report), report, System(), disk)
        return any("I/O error, dev zda" in item.what for item in found.evidence)

    assert said("   99.999950")
    assert not said("   99.000000")


def test_what_an_nmi_interrupts_is_not_to_blame() -> None:
    found = story(
        log(
            "Uhhuh. NMI received for unknown reason 3d on CPU 2.",
            "Kernel panic - not syncing: NMI: Not continuing",
            *TRACE,
        )
    )
    assert (found.culprit.function, found.culprit.task) == (None, None)


@pytest.mark.parametrize(("frame", "who"), [
    (" write_sysrq_trigger+0x5a/0x70", " by task 700 (zsh)."), (" sysrq_key+0x5a/0x70", "."),
])  # fmt: skip
def test_a_key_is_pressed_above_any_task(frame: str, who: str) -> None:
    found = story(
        log(
            "sysrq: Trigger a crash",
            "Kernel panic - not syncing: sysrq triggered crash",
            "CPU: 2 PID: 700 Comm: zsh Not tainted 6.9.0 #1", "Call Trace:", " <TASK>",
            " panic+0x1/0x2", " sysrq_handle_crash+0x16/0x20", " __handle_sysrq+0xa7/0x190",
            frame, " </TASK>",
        )
    )  # fmt: skip
    assert found.explanation == f"The crash was requested with sysrq c{who}"
    assert (found.culprit.task is None) == (who == ".")
