"""Stalls told by a log alone: over many reports of one kind, who is named and who is not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import postmortem
from postmortem.model.findings import Verdict


def verdict_of(text: str) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "console.log"
        timed = "".join(f"[  900.{n:06d}] {line}\n" for n, line in enumerate(text.splitlines()))
        path.write_text(timed)
        return postmortem.open(path).analyze().verdict


NAMES = st.from_regex(r"[a-z]{3,8}_[a-z]{3,8}", fullmatch=True)
MODULES = st.sampled_from(["", "otter", "acme-dma", "newt_core"])


@settings(max_examples=25, deadline=None)
@given(work=NAMES, module=MODULES, cpu=st.integers(0, 300), pid=st.integers(2, 99999))
def test_the_work_in_flight_on_the_stuck_pool_is_named(
    work: str, module: str, cpu: int, pid: int
) -> None:
    where = f" [{module}]" if module else ""
    log = (
        f"BUG: workqueue lockup - pool cpus={cpu} node=0 flags=0x0 nice=0 stuck for 37s!\n"
        "Showing busy workqueues and worker pools:\n"
        "workqueue events: flags=0x0\n"
        f"  pwq 8: cpus={cpu} node=0 flags=0x0 nice=0 active=2/256 refcnt=3\n"
        f"    in-flight: {pid}:{work}{where}\n"
        "    pending: vmstat_update, heron_timeout_work\n"
        "workqueue events_highpri: flags=0x10\n"
        f"  pwq 9: cpus={cpu} node=0 flags=0x0 nice=-20 active=1/256 refcnt=2\n"
        "    in-flight: 77:innocent_other_work\n"
        f"pool 8: cpus={cpu} node=0 flags=0x0 nice=0 hung=37s workers=2 idle: 9\n"
    )
    verdict = verdict_of(log)
    assert (verdict.culprit.function, verdict.culprit.module) == (work, module or None)
    assert verdict.culprit.task is not None and verdict.culprit.task.pid == pid
    assert "37 s" in verdict.summary and f"CPU {cpu}" in verdict.summary
    assert "heron_timeout_work" in verdict.summary.partition("victim")[0]


def test_of_two_works_in_flight_neither_is_accused() -> None:
    log = (
        "BUG: workqueue lockup - pool cpus=3 node=0 flags=0x0 nice=0 stuck for 37s!\n"
        "Showing busy workqueues and worker pools:\nworkqueue events: flags=0x0\n"
        "  pwq 8: cpus=3 node=0 flags=0x0 nice=0 active=2/256 refcnt=3\n"
        "    in-flight: 12:otter_work, 13:newt_work [newt]\n"
    )
    verdict = verdict_of(log)
    assert verdict.culprit.function is None
    assert "otter_work" in verdict.summary and "newt_work" in verdict.summary


USER = {
    "arm64": "pc : 0000aaaad1f02c40\nlr : 0000aaaad1f02c10\nsp : 0000ffffe0012340\n",
    "x86": "RIP: 0033:0x55d0c0ffee10\nCode: 90 90 90\nRSP: 002b:00007ffd00001000\n",
    "riscv": "epc : 0000002ab4c0ffee\n",
}


@pytest.mark.parametrize("machine", USER)
@settings(max_examples=10, deadline=None)
@given(cpu=st.integers(0, 120), pid=st.integers(2, 99999), throttled=st.booleans())
def test_who_keeps_rcus_thread_from_its_cpu_is_named(
    machine: str, cpu: int, pid: int, throttled: bool
) -> None:
    log = (
        f"{'sched: RT throttling activated' if throttled else 'eth4: link becomes ready'}\n"
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n"
        "rcu: \tTasks blocked on level-0 rcu_node (CPUs 0-5): P14\n"
        "rcu: \t(detected by 1, t=5252 jiffies, g=421, q=920 ncpus=6)\n"
        "task:ksoftirqd/0     state:R  running task     stack:0     pid:14    ppid:2\n"
        "Call trace:\n __switch_to+0xec/0x150\n run_ksoftirqd+0x50/0x80\n"
        "rcu: rcu_preempt kthread starved for 5251 jiffies! g421 f0x0 RCU_GP_WAIT_FQS(5)"
        f" ->state=0x0 ->cpu={cpu}\n"
        "rcu: Stack dump where RCU GP kthread last ran:\n"
        f"NMI backtrace for cpu {cpu}\n"
        f"CPU: {cpu} PID: {pid} Comm: otterloop Not tainted 6.6.52-rt43 #1\n"
        f"Hardware name: Pond controller\n{USER[machine]}"
    )
    verdict = verdict_of(log)
    task = verdict.culprit.task
    assert verdict.culprit.function is None
    assert task is not None and (task.comm, task.pid, verdict.culprit.cpu) == (
        "otterloop",
        pid,
        cpu,
    )
    assert "in user mode" in verdict.summary
    assert ("real-time tasks" in verdict.summary) is throttled


def test_an_idle_cpu_is_no_hog() -> None:
    log = (
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n"
        "rcu: rcu_preempt kthread starved for 5251 jiffies! g421 f0x0 RCU_GP_WAIT_FQS(5)"
        " ->state=0x0 ->cpu=4\n"
        "NMI backtrace for cpu 4\nCPU: 4 PID: 0 Comm: swapper/4 Not tainted 6.6.52 #1\n"
    )
    task = verdict_of(log).culprit.task
    assert task is None or task.comm != "swapper/4" or "starves on" not in verdict_of(log).summary
