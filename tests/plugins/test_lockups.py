"""One finding a root: what it is called, who is to blame, and which reports follow from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import drgn
import pytest
from postmortem_plugins.lockups import lockups

from postmortem.dump.dump import Dump
from postmortem.judge.lockups import tell
from postmortem.judge.stuck import How, Reason, Root, Stuck
from postmortem.judge.verdict import diagnose
from postmortem.kernel.cpu.clock import NSEC
from postmortem.kernel.cpu.csd import Call
from postmortem.kernel.cpu.rcu import GracePeriod
from postmortem.kernel.cpu.workqueues import Pool, Pools, PoolWorker
from postmortem.kernel.locking.spinlocks import Holder, QSpinlock, Spin
from postmortem.kernel.tasks.tasks import Task
from postmortem.model.findings import Finding, Kind, Severity, Table, TaskRef
from postmortem.model.report import Record, Report
from postmortem.model.result import Input, System
from postmortem.plugin import Context
from tests.kernel.cpu_states import facts, frames, state, waiting

LOCK = 0xFFFFFFFFC0001000
HOG = state(0, running_ns=14 * NSEC, waiting=(waiting(13),))
VICTIM = state(
    1,
    pid=8,
    frames=frames("native_queued_spin_lock_slowpath", "_raw_spin_lock", "lookup", "kthread"),
    running_ns=13 * NSEC,
    waiting=(waiting(12, cpu=1),),
)


def stuck(one: Any, how: How = How.KERNEL, seconds: float = 14) -> Stuck:
    return Stuck(one, how, seconds, False, one.waiting[0] if one.waiting else None)


def task(pid: int, cpu: int, state: str = "R") -> Task:
    return Task(0x1000 + pid, pid, pid, "hog", state, cpu, True, True, 0, 0)


def holder(cpu: int | None, function: str = "busy_loop") -> Holder:
    return Holder(task(7, cpu or 0), cpu, frames(function)[0], 0, f"{function}() took it", True)


def waits_for(cpu: int, whom: Holder, function: str = "lookup") -> Reason:
    spin = Spin(cpu, LOCK, "cache_lock [driver]", QSpinlock(1), function, 2)
    return Reason(spin, whom, (whom,))


HELD = Root(HOG, stuck(HOG), holder(0), None, victims=(stuck(VICTIM, seconds=13),),
            reasons={1: waits_for(1, holder(0))})  # fmt: skip


def report(kind: Kind, line: int, **members: Any) -> Report:
    base = Report(kind, f"{kind} report", line, line, (f"{kind}!",))
    return replace(base, **members)


def told(
    monkeypatch: pytest.MonkeyPatch,
    roots: list[Root],
    reports: tuple[Report, ...] = (),
    pools: Pools | None = None,
    period: GracePeriod | None = None,
) -> list[Finding]:
    """What the plugin says of a machine with these troubles and this log."""
    read = facts(HOG, VICTIM)
    monkeypatch.setattr("postmortem.kernel.cpu.lockups.lockups", lambda prog, panic_ns: read)
    monkeypatch.setattr("postmortem.judge.stuck.roots", lambda *args: roots)
    waiting = pools or Pools((), 30)
    monkeypatch.setattr(
        "postmortem.kernel.cpu.workqueues.waiting_pools", lambda prog, clock: waiting
    )
    monkeypatch.setattr("postmortem.kernel.cpu.rcu.grace_period", lambda prog, clock: period)
    prog = drgn.Program()
    ctx = Context.given(
        Input("x", "vmcore", "ELF", 1, True),
        System(),
        (Record(1, "x"),),
        reports,
        dump=Dump(prog, True),
    )
    found = list(lockups(ctx))
    assert not any(isinstance(item, Table) for item in found)
    return [item for item in found if isinstance(item, Finding)]


# --- a root in words


def test_interrupts_off_is_a_hard_lockup() -> None:
    found = tell(Root(HOG, stuck(HOG, How.INTERRUPTS_OFF), None, None))
    assert (found.kind, found.culprit.function) == (Kind.HARD_LOCKUP, "busy_loop")
    assert found.culprit.task == TaskRef(7, "hog")


def test_holder_is_to_blame_and_the_waiting_cpu_is_evidence() -> None:
    found = tell(HELD)
    assert (found.kind, found.culprit.function, found.culprit.cpu) == (
        Kind.SOFT_LOCKUP, "busy_loop", 0)  # fmt: skip
    said = " ".join(item.what for item in found.evidence)
    assert "lookup() on CPU 1 waits for cache_lock [driver], likely held by busy_loop()" in said


def test_recursion_names_who_takes_the_lock_again() -> None:
    again = state(0, frames=frames("slow", "_raw_spin_lock", "trim", "flush"))
    circle = Root(again, stuck(again), holder(0, "flush"), None, (0,),
                  reasons={0: waits_for(0, holder(0, "flush"), "trim")})  # fmt: skip
    found = tell(circle)
    assert (found.kind, found.culprit.function) == (Kind.DEADLOCK, "trim")
    assert "flush()" in found.explanation


def test_deadlock_through_an_interrupt_says_so() -> None:
    stack = (
        *frames("slow", "_raw_spin_lock", "tick", "asm_irq", segment="irq"),
        replace(frames("advance")[0], interrupted=True),
    )
    both = state(0, frames=stack)
    own = replace(holder(0, "advance"), index=4)
    circle = Root(both, stuck(both), own, None, (0,), reasons={0: waits_for(0, own, "tick")})
    found = tell(circle)
    assert "the interrupted advance()" in found.explanation
    assert "spin_lock_irqsave" in found.next_steps[0]


def test_opposite_order_names_both_locks() -> None:
    reasons = {0: waits_for(0, holder(1, "left"), "right"),
               1: waits_for(1, holder(0, "right"), "left")}  # fmt: skip
    found = tell(Root(HOG, None, holder(1), None, (0, 1), reasons=reasons))
    assert found.kind is Kind.DEADLOCK
    assert found.explanation.count("waits for cache_lock") == 2


def test_unanswered_call_is_evidence_against_the_deaf_cpu() -> None:
    deaf = stuck(HOG, How.INTERRUPTS_OFF)
    root = Root(HOG, deaf, None, None, victims=(stuck(VICTIM),),
                reasons={1: Reason(call=Call(0, None, "answer_me", True))})  # fmt: skip
    said = " ".join(item.what for item in tell(root).evidence)
    assert "CPU 0 has not answered its call of answer_me()" in said


# --- with the log


def test_report_of_the_root_is_the_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = report(Kind.SOFT_LOCKUP, 5, cpu=0, task=TaskRef(7, "hog"), function="busy_loop")
    found = told(monkeypatch, [Root(HOG, stuck(HOG), None, None)], (mine,))
    assert [(item.id, item.kind) for item in found] == [("log-5", Kind.SOFT_LOCKUP)]


def test_report_of_the_victim_follows_from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    its = report(Kind.SOFT_LOCKUP, 5, cpu=1, task=TaskRef(8, "hog"), function="lookup")
    panic = report(
        Kind.SOFT_LOCKUP,
        9,
        title="kernel panic: softlockup",
        panic="softlockup: hung tasks",
        consequence_of=0,
    )
    found = told(monkeypatch, [HELD], (its, panic))
    by_id = {item.id: item for item in found}
    assert by_id["log-5"].caused_by == ("cpu0-stuck",)
    assert by_id["cpu0-stuck"].severity is Severity.FATAL
    ctx = Context.given(Input("x", "vmcore", "ELF", 1, True), System())
    assert diagnose(found, ctx)[1].culprit.function == "busy_loop"


def test_signature_is_the_report_s(monkeypatch: pytest.MonkeyPatch) -> None:
    from postmortem.model.findings import Signature

    signed = Signature("e", "f", "stall:lookup")
    its = report(Kind.SOFT_LOCKUP, 5, cpu=1, task=TaskRef(8, "hog"), signature=signed)
    assert told(monkeypatch, [HELD], (its,))[0].signature == signed


def test_rcu_stall_follows_from_a_deaf_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = Root(HOG, stuck(HOG, How.INTERRUPTS_OFF), None, None)
    stall = report(Kind.RCU_STALL, 5, function="busy_loop")
    found = {item.id: item for item in told(monkeypatch, [deaf], (stall,))}
    assert found["log-5"].caused_by == ("cpu0-stuck",)
    assert found["cpu0-stuck"].kind is Kind.HARD_LOCKUP


def test_healthy_machine_has_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, []) == []


# --- without a report


def pool(**changes: Any) -> Pools:
    worker = PoolWorker(task(51, 1), "reindex", "driver", 0x1, "events", True, None)
    members: dict[str, Any] = {
        "id": 2, "cpu": 1, "nice": 0, "stalled_seconds": 40.0, "pending": 2,
        "waiting": ("quick",), "busy": (worker,), "workers": 3, "idle": 2, "running": 1,
    }  # fmt: skip
    return Pools((Pool(**{**members, **changes}),), 30)


def test_work_that_never_sleeps_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = told(monkeypatch, [], pools=pool())
    assert (found.kind, found.culprit.function) == (Kind.WORKQUEUE_STALL, "reindex")


def test_pool_that_moves_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [], pools=pool(stalled_seconds=29.0)) == []


def test_pool_of_a_stuck_cpu_is_its_victim(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(monkeypatch, [Root(HOG, stuck(HOG), None, None)], pools=pool(cpu=0))
    assert [item.caused_by for item in found] == [(), ("cpu0-stuck",)]


PERIOD = GracePeriod(0x401, 30.0, (0,), (), None, 0.0, 21, 12)


def test_old_grace_period_names_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = told(monkeypatch, [], period=PERIOD)
    assert (found.kind, found.culprit.cpu) == (Kind.RCU_STALL, 0)
    assert found.culprit.function == "busy_loop"


def test_young_grace_period_is_none_s_business(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [], period=replace(PERIOD, age_seconds=20.0)) == []
