"""A step that computes for ever is ended; one inside another has no more than the other."""

from __future__ import annotations

import signal
import threading

import pytest

from postmortem.budget import OverBudget, budget
from postmortem.case.attempt import attempt
from postmortem.model.problems import Problems


def for_ever() -> None:
    while True:
        try:
            raise LookupError("damage that somebody tolerates")
        except Exception:
            continue


def test_what_does_not_end_is_ended() -> None:
    with pytest.raises(OverBudget, match="given up after 0 s"), budget(0.05):
        for_ever()
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_what_ends_in_time_is_left_alone() -> None:
    with budget(60):
        pass
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_an_inner_step_has_no_more_than_the_outer_one() -> None:
    with pytest.raises(OverBudget), budget(0.05), budget(60):
        for_ever()


def test_an_inner_step_over_its_budget_does_not_end_the_outer_one() -> None:
    with budget(60):
        with pytest.raises(OverBudget), budget(0.05):
            for_ever()
        left, _ = signal.getitimer(signal.ITIMER_PROF)
        assert left > 1


def test_a_timer_of_the_embedding_program_is_left_alone() -> None:
    def theirs(_signal: int, _frame: object) -> None: ...

    before = signal.signal(signal.SIGPROF, theirs)
    try:
        with budget(0.05):
            assert signal.getsignal(signal.SIGPROF) is theirs
    finally:
        signal.signal(signal.SIGPROF, before)


def test_another_thread_has_no_limit() -> None:
    done = []

    def work() -> None:
        with budget(0.05):
            done.append(signal.getitimer(signal.ITIMER_PROF))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [(0.0, 0.0)]


def test_a_fact_that_takes_for_ever_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postmortem.case.attempt.SECONDS", 0.05)
    problems = Problems()
    assert attempt(problems, "tasks", for_ever) is None
    assert [(p.what, p.why) for p in problems] == [("tasks", "given up after 0 s of computing")]
