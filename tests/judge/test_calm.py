"""A calm verdict is a claim about everything."""

from __future__ import annotations

from postmortem.judge.calm import calm
from postmortem.model.findings import Kind
from postmortem.model.result import Input, System
from postmortem.plugin import Context

WHOLE = Input("x", "log", "text", 1, True)


def test_whole_log_without_a_report_is_calm() -> None:
    assert calm(Context.given(WHOLE)).title == "no failure found"


def test_log_that_is_cut_is_not() -> None:
    cut = Input("x", "log", "text", 1, False, ("gzip: 3 MB are missing",))
    found = calm(Context.given(cut))
    assert (found.kind, found.title) == (Kind.NONE, "the cause can't be told from this file")
    assert "gzip: 3 MB are missing" in found.summary


def test_what_was_not_read_is_said() -> None:
    ctx = Context.given(WHOLE)
    ctx.problem("log", "records 3-9 are not in the dump")
    assert "records 3-9 are not in the dump" in calm(ctx).summary


def test_taint_of_a_failure_speaks_for_one() -> None:
    dead = Context.given(WHOLE, System(taint=("D: kernel died recently",)))
    assert "taint D" in calm(dead).summary
    harmless = Context.given(WHOLE, System(taint=("O: out-of-tree module",)))
    assert calm(harmless).title == "no failure found"
