"""The rules that make one verdict of many findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import postmortem
from postmortem.judge.verdict import diagnose
from postmortem.model.findings import (
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Problem,
    Severity,
    Strength,
)
from postmortem.model.result import Input, System
from postmortem.plugin import Context

CONTEXT = Context.given(Input("x", "log", "text", 1, True), System())


def finding(
    name: str, kind: Kind, severity: Severity, line: int, caused_by: tuple[str, ...] = ()
) -> Finding:
    return Finding(
        id=name,
        kind=kind,
        severity=severity,
        confidence=Confidence.CERTAIN,
        title=f"{kind} in {name}",
        explanation=f"{name} happened.",
        log_line=line,
        caused_by=caused_by,
    )


def test_what_followed_is_the_worst_and_not_the_last() -> None:
    oops = finding("oops", Kind.NULL_DEREFERENCE, Severity.FATAL, 10)
    panic = finding("panic", Kind.PANIC, Severity.FATAL, 60, ("hang",))
    hang = finding("hang", Kind.HUNG_TASK, Severity.ERROR, 50, ("oops",))
    late = finding("late", Kind.WARNING, Severity.WARNING, 90, ("oops",))
    verdict = diagnose([oops, panic, hang, late], CONTEXT)[1]
    said = "What followed from it: panic in panic; hung-task in hang; warning in late."
    assert verdict.summary.endswith(said)


def test_what_is_said_once_more_is_no_consequence() -> None:
    first = finding("loop", Kind.SOFT_LOCKUP, Severity.ERROR, 10)
    again = replace(first, id="again", log_line=40, caused_by=("loop",))
    assert diagnose([first, again], CONTEXT)[1].summary == "loop happened."
    other = replace(again, culprit=Culprit(cpu=2))
    said = "loop happened. What followed from it: soft-lockup in loop on CPU 2."
    assert diagnose([first, other], CONTEXT)[1].summary == said


def test_of_many_consequences_a_few_are_named() -> None:
    first = finding("first", Kind.DEVICE_ERROR, Severity.ERROR, 10)
    more = [
        finding(f"next{n}", Kind.IO_ERROR, Severity.WARNING, 20 + n, ("first",)) for n in range(9)
    ]
    verdict = diagnose([first, *more], CONTEXT)[1]
    assert verdict.summary.endswith(
        "io-error in next8; io-error in next5; io-error in next6; io-error in next7; 5 more."
    )


def test_a_device_that_failed_shows_the_code_that_did_not_cope_with_it() -> None:
    bus = finding("bus", Kind.DEVICE_ERROR, Severity.ERROR, 10)
    culprit = Culprit("zorb_poll", "zorb", cpu=4)
    loop = replace(finding("loop", Kind.HARD_LOCKUP, Severity.ERROR, 20, ("bus",)), culprit=culprit)
    verdict = diagnose([bus, loop], CONTEXT)[1]
    assert (verdict.finding, verdict.culprit) == ("bus", culprit)


def test_a_device_that_failed_accuses_nobody_who_only_waits_for_it() -> None:
    disk = finding("disk", Kind.IO_ERROR, Severity.ERROR, 10)
    culprit = Culprit("zorb_read", "zorb", cpu=4)
    hang = replace(finding("hang", Kind.HUNG_TASK, Severity.ERROR, 20, ("disk",)), culprit=culprit)
    assert diagnose([disk, hang], CONTEXT)[1].culprit == Culprit()


def test_nothing_found_is_calm() -> None:
    findings, verdict = diagnose([], CONTEXT)
    assert findings == ()
    assert verdict.kind is Kind.NONE
    assert verdict.finding is None


def test_panic_goes_back_to_its_cause() -> None:
    oops = finding("oops", Kind.NULL_DEREFERENCE, Severity.FATAL, 10)
    panic = finding("panic", Kind.PANIC, Severity.FATAL, 60, ("oops",))
    findings, verdict = diagnose([panic, oops], CONTEXT)
    assert verdict.finding == "oops"
    assert [item.id for item in findings] == ["oops", "panic"]
    assert panic.title in verdict.summary


def test_chain_of_three_ends_at_its_root() -> None:
    first = finding("first", Kind.USE_AFTER_FREE, Severity.ERROR, 1)
    second = finding("second", Kind.SOFT_LOCKUP, Severity.ERROR, 2, ("first",))
    third = finding("third", Kind.PANIC, Severity.FATAL, 3, ("second",))
    assert diagnose([third, second, first], CONTEXT)[1].finding == "first"


def test_warning_does_not_outrank_a_later_unrelated_crash() -> None:
    warning = finding("warning", Kind.WARNING, Severity.WARNING, 1)
    oops = finding("oops", Kind.DIVIDE_ERROR, Severity.FATAL, 90)
    assert diagnose([warning, oops], CONTEXT)[1].finding == "oops"


def test_warning_is_the_verdict_when_it_is_all_there_is() -> None:
    warning = finding("warning", Kind.WARNING, Severity.WARNING, 1)
    assert diagnose([warning], CONTEXT)[1].finding == "warning"


def test_the_last_of_two_fatal_failures_ended_the_machine() -> None:
    first = finding("first", Kind.OOM, Severity.FATAL, 1)
    last = finding("last", Kind.DIVIDE_ERROR, Severity.FATAL, 9000)
    assert diagnose([last, first], CONTEXT)[1].finding == "last"


def test_worst_comes_first_behind_what_belongs_to_the_verdict() -> None:
    warning = finding("warning", Kind.WARNING, Severity.WARNING, 1)
    other = finding("other", Kind.KCSAN, Severity.ERROR, 2)
    oops = finding("oops", Kind.DIVIDE_ERROR, Severity.ERROR, 90)
    late = finding("late", Kind.WARNING, Severity.WARNING, 91, ("oops",))
    panic = finding("panic", Kind.PANIC, Severity.FATAL, 92, ("oops",))
    findings, _ = diagnose([warning, other, late, panic, oops], CONTEXT)
    assert [item.id for item in findings] == ["oops", "panic", "late", "other", "warning"]


def test_cycle_of_causes_ends() -> None:
    one = finding("one", Kind.BUG, Severity.FATAL, 1, ("two",))
    two = finding("two", Kind.BUG, Severity.FATAL, 2, ("one",))
    assert diagnose([one, two], CONTEXT)[1].finding in ("one", "two")


def test_cause_that_does_not_exist_is_ignored() -> None:
    lonely = finding("lonely", Kind.BUG, Severity.FATAL, 1, ("gone",))
    assert diagnose([lonely], CONTEXT)[1].finding == "lonely"


def test_a_rule_links_later_to_earlier_and_says_why() -> None:
    oops = finding("oops", Kind.NULL_DEREFERENCE, Severity.ERROR, 1)
    hang = finding("hang", Kind.HUNG_TASK, Severity.ERROR, 2)
    findings, verdict = diagnose([hang, oops], CONTEXT)
    assert verdict.finding == "oops"
    linked = next(item for item in findings if item.id == "hang")
    assert linked.caused_by == ("oops",)
    assert linked.evidence[-1].what.startswith("a task died before it (null-dereference in oops)")


def test_no_rule_works_backwards_in_time() -> None:
    hang = finding("hang", Kind.HUNG_TASK, Severity.FATAL, 1)
    oops = finding("oops", Kind.NULL_DEREFERENCE, Severity.WARNING, 2)
    findings, _ = diagnose([oops, hang], CONTEXT)
    assert next(item for item in findings if item.id == "hang").caused_by == ()


def test_a_long_chain_has_one_origin() -> None:
    chain = [
        finding(f"f{n}", Kind.BUG, Severity.ERROR, n + 1, (f"f{n - 1}",) if n else ())
        for n in range(2000)
    ]
    assert diagnose(chain, CONTEXT)[1].finding == "f0"


def test_calm_verdict_counts_the_tasks() -> None:
    system = System(tasks=5, task_states={"S": 3, "R": 1, "D": 1})
    context = Context.given(CONTEXT.input, system)
    summary = diagnose([], context)[1].summary
    assert "5 tasks: 1 running, 1 in uninterruptible sleep" in summary


def test_hang_that_only_the_dump_shows_explains_a_later_request_to_crash() -> None:
    hang = replace(finding("hang", Kind.HUNG_TASK, Severity.ERROR, 1), log_line=None, time=50.0)
    crash = replace(finding("crash", Kind.USER_REQUESTED, Severity.FATAL, 80), time=90.0)
    assert diagnose([crash, hang], CONTEXT)[1].finding == "hang"


def test_hang_that_began_after_the_request_does_not() -> None:
    hang = replace(finding("hang", Kind.HUNG_TASK, Severity.ERROR, 1), log_line=None, time=95.0)
    crash = replace(finding("crash", Kind.USER_REQUESTED, Severity.FATAL, 80), time=90.0)
    assert diagnose([crash, hang], CONTEXT)[1].finding == "crash"


def test_stuck_device_explains_a_request_to_crash() -> None:
    disk = finding("disk", Kind.IO_ERROR, Severity.ERROR, 10)
    crash = finding("crash", Kind.USER_REQUESTED, Severity.FATAL, 80)
    assert diagnose([crash, disk], CONTEXT)[1].finding == "disk"


def test_the_task_that_looks_for_hung_tasks_does_not_hang_itself() -> None:
    """khungtaskd runs the panic for hung tasks; the log names it as the panic's task."""
    path = Path(__file__).parents[2] / "corpus" / "console" / "6.12-deadlock-rwsem.log"
    with postmortem.open([path]) as case:
        summary = case.analyze().verdict.summary
    assert "khungtaskd" not in summary
    assert "What followed from it: kernel panic: hung_task: blocked tasks." in summary


