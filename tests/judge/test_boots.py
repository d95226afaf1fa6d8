"""Several boots in one log: the last that failed is the verdict, the others are listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.log.boots import Boot
from postmortem.model.findings import Confidence, Kind, Verdict

BANNER = "[    0.000000] Linux version 6.6.1 (acme@acme) #1 SMP\n"


def oops(function: str, at: int = 10) -> str:
    return (
        f"[{at:5d}.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
        f"[{at:5d}.000001] Oops: 0000 [#1] PREEMPT SMP\n"
        f"[{at:5d}.000002] CPU: 1 PID: 77 Comm: acmed Not tainted 6.6.1 #1\n"
        f"[{at:5d}.000003] RIP: 0010:{function}+0x12/0x80 [acme]\n"
        f"[{at:5d}.000004] Call Trace:\n"
        f"[{at:5d}.000005]  acme_ioctl+0x33/0x70 [acme]\n"
        f"[{at:5d}.000006] ---[ end trace 0000000000000000 ]---\n"
    )


def warning(function: str) -> str:
    return (
        "[    9.000000] ------------[ cut here ]------------\n"
        f"[    9.000001] WARNING: CPU: 1 PID: 77 at drivers/acme/core.c:7"
        f" {function}+0x2/0x8 [acme]\n"
        "[    9.000002] CPU: 1 PID: 77 Comm: acmed Not tainted 6.6.1 #1\n"
        f"[    9.000003] RIP: 0010:{function}+0x2/0x8 [acme]\n"
        "[    9.000004] Call Trace:\n"
        "[    9.000005]  acme_ioctl+0x33/0x70 [acme]\n"
        "[    9.000006] ---[ end trace 0000000000000000 ]---\n"
    )


def verdict(tmp_path: Path, text: str) -> Verdict:
    import postmortem

    path = tmp_path / "console.log"
    path.write_text(text)
    return postmortem.open(path).analyze().verdict


def test_the_last_boot_that_failed_is_shown_and_earlier_ones_listed(tmp_path: Path) -> None:
    found = verdict(tmp_path, BANNER + oops("acme_old") + BANNER + oops("acme_new") + BANNER)
    assert found.culprit.function == "acme_new"
    assert "Other boots in this log failed too" in found.summary and "acme_old" in found.summary


def test_a_warning_of_the_last_boot_does_not_hide_the_failure_before_it(tmp_path: Path) -> None:
    disk = "[   30.000000] Buffer I/O error on dev sdq2, logical block 0, async page read\n"
    found = verdict(tmp_path, BANNER + oops("acme_old") + BANNER + disk)
    assert found.culprit.function == "acme_old"


def test_of_boots_without_a_failure_the_last_is_shown(tmp_path: Path) -> None:
    once = "[   30.000000] mce: [Hardware Error]: Machine check events logged\n"
    found = verdict(tmp_path, BANNER + warning("acme_old") + BANNER + warning("acme_new") + once)
    assert found.culprit.function == "acme_new"


def test_what_a_crash_kernel_meets_is_not_the_verdict(tmp_path: Path) -> None:
    crash = BANNER + "[    0.000000] Command line: elfcorehdr=0x3b000000\n"
    found = verdict(tmp_path, BANNER + oops("acme_read") + crash + oops("acme_probe", 3))
    assert found.culprit.function == "acme_read" and "acme_probe" not in found.summary


@pytest.mark.parametrize("line", ["EDAC MC0: 2 CE memory read error on DIMM_A1 (channel:1 slot:0)"])
def test_one_boot_says_nothing_of_others(tmp_path: Path, line: str) -> None:
    found = verdict(tmp_path, BANNER + f"[    9.000000] {line}\n")
    assert found.kind in (Kind.MACHINE_CHECK, Kind.NONE) and "Other boots" not in found.summary
    assert Boot(1).kdump is False


def test_system_is_that_of_the_boot_that_is_shown(tmp_path: Path) -> None:
    import postmortem

    path = tmp_path / "console.log"
    old = oops("acme_old") + "[   10.000007] Modules linked in: acme(OE) acme_bus\n"
    newer = BANNER.replace("6.6.1", "6.7.2")
    disk = "[   30.000000] Buffer I/O error on dev sdq2, logical block 0, async page read\n"
    path.write_text(BANNER + old + newer + disk)
    case = postmortem.open(path)
    shown = case.analyze().system
    assert shown.release == "6.6.1"
    assert case.system.release == "6.7.2" and case.system.modules == ()


def test_a_boot_without_banner_does_not_join_the_one_before(tmp_path: Path) -> None:
    found = verdict(tmp_path, oops("acme_old", 9000) + oops("acme_new", 12))
    assert found.culprit.function == "acme_new"
    assert "Other boots in this log failed too" in found.summary and "acme_old" in found.summary


SLEEP = "[   90.000000] PM: suspend entry (s2idle)\n"


def test_a_boot_that_ends_in_a_sleep_is_told_and_not_called_a_failure(tmp_path: Path) -> None:
    found = verdict(tmp_path, BANNER + SLEEP + BANNER)
    assert found.title == "PM: no return from suspend (s2idle)"
    assert found.confidence is Confidence.POSSIBLE
    assert "another boot (log line 3)" in found.summary
    assert "switched off asleep, the log does not say" in found.summary


def test_an_oops_is_the_verdict_and_the_sleep_an_earlier_boot(tmp_path: Path) -> None:
    found = verdict(tmp_path, BANNER + SLEEP + BANNER + oops("acme_new"))
    assert found.culprit.function == "acme_new"
    assert "have reports: PM: no return from suspend (s2idle) (log line 2)" in found.summary
    assert "failed too" not in found.summary


def test_what_harmed_nothing_does_not_hide_a_warning_of_an_earlier_boot(tmp_path: Path) -> None:
    hot = "[   30.000000] mce: CPU3: Core temperature is above threshold, cpu clock is throttled\n"
    found = verdict(tmp_path, BANNER + warning("acme_old") + BANNER + hot)
    assert found.culprit.function == "acme_old"
