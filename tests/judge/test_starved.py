"""Who runs where RCU's own thread should."""

from __future__ import annotations

import pytest

from tests.judge.test_victims import verdict_of


def stall(state: str, cpu: int = 1, stalled: str = "") -> str:
    return "\n".join([
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        *([stalled] if stalled else []),
        "rcu: \t(detected by 0, t=5254 jiffies, g=81, q=33 ncpus=4)",
        f"rcu: rcu_preempt kthread starved for 5240 jiffies! g81 f0x2 RCU_GP_WAIT_FQS(5)"
        f" ->state={state} ->cpu={cpu}",
        "rcu: RCU grace-period kthread stack dump:",
        "task:rcu_preempt     state:R stack:0     pid:15    ppid:2      flags:0x00000008",
        "Call Trace:",
        " __schedule+0x2f8/0x9a0",
        " rcu_gp_fqs_loop+0x12c/0x660",
        " rcu_gp_kthread+0x1a8/0x1f8",
        "rcu: Stack dump where RCU GP kthread last ran:",
        f"NMI backtrace for cpu {cpu}",
        f"CPU: {cpu} PID: 431 Comm: gannet_rt Tainted: G           O       6.6.9-rt #1",
        "RIP: 0010:puffin_poll+0x9c/0x160 [puffin]",
        "Call Trace:",
        " puffin_ioctl+0x48/0x78 [puffin]",
        " __x64_sys_ioctl+0x84/0xd0",
    ])  # fmt: skip


def test_a_task_in_a_drivers_loop_is_named_with_its_cpu() -> None:
    verdict = verdict_of(stall("0x0"))
    task = verdict.culprit.task
    assert task is not None and (task.comm, task.pid, verdict.culprit.cpu) == ("gannet_rt", 431, 1)
    assert verdict.culprit.module == "puffin"
    assert "got no CPU for 5240 jiffies" in verdict.summary and "[puffin]" in verdict.summary


def test_a_thread_that_sleeps_was_not_woken() -> None:
    said = verdict_of(stall("0x402")).summary
    assert "sleeps and was not woken" in said and "got no CPU" not in said


@pytest.mark.parametrize("state", ["0x0", "0x1"])
def test_real_time_is_said_only_where_the_scheduler_said_it(state: str) -> None:
    assert "real-time tasks" not in verdict_of(stall(state)).summary
