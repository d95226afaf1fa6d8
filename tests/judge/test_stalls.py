"""Victims of stalls, and stalls that nobody's code makes."""

from __future__ import annotations

from postmortem.judge.cpu_story import of_log
from postmortem.judge.stalls import told
from postmortem.log.standstill import standstill
from postmortem.model.findings import Confidence, Finding
from tests.judge.made import context, first, log


def stall(*lines: str, **more: float) -> Finding:
    _, report, finding = first(log(*lines, **more))
    return told(finding, report)


def lockup(*frames: str) -> list[str]:
    return [
        "watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [zorbd:700]",
        "CPU: 3 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        f"RIP: 0010:{frames[0]}",
        "Call Trace:",
        " <TASK>",
        *(f" {frame}" for frame in frames[1:]),
        " </TASK>",
    ]


def test_cpu_in_a_loop_is_to_blame() -> None:
    found = stall(*lockup("zorb_spin+0x5/0x20 [zorb]", "zorb_read+0x1/0x9 [zorb]"))
    assert found.culprit.function == "zorb_spin"
    assert found.confidence is Confidence.CERTAIN


def test_cpu_that_waits_for_an_answer_is_a_victim() -> None:
    frames = ("smp_call_function_many_cond+0x12a/0x3a0", "on_each_cpu_cond_mask+0x2b/0x40",
              "flush_tlb_mm_range+0x1/0x9", "zorb_unmap+0x1/0x9 [zorb]")  # fmt: skip
    found = stall(*lockup(*frames))
    assert (found.culprit.function, found.confidence) == (None, Confidence.POSSIBLE)
    assert "CPU 3 has waited for 26 s for another CPU to answer" in found.explanation
    assert "a TLB flush" in found.explanation


def test_cpu_that_spins_is_a_victim_until_the_holder_is_seen() -> None:
    frames = ("native_queued_spin_lock_slowpath+0x6a/0x2a0", "_raw_spin_lock+0x2e/0x40",
              "zorb_take+0x1/0x9 [zorb]")  # fmt: skip
    found = stall(*lockup(*frames))
    assert (found.culprit.function, found.confidence) == ("zorb_take", Confidence.POSSIBLE)


IDLE = [
    "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
    "rcu: 	2-...!: (0 ticks this GP) idle=5ac/0/0x0 softirq=12/12 fqs=0",
    "	(detected by 1, t=5252 jiffies, g=2425, q=73)",
    "Sending NMI from CPU 1 to CPUs 2:",
    "NMI backtrace for cpu 2 skipped: idling at native_safe_halt+0xe/0x20",
    "rcu: rcu_sched kthread starved for 5252 jiffies! g2425 f0x0 ->state=0x402 ->cpu=2",
]


def test_idle_cpu_runs_nobody_s_code() -> None:
    found = stall("tsc: Marking TSC unstable due to clocksource watchdog", *IDLE)
    assert found.culprit.function is None
    assert "CPU 2 idles" in found.explanation and "5252 jiffies" in found.explanation
    assert any("Marking TSC unstable" in item.what for item in found.evidence)


def test_rcu_names_the_cpu_whose_timers_do_not_run() -> None:
    found = stall(
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "rcu: 	(detected by 6, t=21002 jiffies, g=12009, q=3846 ncpus=8)",
        "rcu: rcu_preempt kthread timer wakeup didn't happen for 20999 jiffies! g12009",
        "rcu: 	Possible timer handling issue on cpu=4 timer-softirq=1303",
    )
    assert found.explanation.startswith("CPU 4 does not run its timers")
    assert found.culprit.function is None


def test_self_detected_stall_names_the_task_of_its_own_backtrace() -> None:
    found = stall(
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "rcu: 	1-....: (65131 ticks this GP) idle=7fa/1/0x4 softirq=46/46 fqs=30",
        "	(t=65131 jiffies g=674 q=25)",
        "NMI backtrace for cpu 1",
        "CPU: 1 PID: 353 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " zorb_wait+0xa1/0x160 [zorb]",
    )
    assert found.culprit.task is not None
    assert (found.culprit.task.pid, found.culprit.cpu) == (353, 1)


def test_watchdogs_that_speak_at_once_and_late_tell_of_a_standstill() -> None:
    late = [IDLE[0], IDLE[1], "	(detected by 1, t=900000 jiffies, g=2425, q=73)", *IDLE[3:5]]
    body = lockup("zorb_spin+0x5/0x20 [zorb]", "zorb_read+0x1/0x9 [zorb]")
    other = [body[0].replace("26s", "3600s"), *body[1:]]
    ctx = context(log(*late, *other))
    found = standstill(ctx.reports)
    assert sorted(found) == [report.line for report in ctx.reports]
    assert set(found.values()) == {3600.0}
    assert [report.consequence_of for report in ctx.reports] == [None, None]


def test_stall_right_after_its_timeout_is_no_standstill() -> None:
    body = lockup("zorb_spin+0x5/0x20 [zorb]", "zorb_read+0x1/0x9 [zorb]")
    assert standstill(context(log(*IDLE[:5], *body)).reports) == {}


def test_one_watchdog_that_is_late_tells_of_one_cpu() -> None:
    assert standstill(context(log(*idle_lockup(1))).reports) == {}


