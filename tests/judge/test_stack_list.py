"""Stacks of several tasks in one text: which one is to be read first."""

from __future__ import annotations

from postmortem.model.findings import Finding, Severity
from postmortem.plugin import discover, run_plugin
from tests.judge.made import context


def bt(pid: int, comm: str, *functions: str) -> str:
    lines = [f'PID: {pid}     TASK: ffff93d3c2b6{pid:04x}  CPU: 2    COMMAND: "{comm}"']
    lines += [f" #{n} [ffffb4a2c3d5fc{n:02x}] {function}" for n, function in enumerate(functions)]
    return "\n".join([*lines, "", ""])


SCHED = ("__schedule at ffffffff9e1c5d01", "schedule at ffffffff9e1c610e")
LOCK = (*SCHED, "__mutex_lock at ffffffff9e1c80b4")


def zorb(function: str) -> str:
    return f"{function} at ffffffffc0a1d2f4 [zorb]"


EVENT = (*SCHED, "schedule_timeout at ffffffff9e1cb4f6", "__wait_for_common at ffffffff9e1c6cb0")
LOADER = bt(71, "loader", *EVENT, zorb("zorb_await"), zorb("zorb_load"))
READER = bt(70, "reader", *LOCK, zorb("zorb_read"), "vfs_read at ffffffff9dbb6f0d")
WRITER = bt(72, "writer", *LOCK, zorb("zorb_write"), "vfs_write at ffffffff9dbb7f0d")


def told(*stacks: str) -> list[Finding]:
    (plugin,) = [item for item in discover()[0] if item.name == "oops"]
    found = run_plugin(plugin, context("".join(stacks).encode()), {})
    return [item for item in found if isinstance(item, Finding)]


def test_of_many_stacks_the_one_that_waits_for_no_lock_is_the_lead() -> None:
    findings = told(READER, LOADER, WRITER)
    (lead,) = [item for item in findings if item.severity is not Severity.INFO]
    assert lead.culprit.function == "zorb_await"
    assert "loader (71) in zorb_await() waits for a completion, and for no lock" in lead.explanation
    assert "reader (70) in zorb_read(), writer (72) in zorb_write() wait for a mutex" in (
        lead.explanation
    )
    assert lead.shown == "stack trace in zorb_await of loader (71), one of 3 stacks"
    assert len(lead.evidence) == 3


def test_stacks_that_all_wait_for_locks_have_no_lead() -> None:
    first, _ = told(READER, WRITER)
    assert first.culprit.function == "zorb_read"
    assert "no lock" not in first.explanation
    assert "whose holder no stack names" in first.explanation


def test_one_stack_is_told_as_before() -> None:
    (only,) = told(READER)
    assert "stacks of" not in only.explanation


def test_tasks_that_rest_lead_nobody_astray() -> None:
    idle = bt(80, "idler", *SCHED, "schedule_hrtimeout_range at ffffffff9e1cb4f6",
              "do_epoll_wait at ffffffff9dbc0001", zorb("zorb_poll"))  # fmt: skip
    (lead,) = [item for item in told(idle, READER) if item.severity is not Severity.INFO]
    assert lead.culprit.function == "zorb_read"
