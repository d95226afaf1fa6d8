"""What all plugins share: every kind has one plugin, a sentence, and an order of gravity."""

from __future__ import annotations

from postmortem.judge import reports as judging
from postmortem.model.findings import Confidence, Kind, Severity, TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.model.result import Input, System
from postmortem.plugin import Context


def report(kind: Kind, title: str = "x in y", line: int = 1, **more: object) -> Report:
    return Report(kind=kind, title=title, line=line, end_line=line, text=(title,), **more)  # type: ignore[arg-type]


def context(*reports: Report) -> Context:
    return Context.given(Input("x", "log", "text", 1, True), System(), reports=reports)


def test_report_with_a_panic_behind_it_is_fatal() -> None:
    oops = report(Kind.NULL_DEREFERENCE)
    panic = report(
        Kind.PANIC, "kernel panic: Fatal exception", 9, panic="Fatal exception", consequence_of=0
    )
    ctx = context(oops, panic)
    assert judging.severity_of(ctx, oops) is Severity.FATAL
    assert judging.severity_of(ctx, panic) is Severity.FATAL


def test_report_that_the_machine_survived_is_an_error_or_a_warning() -> None:
    oops, warning = report(Kind.NULL_DEREFERENCE), report(Kind.WARNING, line=5)
    ctx = context(oops, warning)
    assert judging.severity_of(ctx, oops) is Severity.ERROR
    assert judging.severity_of(ctx, warning) is Severity.WARNING


def test_finding_refers_to_its_cause_by_id() -> None:
    cause = report(Kind.BUG, line=3)
    effect = report(Kind.PANIC, "kernel panic: x", 8, consequence_of=0)
    ctx = context(cause, effect)
    assert judging.finding_of(ctx, effect).caused_by == (judging.finding_of(ctx, cause).id,)


def test_the_five_nearest_callers_are_evidence() -> None:
    names = ["guilty", *(f"caller{n}" for n in range(1, 8))]
    said = report(Kind.BUG, function="guilty", frames=tuple(map(Frame, names)))
    evidence = [item.what for item in judging.log_evidence(said)]
    assert "called from caller1 < caller2 < caller3 < caller4 < caller5" in evidence


def test_cause_out_of_range_is_ignored() -> None:
    lost = report(Kind.BUG, consequence_of=7)
    assert judging.finding_of(context(lost), lost).caused_by == ()


def test_damaged_report_makes_no_certain_finding() -> None:
    damaged = report(Kind.BUG, corrupted="cut short", function="f")
    assert judging.finding_of(context(damaged), damaged).confidence is Confidence.LIKELY


def test_culprit_carries_what_the_report_says() -> None:
    said = report(
        Kind.BUG,
        function="f",
        module="m",
        task=TaskRef(7, "seven"),
        cpu=2,
        detail={"file": "a/b.c", "lineno": "12"},
    )
    culprit = judging.finding_of(context(said), said).culprit
    assert (culprit.function, culprit.module, culprit.cpu) == ("f", "m", 2)
    assert (culprit.file, culprit.line) == ("a/b.c", 12)
    assert culprit.task == TaskRef(7, "seven")