def idle_lockup(cpu: int, seconds: int = 311) -> list[str]:
    return [
        f"watchdog: BUG: soft lockup - CPU#{cpu} stuck for {seconds}s! [swapper/{cpu}:0]",
        f"CPU: {cpu} PID: 0 Comm: swapper/{cpu} Not tainted 6.9.0 #1",
        "RIP: 0010:native_safe_halt+0xb/0x10",
        "Call Trace:",
        " <TASK>",
        " default_idle_call+0x3e/0xd0",
        " do_idle+0x1fa/0x2a0",
        " </TASK>",
    ]


def test_idle_cpu_that_is_called_locked_up_runs_nobody_s_code() -> None:
    found = stall(*idle_lockup(1, seconds=26))
    assert found.culprit.function is None
    assert found.explanation.startswith("CPU 1 idled when its watchdog spoke")


def test_watchdogs_of_many_cpus_in_one_moment_tell_of_a_standstill() -> None:
    busy = [line.replace("26s", "311s") for line in lockup("zorb_spin+0x5/0x20 [zorb]")]
    reports = context(log(*idle_lockup(0), *busy)).reports
    assert set(standstill(reports)) == {report.line for report in reports}
    assert standstill(context(log(*idle_lockup(0, 26), *busy)).reports) == {}


def test_cpu_in_user_mode_is_not_in_a_loop_of_the_kernel() -> None:
    found = stall(
        "watchdog: BUG: soft lockup - CPU#3 stuck for 41s! [zorbsim:7771]",
        "CPU: 3 PID: 7771 Comm: zorbsim Not tainted 6.9.0 #1",
        "RIP: 0033:0x55d0c3a41207",
        "RSP: 002b:00007ffe1b1a7d80 EFLAGS: 00000246",
    )
    assert "CPU 3 was in user code of zorbsim (7771)" in found.explanation
    assert not any("cut short" in item.what for item in found.evidence)


def test_program_of_arm64_is_not_in_a_loop_of_the_kernel() -> None:
    found = stall(
        "watchdog: BUG: soft lockup - CPU#2 stuck for 23s! [brinsim:611]",
        "CPU: 2 PID: 611 Comm: brinsim Not tainted 6.9.0 #1",
        "pstate: 60001000 (nZCv daif -PAN -UAO -TCO -DIT +SSBS BTYPE=--)",
        "pc : 0000aaaad3b81a54",
        "lr : 0000ffff9d0c7c8c",
        "sp : 0000ffffe1b1a7d0",
    )
    assert found.title == "BUG: soft lockup with the CPU in user mode"
    assert (found.culprit.function, found.confidence) == (None, Confidence.POSSIBLE)


def test_what_is_said_of_a_lockup_is_its_cpu_task_and_last_time() -> None:
    text = lockup("zorb_spin+0x5/0x20 [zorb]", "zorb_read+0x1/0x9 [zorb]")
    again = [line.replace("26s", "54s").replace("zorb_read", "zorb_write") for line in text]
    found = next(iter(of_log(context(log(*text) + log(*again, start=128.0)))))
    assert found.explanation.startswith("CPU 3 has been in zorb_spin() of zorbd (700) for 54 s")
    assert any("after 54 s it had not let go" in item.what for item in found.evidence)


def test_a_lockup_long_after_is_another_one() -> None:
    text = lockup("zorb_spin+0x5/0x20 [zorb]", "zorb_read+0x1/0x9 [zorb]")
    later = lockup("zorb_spin+0x5/0x20 [zorb]", "zorb_write+0x1/0x9 [zorb]")
    first, second = of_log(context(log(*text) + log(*later, start=900.0)))
    assert "for 26 s" in first.explanation
    assert not any("had not let go" in item.what for item in first.evidence)
    assert second.log_line == len(text) + 1


def test_rcu_names_whom_it_waits_for() -> None:
    found = stall(
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "rcu: \t5-....: (10499 ticks this GP) idle=b14c/1/0x4000000000000000 softirq=8/8 fqs=5190",
        "rcu: \tTasks blocked on level-0 rcu_node (CPUs 0-7): P1234/1:b..l",
        "rcu: \t(detected by 0, t=10502 jiffies, g=301117, q=2210 ncpus=8)",
    )
    assert found.explanation == ("An RCU grace period can't end: it waits for CPU 5, task 1234.")


def test_cpu_that_was_asked_for_its_stack_is_why_the_other_waits() -> None:
    found = stall(
        *lockup("smp_call_function_many_cond+0x12a/0x3a0", "flush_tlb_mm_range+0x1/0x9"),
        "Sending NMI from CPU 3 to CPUs 5:",
        "NMI backtrace for cpu 5",
        "CPU: 5 PID: 88 Comm: quolld Not tainted 6.9.0 #1",
        "RIP: 0010:quoll_ring_wait+0x2e/0x60 [quoll]",
        "Call Trace:",
        " <TASK>",
        " quoll_kick+0x77/0xf0 [quoll]",
        " __x64_sys_ioctl+0x8d/0xd0",
        " </TASK>",
    )
    assert (found.culprit.function, found.culprit.cpu) == ("quoll_ring_wait", 5)
    assert found.confidence is Confidence.LIKELY
    assert "CPU 3 has waited for 26 s" in found.explanation


def test_a_hung_task_is_named_and_its_seconds_are_a_bound() -> None:
    _, _, finding = first(log("INFO: task zorbd:700 blocked for more than 122 seconds."))
    assert finding.explanation == "Task zorbd (700) has waited for more than 122 s without end."
