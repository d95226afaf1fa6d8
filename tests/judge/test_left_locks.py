"""The locks of a dead task belong to the report of its death."""

from __future__ import annotations

import pytest

from postmortem.graph.model import Doing, Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.judge.hangs import Facts
from postmortem.judge.left_locks import with_left_locks
from postmortem.judge.reports import finding_of
from postmortem.model.findings import Confidence, Finding
from tests.conftest import machine_named
from tests.judge.made import context, log, oops


def told(doing: Doing = Doing.GONE, sure: EdgeKind = EdgeKind.HELD, waiters: int = 1) -> Finding:
    ctx = context(log(*oops(pid=700)))
    graph = Graph()
    graph.add(Node("lock", NodeKind.LOCK, "mutex zorb_lock [zorb]", address=0xFFFF1230))
    graph.add(Node("holder", NodeKind.TASK, "zorbd (700)", pid=700, doing=doing))
    confidence = Confidence.CERTAIN if sure is EdgeKind.HELD else Confidence.LIKELY
    graph.link(Edge("lock", "holder", sure, confidence, "mutex.owner = 0xffff88"))
    for number in range(waiters):
        graph.add(Node(f"w{number}", NodeKind.TASK, f"w{number} (8{number})", pid=80 + number))
        graph.link(Edge(f"w{number}", "lock", EdgeKind.WAITS))
    ctx.memo["who waits"] = Facts(graph, from_dump=True)
    return with_left_locks(ctx, finding_of(ctx, ctx.reports[0]), ctx.reports[0])


def test_what_it_died_with_and_who_waits() -> None:
    said = told().explanation
    assert said.endswith("It died holding mutex zorb_lock [zorb]; w0 (80) waits for it.")


def test_a_crowd_is_counted() -> None:
    said = told(waiters=5).explanation
    assert said.endswith("; 5 tasks wait for it (w0 (80), w1 (81), w2 (82)).")


def test_a_guessed_holder_is_said_so() -> None:
    assert "It most likely died holding mutex" in told(sure=EdgeKind.LIKELY_HELD).explanation


def test_a_machine_that_stopped_with_it() -> None:
    assert "It held mutex zorb_lock [zorb] at the end;" in told(Doing.RUNS).explanation


@pytest.mark.parametrize("waiters", [0])
def test_a_lock_that_nobody_wants_is_not_told(waiters: int) -> None:
    assert "zorb_lock" not in told(waiters=waiters).explanation


def test_an_owner_that_is_gone_is_told_by_the_code_of_its_oops() -> None:
    ctx = context(log(*oops(pid=700)))
    graph = Graph()
    graph.add(Node("lock", NodeKind.LOCK, "mutex zorb_lock [zorb]", address=0xFFFF1230))
    graph.add(Node("gone", NodeKind.TASK, "a task that has exited", doing=Doing.GONE))
    graph.add(Node("w", NodeKind.TASK, "w (80)", pid=80))
    graph.link(Edge("lock", "gone", EdgeKind.HELD))
    graph.link(Edge("w", "lock", EdgeKind.WAITS))
    ctx.memo["who waits"] = Facts(graph, from_dump=True)
    report = ctx.reports[0]
    plain = with_left_locks(ctx, finding_of(ctx, report), report)
    assert "zorb_lock" not in plain.explanation
    del ctx.memo["kept locks"]
    ctx.memo["owners by code"] = {"gone": report}
    found = with_left_locks(ctx, finding_of(ctx, report), report)
    assert "It most likely died holding mutex zorb_lock [zorb]; w (80) waits for it." in (
        found.explanation
    )


def test_the_machine_that_died_so() -> None:
    """pm_config_apply() takes pm_config_mutex, starts pm_reloader, and dereferences NULL."""
    verdict = machine_named("6.1-oops-then-sysrq").case.analyze().verdict
    assert "It died holding mutex pm_config_mutex [pm_fault]; pm_reloader (" in verdict.summary
