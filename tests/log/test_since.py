"""When a trouble began, by what watchdogs say."""

from __future__ import annotations

import pytest

from postmortem.log.since import began, corrected, hertz, idles, stalled_cpus, stuck_seconds
from postmortem.model.findings import Kind
from postmortem.model.report import Report


def report(kind: Kind, *text: str, **detail: str) -> Report:
    return Report(kind, "x", 1, 9, text, time=200.0, detail=detail)


def test_soft_lockups_and_hung_tasks_say_seconds() -> None:
    assert stuck_seconds(report(Kind.SOFT_LOCKUP, stuck="26")) == 26
    assert began(report(Kind.HUNG_TASK, seconds="120")) == 80


@pytest.mark.parametrize(
    ("jiffies", "rate"), [(5252, 250), (21002, 1000), (2100, 100), (6302, 300), (15000, 250)]
)
def test_rate_of_jiffies_is_told_by_the_timeout(jiffies: int, rate: int) -> None:
    assert hertz(jiffies) == rate


def test_unknown_rate_gives_a_lower_bound() -> None:
    stall = report(Kind.RCU_STALL, "(detected by 2, t=618000 jiffies, g=890229, q=72)")
    assert stuck_seconds(stall) == 618


def test_starved_thread_says_jiffies_too() -> None:
    stall = report(Kind.RCU_STALL, "rcu_sched kthread starved for 5252 jiffies! g2425")
    assert stuck_seconds(stall) == pytest.approx(21.0, abs=0.1)


def test_pool_says_seconds() -> None:
    text = "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 43s!"
    assert stuck_seconds(report(Kind.WORKQUEUE_STALL, text)) == 43


def test_cpus_that_rcu_waits_for() -> None:
    stall = report(
        Kind.RCU_STALL, "rcu: 	9-...!: (0 ticks this GP) idle=850", "	3-....: (9 ticks"
    )
    assert stalled_cpus(stall) == [9, 3]
    assert not idles(stall)
    idle = "NMI backtrace for cpu 9 skipped: idling at native_safe_halt+0xe/0x10"
    assert idles(report(Kind.RCU_STALL, idle))


def test_corrected_errors() -> None:
    assert corrected(report(Kind.MACHINE_CHECK, severity="CE"))
    assert not corrected(report(Kind.MACHINE_CHECK, severity="UE"))
