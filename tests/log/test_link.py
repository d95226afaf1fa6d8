"""Cause and consequence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.log.link import link
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
