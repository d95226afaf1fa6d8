"""A calm verdict is a claim about everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from postmortem.judge.calm import calm
from postmortem.model.findings import Kind
from postmortem.model.result import Input, System
from postmortem.plugin import Context
from tests.conftest import machine_named

WHOLE = Input("x", "log", "text", 1, True)


def test_whole_log_without_a_report_is_calm() -> None:
    assert calm(Context.given(WHOLE)).title == "no failure found"


def test_log_that_is_cut_is_not() -> None:
    cut = Input("x", "log", "text", 1, False, ("gzip: 3 MB are missing",))
    found = calm(Context.given(cut))
    assert (found.kind, found.title) == (
        Kind.NONE,
        "no failure in the part of the log that is here",
    )
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


@pytest.mark.parametrize("letter", "DLWM")
def test_each_taint_of_a_failure_counts(letter: str) -> None:
    found = calm(Context.given(WHOLE, System(taint=(f"{letter}: something",))))
    assert (found.kind, f"taint {letter}" in found.summary) == (Kind.NONE, True)
    assert found.title == "the cause can't be told from this file"


HEALTHY = "7.2-healthy-idle"


def test_a_healthy_machine_is_calm() -> None:
    assert calm(machine_named(HEALTHY).context()).title == "no failure found"


@pytest.mark.parametrize(
    "what",
    ["plugin hung", "CPU 1", "tasks", "task list", "log", "symbols", "RCU", "stacks of the CPUs"],
)
def test_what_of_a_dump_was_not_judged_is_said(what: str) -> None:
    ctx = machine_named(HEALTHY).context()
    ctx.problem(what, "it is damaged")
    found = calm(ctx)
    assert found.title == "the cause can't be told from this file"
    assert f"{what}: it is damaged" in found.summary


def test_what_hides_no_failure_leaves_it_calm() -> None:
    ctx = machine_named(HEALTHY).context()
    ctx.problem("load average", "it is damaged")
    assert calm(ctx).title == "no failure found"


def test_a_dump_that_a_crash_kernel_made_is_of_a_crash() -> None:
    ctx = machine_named(HEALTHY).context()
    dump = cast(Any, ctx.dump)
    lines = {**dump.vmcoreinfo, "CRASHTIME": "1700000000"}
    given = Context.given(WHOLE)
    given.case = cast(
        Any,
        SimpleNamespace(
            dump=SimpleNamespace(prog=dump.prog, has_types=True, vmcoreinfo=lines),
            **{
                name: getattr(ctx.case, name)
                for name in ("log", "system", "input", "reports", "heard", "quoted")
            },
            problems=(),
        ),
    )
    found = calm(given)
    assert found.title == "the cause can't be told from this file"
    assert "crash kernel" in found.summary


def test_a_hole_in_the_log_is_said_before_what_else_was_not_seen() -> None:
    ctx = Context.given(WHOLE)
    for what in ("tasks", "CPUs", "crashed CPU", "who waits for whom", "worker pools", "log"):
        ctx.problem(what, f"of {what} something is missing")
    assert "of log something is missing" in calm(ctx).summary
