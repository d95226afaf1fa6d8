"""Why a crash was asked for: what is ranked first, and what is said where nothing was wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.judge import asked
from postmortem.judge.asked import Measure
from postmortem.judge.verdict import diagnose
from postmortem.model.findings import Confidence, Evidence, Finding, Kind, Severity, Verdict
from postmortem.model.result import Input
from postmortem.plugin import Context
from tests.conftest import machine_named

REQUEST = Finding(
    "request", Kind.USER_REQUESTED, Severity.FATAL, Confidence.CERTAIN,
    "sysrq triggered crash", "The crash was requested with sysrq c.", log_line=80, time=90.0,
)  # fmt: skip


def wrong(name: str, kind: Kind, **more: object) -> Finding:
    """Something that only memory shows."""
    base = Finding(name, kind, Severity.ERROR, Confidence.LIKELY, f"{name} is wrong",
                   f"{name} it was.", time=50.0)  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def context(*measures: Measure, hangs: dict[str, tuple[int, bool]] | None = None) -> Context:
    ctx = Context.given(Input("x", "vmcore", "ELF", 1, True))
    ctx.memo[asked._MEASURES] = list(measures)
    ctx.memo[asked._HANGS] = hangs or {}
    return ctx


def verdict(ctx: Context, *findings: Finding) -> Verdict:
    return diagnose([REQUEST, *findings], ctx)[1]


LOAD = Measure("load", "load average 80.00, 9.00, 3.00 on 2 CPUs", "4 a CPU", True, "avenrun")
CALM = Measure("memory", "60 MiB of 90 MiB free", "less than 4% available", False, "vm_zone_stat")


def test_the_worst_is_the_verdict_and_the_rest_stands_behind_it() -> None:
    pool = wrong("pool", Kind.WORKQUEUE_STALL)
    disk = wrong("disk", Kind.IO_ERROR)
    found = verdict(context(LOAD, CALM), pool, disk)
    assert found.finding == "disk"
    assert found.summary.endswith(
        "Seen besides when the crash was asked for: pool is wrong;"
        " load average 80.00, 9.00, 3.00 on 2 CPUs."
    )


def test_most_tasks_behind_one_lock_go_before_all() -> None:
    crowd, disk = wrong("crowd", Kind.HUNG_TASK), wrong("disk", Kind.IO_ERROR)
    assert verdict(context(hangs={"crowd": (900, False)}), disk, crowd).finding == "crowd"
    assert verdict(context(hangs={"crowd": (9, False)}), disk, crowd).finding == "disk"


def test_who_hangs_while_freeing_memory_hangs_for_want_of_it() -> None:
    crowd, short = wrong("crowd", Kind.HUNG_TASK), wrong("memory-exhausted", Kind.OOM)
    ctx = context(hangs={"crowd": (900, True)})
    assert verdict(ctx, crowd, short).finding == "memory-exhausted"


MIB = 1 << 20


@pytest.mark.parametrize(("available", "over"), [(39, True), (40, False), (41, False)])
def test_memory_is_short_below_four_percent(available: int, over: bool) -> None:
    measure = asked.of_memory(1000 * MIB, available * MIB, 7 * MIB)
    assert measure.over is over
    assert measure.found == f"{available} MiB of 1000 MiB free or reclaimable (7 MiB free)"


@pytest.mark.parametrize(
    ("requests", "oldest", "said", "over"),
    [
        (0, 0.0, "0 requests in flight", False),
        (3, 4.9, "3 requests in flight, the oldest for 4.9 s", False),
        (3, 5.0, "3 requests in flight, the oldest for 5.0 s", True),
        (9, 60.0, "9 requests in flight, the oldest for 60.0 s", True),
    ],
)
def test_disk_does_not_move(requests: int, oldest: float, said: str, over: bool) -> None:
    measure = asked.of_disks(requests, oldest)
    assert (measure.found, measure.over) == (said, over)


@pytest.mark.parametrize(
    ("tasks", "longest", "said", "over"),
    [
        (0, 0.0, "0 runnable tasks waited for one of 2 CPUs", False),
        (1, 0.049, "1 runnable task waited for one of 2 CPUs", False),
        (1, 0.05, "1 runnable task waited for one of 2 CPUs, the longest for 0.1 s", False),
        (7, 2.0, "7 runnable tasks waited for one of 2 CPUs, the longest for 2.0 s", False),
        (8, 0.29, "8 runnable tasks waited for one of 2 CPUs, the longest for 0.3 s", False),
        (8, 0.3, "8 runnable tasks waited for one of 2 CPUs, the longest for 0.3 s", True),
        (90, 5.0, "90 runnable tasks waited for one of 2 CPUs, the longest for 5.0 s", True),
    ],
)
def test_run_queues_are_long(tasks: int, longest: float, said: str, over: bool) -> None:
    measure = asked.of_run_queues([longest, *[0.0] * 100][:tasks], 2)
    assert (measure.found, measure.over) == (said, over)


@pytest.mark.parametrize(
    ("load", "over"),
    [
        ((7.9, 7.9, 90.0), False),  # of a quarter of an hour: a habit
        ((8.0, 0.1, 0.1), True),
        ((0.1, 8.0, 0.1), True),
        ((500.0, 2.0, 1.0), True),
    ],
)
def test_load_is_high(load: tuple[float, float, float], over: bool) -> None:
    measure = asked.of_load(load, 2)
    assert measure.over is over
    assert measure.found.startswith(
        f"load average {load[0]:.2f}, {load[1]:.2f}, {load[2]:.2f} on 2"
    )


def test_ten_tasks_are_a_crowd() -> None:
    crowd, disk = wrong("crowd", Kind.HUNG_TASK), wrong("disk", Kind.IO_ERROR)
    assert verdict(context(hangs={"crowd": (10, False)}), disk, crowd).finding == "crowd"


def test_what_the_log_says_after_the_request_is_no_reason() -> None:
    late = wrong("late", Kind.HARD_LOCKUP, log_line=90, time=None)
    early = wrong("early", Kind.HUNG_TASK, log_line=70, time=None)
    ctx = context(hangs={"late": (1, False), "early": (1, False)})
    assert verdict(ctx, late, early).finding == "early"


def test_the_order_of_events_gives_way_to_the_state_of_the_machine() -> None:
    order = Evidence("it came last", "order of events")
    button = Evidence("the button was pressed", "log line 80")
    request = replace(REQUEST, evidence=(order, button))
    (found,) = [
        finding
        for finding in asked.linked([request, wrong("disk", Kind.IO_ERROR)], context())
        if finding.id == "request"
    ]
    assert [item.where for item in found.evidence] == ["log line 80", "state of the machine"]


def test_what_began_after_the_request_is_no_reason() -> None:
    late = wrong("late", Kind.HARD_LOCKUP, time=95.0)
    early = wrong("early", Kind.HUNG_TASK)
    assert verdict(context(), late, early).finding == "early"


def test_a_death_in_the_log_goes_before_what_hangs() -> None:
    oops = Finding("oops", Kind.NULL_DEREFERENCE, Severity.ERROR, Confidence.CERTAIN, "oops",
                   "An oops.", log_line=20, time=20.0)  # fmt: skip
    hang = wrong("hang", Kind.HUNG_TASK, caused_by=("oops",))
    assert verdict(context(), oops, hang).finding == "oops"


def test_what_is_of_no_kind_is_told_with_the_request() -> None:
    found = verdict(context(LOAD, CALM))
    assert found.finding == "request"
    assert found.summary.endswith("What stands out: load average 80.00, 9.00, 3.00 on 2 CPUs.")


def test_nothing_wrong_is_said_with_the_figures() -> None:
    said = verdict(context(CALM)).summary
    assert said.endswith("Nothing that was measured stands out: 60 MiB of 90 MiB free.")


def test_where_nothing_was_measured_nothing_is_said_of_it() -> None:
    assert verdict(context()).summary == REQUEST.explanation


@pytest.mark.parametrize("name", ["5.10-sysrq-crash"])
def test_a_healthy_machine_that_was_made_to_crash(name: str) -> None:
    found = machine_named(name).case.analyze().verdict
    assert found.kind is Kind.USER_REQUESTED
    assert "Nothing that was measured stands out" in found.summary
