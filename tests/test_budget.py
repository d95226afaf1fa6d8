"""A step that computes for ever is ended; one inside another has no more than the other."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from postmortem import steps
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
    monkeypatch.setattr(steps._process, "state", steps.State(0, seconds=0.05))
    problems = Problems()
    assert attempt(problems, "tasks", for_ever) is None
    assert [(p.what, p.why) for p in problems] == [("tasks", "given up after 0 s of computing")]


def test_what_wants_too_much_memory_is_ended_and_the_rest_goes_on() -> None:
    code = (
        "from postmortem.budget import room\n"
        "with room(64 << 20):\n"
        "    with room(1 << 40):  # no more than what is around it\n"
        "        try:\n"
        "            bytearray(256 << 20)\n"
        "        except MemoryError:\n"
        "            print('ended')\n"
        "print(len(bytearray(256 << 20)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ended\n268435456\n", "")


def test_a_fact_that_wants_too_much_memory_is_a_problem() -> None:
    def hog() -> None:
        raise MemoryError

    problems = Problems()
    assert attempt(problems, "tasks", hog) is None
    assert [p.what for p in problems] == ["tasks"]
    assert "memory" in problems[0].why


def test_after_one_step_without_an_end_the_next_have_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps._process, "state", steps.State(0, seconds=64))

    def over() -> None:
        raise OverBudget(64)

    for _ in range(3):
        attempt(Problems(), "tasks", over)
    assert steps._process.state.seconds == 8


def test_a_step_that_ended_an_attempt_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps._process, "left_out", {"tasks": "left out: it crashed"})
    problems = Problems()
    assert attempt(problems, "tasks", lambda: 1) is None
    assert attempt(problems, "CPUs", lambda: 1) == 1
    assert [(p.what, p.why) for p in problems] == [("tasks", "left out: it crashed")]


def test_a_page_shows_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    page = steps.Page()
    monkeypatch.setattr(steps, "_process", steps._Process())
    steps.supervised(page, {})
    with steps.doing("judge"), steps.step("plugin \u00e4\nacme"):
        state = page.get()
    assert state.names == ("-judge", "+plugin \u00e4 acme")
    assert page.get().names == ()
    assert page.get().beats > state.beats
