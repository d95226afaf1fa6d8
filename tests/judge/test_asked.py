"""Why a crash was asked for: what is ranked first, and what is said where nothing was wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.judge import asked
from postmortem.judge.asked import Measure
from postmortem.judge.verdict import diagnose
from postmortem.model.findings import Confidence, Finding, Kind, Severity, Verdict
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
