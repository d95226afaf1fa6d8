"""What is said of CPUs that do not let go: victims, and reports that lack their stack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from postmortem.judge.cpu_story import Story
from postmortem.judge.lockups import tell
from postmortem.judge.stuck import How, Root, Stuck
from postmortem.kernel.cpu.clock import NSEC
from postmortem.kernel.cpu.lockups import CpuState
from postmortem.model.findings import Confidence, Culprit, Finding, Kind
from postmortem.model.frame import Frame
from tests.judge.made import context, log
from tests.kernel.cpu_states import facts, state
from tests.kernel.cpu_states import frames as plain_frames


def frames(*names: str) -> tuple[Frame, ...]:
    """Frames; what begins with ``zorb`` is a module's."""
    return tuple(
        replace(frame, module="zorb" if (frame.function or "").startswith("zorb") else None)
        for frame in plain_frames(*names)
    )


def told(*names: str, how: How = How.KERNEL, **changes: Any) -> Finding:
    one = state(3, frames=frames(*names), running_ns=30 * NSEC, **changes)
    return tell(Root(one, Stuck(one, how, 30.0, True), None, None))


def test_a_cpu_in_a_loop_is_to_blame() -> None:
    found = told("zorb_loop", "zorb_read", "vfs_read")
    assert (found.culprit.function, found.confidence) == ("zorb_loop", Confidence.CERTAIN)


def test_a_cpu_that_waits_for_another_s_answer_is_a_victim() -> None:
    found = told("smp_call_function_many_cond", "on_each_cpu_cond_mask", "zorb_unmap")
    assert found.culprit == Culprit(cpu=3)
    assert found.confidence is Confidence.POSSIBLE
    assert "it is a victim: it waits for another CPU to answer its call" in found.explanation
    assert "zorb" not in found.explanation


def test_a_cpu_that_spins_is_a_victim_while_the_holder_is_not_seen() -> None:
    found = told("native_queued_spin_lock_slowpath", "_raw_spin_lock", "zorb_take")
    assert found.confidence is Confidence.POSSIBLE
    assert "it spins on a lock, and who holds that is not seen" in found.explanation


def test_rcu_s_own_thread_holds_up_nobody() -> None:
    found = told("rcu_gp_fqs_loop", "rcu_gp_kthread", "kthread")
    assert (found.culprit.function, found.confidence) == (None, Confidence.POSSIBLE)


# --- a report without a stack

BARE = [
    "watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [hog:7]",
    "CPU: 3 PID: 7 Comm: hog Not tainted 6.9.0 #1",
    "Call Trace:",
    " <TASK>",
    " ? zorb_old+0x1/0x9",
    " ? zorb_older+0x1/0x9",
    " </TASK>",
]


def story(*states: CpuState) -> tuple[Story, Any]:
    ctx = context(log(*BARE))
    (report,) = ctx.reports
    assert report.function is None
    return Story(ctx, None, facts(*states), ctx.reports), report  # type: ignore[arg-type]


def test_a_report_without_a_stack_is_told_from_the_cpu_s_own() -> None:
    judge, report = story(state(3, frames=frames("zorb_loop", "zorb_read", "vfs_read")))
    found = judge._as_consequence(report)
    assert found.title == "BUG: soft lockup in zorb_loop"
    assert found.culprit.function == "zorb_loop"
    said = " ".join(item.what for item in found.evidence)
    assert "the log has no stack for CPU 3" in said
    assert "zorb_loop < zorb_read < vfs_read" in said
    assert "corrupted" not in said
    assert found.signature is not None
    assert "zorb_loop" in found.signature.coarse


def test_a_cpu_that_went_on_tells_nothing_of_the_report() -> None:
    judge, report = story(state(3, pid=8, frames=frames("zorb_loop", "zorb_read")))
    found = judge._as_consequence(report)
    assert (found.culprit.function, found.kind) == (None, Kind.SOFT_LOCKUP)


def test_the_report_is_that_of_the_root_on_its_cpu() -> None:
    one = state(3, frames=frames("zorb_loop", "zorb_read"), running_ns=30 * NSEC)
    judge, report = story(one)
    root = Root(one, Stuck(one, How.KERNEL, 30.0, True), None, None)
    found = judge._finding(root)
    assert (found.log_line, found.title) == (report.line, "BUG: soft lockup in zorb_loop")