def test_what_harmed_nothing_is_called_no_failure() -> None:
    found = finding("heat", Kind.THERMAL, Severity.INFO, 10)
    verdict = diagnose([found], CONTEXT)[1]
    assert verdict.readable == "no failure reported; thermal in heat"
    assert verdict.kind is Kind.NONE
    assert verdict.summary == "The log reports no failure. heat happened."
    assert verdict.confidence is Confidence.LIKELY


def test_beside_a_failure_what_harmed_nothing_is_no_verdict() -> None:
    heat = finding("heat", Kind.THERMAL, Severity.INFO, 10)
    disk = finding("disk", Kind.IO_ERROR, Severity.ERROR, 90)
    assert "no failure" not in diagnose([heat, disk], CONTEXT)[1].readable


def test_what_recovered_itself_but_had_consequences_is_a_failure() -> None:
    link = finding("link", Kind.DEVICE_ERROR, Severity.INFO, 10)
    lost = finding("disk", Kind.IO_ERROR, Severity.ERROR, 20, ("link",))
    verdict = diagnose([link, lost], CONTEXT)[1]
    assert verdict.title == "device-error in link"
    assert "no failure" not in verdict.readable + verdict.summary


def test_both_ports_of_an_adapter_are_named(tmp_path: Path) -> None:
    said = "[{}.000000] qla2xxx [0000:86:00.{}]-500b:{}: LOOP DOWN detected (2 7 0 0).\n"
    path = tmp_path / "kern.log"

    def summary(second: int) -> str:
        path.write_text(said.format(700, 0, 4) + said.format(second, 1, 5))
        with postmortem.open([path]) as case:
            return case.analyze().verdict.summary

    assert "at once of 0000:86:00.1 (log line 2)" in summary(701)
    assert "at once" not in summary(900)


@pytest.mark.parametrize(
    ("kind", "lost", "sure"),
    [
        (Kind.HUNG_TASK, "task list (init_task.tasks)", Confidence.LIKELY),
        (Kind.HUNG_TASK, "clock", Confidence.CERTAIN),
        (Kind.NULL_DEREFERENCE, "tasks", Confidence.CERTAIN),
    ],
)
def test_who_waits_for_whom_is_not_certain_where_tasks_are_lost(
    kind: Kind, lost: str, sure: Confidence
) -> None:
    ctx = Context.given(Input("x", "log", "text", 1, True), System())
    ctx.problems.append(Problem(lost, "some could not be read"))
    seen = Evidence("otter_get() has taken it", "memory", Strength.PROOF)
    found = replace(
        finding("x", kind, Severity.ERROR, 10),
        culprit=Culprit(function="otter_get"),
        evidence=(seen,),
    )
    assert diagnose([found], ctx)[1].confidence is sure
