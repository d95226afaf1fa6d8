"""When a finding may be called certain: cases by hand, and all committed dumps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.judge.confidence import earned, lowered
from postmortem.model.findings import (
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Problem,
    Severity,
    Strength,
    TaskRef,
)
from tests.conftest import Machine

CERTAIN, LIKELY, POSSIBLE = Confidence


def finding(kind: Kind, *evidence: Evidence, culprit: Culprit | None = None) -> Finding:
    who = culprit if culprit is not None else Culprit("zorb_read", "zorb")
    return Finding("x", kind, Severity.ERROR, CERTAIN, "t", "e", evidence, who, log_line=7)


HEADER = Evidence("BUG: something", "log line 7")
PLACE = Evidence("it happened at zorb_read+0x1/0x9 [zorb]", "instruction pointer", Strength.CONTEXT)
SHOWN = Evidence("mov (%rax): rax = 0x0", "zorb_read+0x1", Strength.SHOWN)


@pytest.mark.parametrize(
    ("kind", "evidence", "right"),
    [
        (Kind.NULL_DEREFERENCE, (HEADER, PLACE), CERTAIN),  # the kernel says what it was
        (Kind.NULL_DEREFERENCE, (HEADER,), LIKELY),  # nobody is named
        (Kind.GENERAL_PROTECTION, (HEADER, PLACE), LIKELY),  # whence the pointer?
        (Kind.GENERAL_PROTECTION, (HEADER, SHOWN), CERTAIN),
        (Kind.SOFT_LOCKUP, (HEADER, PLACE), LIKELY),  # a watchdog knows no why
        (Kind.HUNG_TASK, (HEADER, PLACE), LIKELY),
        (Kind.HUNG_TASK, (HEADER, PLACE, SHOWN), CERTAIN),
        (Kind.OOM, (HEADER, PLACE), LIKELY),
    ],
)
def test_certain_needs_culprit_and_mechanism(
    kind: Kind, evidence: tuple[Evidence, ...], right: Confidence
) -> None:
    assert earned(finding(kind, *evidence)).confidence is right


def test_a_name_within_another_is_none() -> None:
    other = Evidence("it happened at zorb_reader+0x1/0x9", "its stack", Strength.SHOWN)
    assert earned(finding(Kind.BUG, HEADER, other)).confidence is LIKELY


def test_a_task_or_a_disk_may_be_all_there_is_to_name() -> None:
    task = Culprit(task=TaskRef(1, "init"))
    said = Evidence("Attempted to kill init! exitcode=0x00000100", "log line 7")
    assert earned(finding(Kind.INIT_KILLED, said, culprit=task)).confidence is CERTAIN
    disk = Evidence("I/O error, dev sdq, sector 4", "log line 7")
    assert earned(finding(Kind.IO_ERROR, disk, culprit=Culprit())).confidence is CERTAIN
    assert earned(finding(Kind.BUG, HEADER, culprit=Culprit())).confidence is LIKELY


def test_what_only_a_dump_shows_needs_memory() -> None:
    bare = replace(finding(Kind.BUG, HEADER, PLACE), log_line=None)
    assert earned(bare).confidence is LIKELY


def test_less_than_certain_is_left_alone() -> None:
    unsure = replace(finding(Kind.BUG, HEADER), confidence=POSSIBLE)
    assert earned(unsure).confidence is POSSIBLE


def test_a_judge_that_failed_makes_it_less_sure() -> None:
    ours = frozenset({"oops", "hung"})
    failed = [Problem("plugin hung", "TypeError: x")]
    assert lowered(CERTAIN, failed, ours) is LIKELY
    assert lowered(LIKELY, failed, ours) is POSSIBLE
    assert lowered(POSSIBLE, failed, ours) is POSSIBLE
    assert lowered(CERTAIN, [Problem("plugin theirs", "x")], ours) is CERTAIN
    assert lowered(CERTAIN, [Problem("stacks", "3 can't be read")], ours) is CERTAIN


def test_who_is_called_certain_did_it(machine: Machine) -> None:
    verdict = machine.case.analyze().verdict
    if verdict.confidence is CERTAIN and machine.truth["function"]:
        assert verdict.culprit.function == machine.truth["function"]
