"""Cause and consequence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.log.link import link
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Kind, TaskRef
from postmortem.model.report import Report


def report(kind: Kind, time: float, title: str = "", pid: int = 1) -> Report:
    return Report(
        kind, title or str(kind), int(time), int(time), (), time=time, task=TaskRef(pid, "t")
    )


def panic(time: float, message: str, kind: Kind = Kind.PANIC) -> Report:
    return replace(report(kind, time, f"kernel panic: {message}"), panic=message)


@pytest.mark.parametrize(("first", "second"), [
    (report(Kind.NULL_DEREFERENCE, 1), panic(2, "Fatal exception")),
    (report(Kind.WARNING, 1), panic(2, "panic_on_warn set")),
    (report(Kind.HUNG_TASK, 1), panic(2, "hung_task: blocked tasks")),
    (report(Kind.SOFT_LOCKUP, 1), panic(2, "softlockup: hung tasks")),
    (report(Kind.RCU_STALL, 1), panic(2, "RCU Stall")),
    (report(Kind.OOM, 1), panic(2, "System is deadlocked on memory")),
    (report(Kind.MACHINE_CHECK, 1), panic(2, "Fatal machine check")),
    (report(Kind.BUG, 1), report(Kind.RCU_STALL, 30, pid=9)),
    (report(Kind.BUG, 1), report(Kind.SOFT_LOCKUP, 30, pid=9)),
    (report(Kind.BUG, 1), report(Kind.NULL_DEREFERENCE, 2)),
])  # fmt: skip
def test_consequence(first: Report, second: Report) -> None:
    assert link([first, second])[1].consequence_of == 0


@pytest.mark.parametrize(("first", "second"), [
    (report(Kind.WARNING, 1), panic(2, "Fatal exception in interrupt")),
    (report(Kind.WARNING, 1), report(Kind.BUG, 2)),
    (report(Kind.BUG, 1), report(Kind.RCU_STALL, 1000)),
    (report(Kind.BUG, 1), report(Kind.NULL_DEREFERENCE, 2, pid=5)),
    (report(Kind.HUNG_TASK, 1), report(Kind.HUNG_TASK, 2, pid=5)),
])  # fmt: skip
def test_independent(first: Report, second: Report) -> None:
    assert link([first, second])[1].consequence_of is None


def test_a_chain_leads_to_its_first_link() -> None:
    chain = [
        report(Kind.BUG, 1),
        report(Kind.SOFT_LOCKUP, 20, pid=3),
        panic(21, "softlockup: hung tasks"),
    ]
    assert [r.consequence_of for r in link(chain)] == [None, 0, 0]


def test_hung_task_panic_leads_to_the_first_that_hung() -> None:
    chain = [
        report(Kind.HUNG_TASK, 1),
        report(Kind.HUNG_TASK, 2, pid=2),
        panic(3, "hung_task: blocked tasks"),
    ]
    assert link(chain)[2].consequence_of == 0


def _causes(*lines: str) -> list[tuple[str, int | None]]:
    reports = scan_bytes("".join(f"{line}\n" for line in lines).encode()).reports
    return [(one.form, one.consequence_of) for one in reports]


def test_disks_of_a_session_that_was_given_up_fail_because_of_it() -> None:
    assert _causes(
        "[  700.000001]  session3: session recovery timed out after 120 secs",
        "[  700.000100] sd 7:0:0:1: rejecting I/O to offline device",
        "[  700.000300] device-mapper: multipath: 253:4: Failing path 8:160.",
    )[:2] == [("iscsi-lost", None), ("scsi-rejecting", 0)]


def test_a_full_pool_is_why_writes_of_its_volumes_are_lost() -> None:
    full = "device-mapper: thin: 253:7: switching pool to out-of-data-space (error IO) mode"
    lost = "Buffer I/O error on dev {}, logical block 11013, lost async page write"
    first = f"[  700.000001] {full}"
    assert _causes(first, "[  700.100000] " + lost.format("dm-9"))[1] == ("lost-write", 0)
    assert _causes(first, "[  700.100000] " + lost.format("sdq"))[1] == ("lost-write", None)


def test_a_task_that_hangs_in_the_driver_of_a_lost_gpu() -> None:
    reports = _causes(
        "[  700.000001] NVRM: GPU 0000:c1:00.0: GPU has fallen off the bus.",
        "[  900.000001] INFO: task otter:88 blocked for more than 120 seconds.",
        "[  900.000002] Call Trace:",
        "[  900.000003]  __schedule+0x24e/0x590",
        "[  900.000004]  down+0x48/0x70",
        "[  900.000005]  nvidia_close+0x9f/0x2f0 [nvidia]",
        "[  900.000006]  __fput+0x9c/0x280",
    )
    assert reports[1][1] == 0
