"""Two register sets with one lock in them."""

from __future__ import annotations

from pathlib import Path

from postmortem.judge.register_sets import holder_of
from postmortem.log.scan import scan_bytes
from postmortem.model.report import Report

LOG = (Path(__file__).parent / "field" / "spin-holder.log").read_text()
LOCK = "ffff9a12041ab080"


def stall(text: str) -> Report:
    (report,) = scan_bytes(text.encode()).reports
    return report


def test_who_has_the_lock_in_a_register_and_does_not_spin_holds_it() -> None:
    report = stall(LOG)
    found = holder_of(report, [report])
    assert found is not None
    assert (found.cpu, found.register, found.lock) == (2, "rbp", int(LOCK, 16))
    assert found.frame.function == "ermine_poll_status"


def test_another_lock_ties_nobody() -> None:
    report = stall(LOG.replace(f"RBP: {LOCK}", "RBP: ffff9a12041ab0c0"))
    assert holder_of(report, [report]) is None


def test_who_spins_too_holds_nothing() -> None:
    spins = LOG.replace("ermine_poll_status+0x1a/0x50 [ermine]", "queued_spin_lock_slowpath+0x1/9")
    spins = spins.replace("0x1/9", "0x1/0x90")
    report = stall(spins.replace("native_queued_spin_lock_slowpath", "queued_spin_lock_slowpath"))
    assert holder_of(report, [report]) is None


def test_a_lock_that_is_no_address_ties_nobody() -> None:
    report = stall(LOG.replace(LOCK, "0000000000000001"))
    assert holder_of(report, [report]) is None


def test_the_holder_may_stand_in_another_report_of_the_boot() -> None:
    waiter = stall(LOG.replace(f"RBP: {LOCK}", "RBP: ffff9a12041ab0c0"))
    other = stall(
        "[ 7010.000000] watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [vixend:12]\n"
        "[ 7010.000001] CPU: 3 PID: 12 Comm: vixend Not tainted 6.6.0-acme #1\n"
        "[ 7010.000002] RIP: 0010:vixen_poll+0x1a/0x50 [vixen]\n"
        f"[ 7010.000003] RAX: 0000000000000001 RBX: {LOCK} RCX: 0000000000000000\n"
        "[ 7010.000004] Call Trace:\n[ 7010.000005]  vixen_ioctl+0x44/0x80 [vixen]\n"
    )
    found = holder_of(waiter, [waiter, other])
    assert found is not None and (found.cpu, found.frame.function) == (3, "vixen_poll")
