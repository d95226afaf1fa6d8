"""A log in which nothing failed: who complained, what is missing, how long it goes."""

from __future__ import annotations

from pathlib import Path

import postmortem
from postmortem.model.findings import Kind
from postmortem.model.result import Analysis


def opened(tmp_path: Path, log: str) -> Analysis:
    path = tmp_path / "console.log"
    path.write_text(log)
    return postmortem.open(path).analyze()


BANNER = "[    0.000000] Linux version 6.9.0 (acme@acme) #1 SMP\n"


def test_devices_that_complained_are_listed_and_are_no_failure(tmp_path: Path) -> None:
    log = BANNER + "[    3.000000] frob 0000:41:00.0: mailbox init failed: -5\n" * 2
    found = opened(tmp_path, log)
    title = "no report of a failure; this device complained: 0000:41:00.0"
    assert (found.verdict.kind, found.verdict.title) == (Kind.NONE, title)
    assert found.verdict.evidence[0].where == "log line 2, the first of 2"
    assert found.findings == ()


def test_devices_are_not_listed_beside_a_report(tmp_path: Path) -> None:
    log = BANNER + "[    3.000000] frob 0000:41:00.0: mailbox init failed: -5\n"
    log += "[    4.000000] Kernel panic - not syncing: acme\n"
    assert "complained" not in opened(tmp_path, log).verdict.title


def test_a_log_that_begins_in_the_middle_is_not_whole(tmp_path: Path) -> None:
    found = opened(tmp_path, "[ 3145.200000] acme: hello\n[ 3146.000000] acme: more\n")
    assert found.verdict.title == "no failure in the part of the log that is here"
    assert "begins 3145 s after" in found.verdict.summary
    assert not found.input.complete


def test_dropped_messages_may_have_told_of_a_failure(tmp_path: Path) -> None:
    log = BANNER + "[    7.000000] ** 14 printk messages dropped **\n[    8.000000] acme: x\n"
    found = opened(tmp_path, log)
    assert "at least 14 messages" in found.verdict.summary
    assert found.verdict.title != "no failure found"


def test_uptime_and_command_line_are_those_of_the_boot(tmp_path: Path) -> None:
    words = "[    0.000000] Command line: root=/dev/acme{} quiet\n"
    log = BANNER + words.format(1) + "[  500.000000] acme: bye\n"
    system = opened(tmp_path, log + BANNER + words.format(2) + "[   12.500000] acme: hi\n").system
    assert (system.uptime_seconds, system.command_line) == (12.5, "root=/dev/acme2 quiet")
    assert system.release == "6.9.0"


def test_who_waits_for_a_disk_s_answer_is_not_to_blame(tmp_path: Path) -> None:
    log = BANNER + "".join(
        f"[  400.000000] {line}\n"
        for line in (
            "INFO: task zorbd:700 blocked for more than 120 seconds.",
            "      Not tainted 6.9.0 #1",
            "task:zorbd           state:D stack:0     pid:700   ppid:2      flags:0x00004000",
            "Call Trace:",
            " <TASK>",
            " __schedule+0x2e2/0x880",
            " schedule+0x5e/0xd0",
            " io_schedule+0x46/0x80",
            " blk_mq_get_tag+0x11e/0x2b0",
            " __blk_mq_alloc_requests+0x18e/0x2e0",
            " submit_bio_noacct_nocheck+0x17a/0x330",
            " </TASK>",
        )
    )
    culprit = opened(tmp_path, log).verdict.culprit
    assert (culprit.function, culprit.task and culprit.task.pid) == (None, 700)
