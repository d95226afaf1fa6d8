"""Reports as kernels of 2025 print them, and as mail, replays and two CPUs at once mangle them."""

from __future__ import annotations

import quopri

import pytest

from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Kind, TaskRef
from postmortem.model.report import Report

OOPS = """\
BUG: kernel NULL pointer dereference, address: 0000000000000028
#PF: supervisor write access in kernel mode
Oops: Oops: 0002 [#1] SMP NOPTI
CPU: 3 UID: 0 PID: 4411 Comm: quolld Tainted: G           O        6.17.0 #1 PREEMPT(lazy)
RIP: 0010:quoll_push+0x1e/0x90 [quoll]
Code: 0f 1f 44 00 00 53 48 89 fb 48 8b 47 08 <48> 89 50 28 5b c3
RAX: 0000000000000000 RBX: ffff8881020a0000 RCX: 0000000000000000
Call Trace:
 <TASK>
 quoll_ioctl+0x31/0x70 [quoll]
 __x64_sys_ioctl+0x94/0xd0
 </TASK>
Modules linked in: quoll(O) quux(E) [last unloaded: zap]
CR2: 0000000000000028
---[ end trace 0000000000000000 ]---
"""


def stamped(text: str, start: float = 100.0) -> str:
    lines = text.splitlines()
    return "".join(f"[{start + n / 1e4:12.6f}] {line}\n" for n, line in enumerate(lines))


def reports(text: str) -> list[Report]:
    return scan_bytes(text.encode()).reports


def whole(report: Report) -> None:
    assert (report.kind, report.function, report.module) == (
        Kind.NULL_DEREFERENCE,
        "quoll_push",
        "quoll",
    )
    assert [frame.function for frame in report.frames][:1] == ["quoll_ioctl"]
    assert (report.fault_address, report.modules) == (0x28, ("quoll", "quux"))
    assert report.corrupted is None


@pytest.mark.parametrize(
    ("frame", "listed"),
    [
        ("[quoll 3f2a1b4c5d6e7f80910a2b3c4d5e6f7081920a3b]", "quoll(O) 1b2c3d4f quux(E) 8e9fa0b1"),
        ("[quoll(O) 3f2a1b4c]", "quoll(O,0x1b2c3d4f) quux(E,0x8e9fa0b1)"),
    ],
)
def test_checksums_of_modules_are_no_modules(frame: str, listed: str) -> None:
    text = OOPS.replace("[quoll]", frame).replace("quoll(O) quux(E)", listed)
    (report,) = reports(stamped(text))
    whole(report)


def test_a_console_that_comes_later_gets_the_log_again() -> None:
    said = stamped(OOPS)
    (report,) = reports(said + "[  101.000000] printk: console [ttyS1] enabled\n" + said)
    whole(report)
    assert report.count == 1
    (twice,) = reports(said + stamped(OOPS, 300.0))
    assert twice.count == 2


def test_two_consoles_write_every_line_twice() -> None:
    (report,) = reports("".join(line + "\n" + line + "\n" for line in stamped(OOPS).splitlines()))
    whole(report)


@pytest.mark.parametrize("words", ["", "Hello, that is what our box said last night:\n\n"])
def test_mail_is_decoded(words: str) -> None:
    text = words + stamped(OOPS)
    (report,) = reports(quopri.encodestring(text.encode()).decode())
    whole(report)
    (line,) = (n for n, line in enumerate(quopri_lines(text), 1) if "BUG: kernel NULL" in line)
    assert report.line == line


def quopri_lines(text: str) -> list[str]:
    return quopri.encodestring(text.encode()).decode().splitlines()


def test_a_log_with_equal_signs_is_not_decoded() -> None:
    text = "[    1.000000] quoll: mode=3D shape=20\n[    1.100000] quoll: a=b\n" + stamped(OOPS)
    (report,) = reports(text)
    whole(report)


def test_a_newline_in_a_name_splits_the_line_of_the_cpu() -> None:
    (report,) = reports(stamped(OOPS.replace("Comm: quolld Tainted", "Comm: quol\nld Tainted")))
    assert report.task == TaskRef(4411, "quol")
    assert report.function == "quoll_push"


def test_rcu_tasks_names_the_task_that_does_not_let_go() -> None:
    (report,) = reports(
        stamped(
            "INFO: rcu_tasks detected stalls on tasks:\n"
            "00000000b1f2a7c3: .. nvcsw: 12/12 holdout: 1 idle_cpu: -1/3\n"
            "task:quolld          state:R  running task     stack:13320 pid:4411 ppid:1\n"
            "Call Trace:\n __schedule+0x3fd/0xb60\n quoll_poll_ring+0x88/0x1b0 [quoll]\n"
            " quoll_ioctl+0x31/0x70 [quoll]\n __x64_sys_ioctl+0x94/0xd0\n"
        )
    )
    assert (report.kind, report.function) == (Kind.RCU_STALL, "quoll_poll_ring")
    assert report.task == TaskRef(4411, "quolld")


def test_a_wait_for_a_disk_and_a_blocker_with_colons_in_its_name() -> None:
    (report,) = reports(
        stamped(
            "INFO: task quolld:4411 blocked in I/O wait for more than 122 seconds.\n"
            "task:quolld          state:D stack:0     pid:4411  tgid:4411  ppid:1\n"
            "Call Trace:\n __schedule+0x3fd/0xb60\n io_schedule+0x46/0x70\n"
            " quollfs_read_folio+0x31/0x70 [quollfs]\n"
            "INFO: task quolld:4411 is blocked on a mutex likely owned by task kworker/2:1+q:77.\n"
        )
    )
    assert (report.function, report.task) == ("quollfs_read_folio", TaskRef(4411, "quolld"))
    assert report.detail["blocker"].rpartition(":")[2] == "77"


def test_two_cpus_that_print_in_turn_are_told_apart() -> None:
    other = OOPS.replace("quoll", "wombat").replace("CPU: 3", "CPU: 1").replace("4411", "5522")
    other = other.replace("0028", "0070")
    mixed = [
        line
        for both in zip(
            stamped(OOPS).splitlines(), stamped(other, 100.00003).splitlines(), strict=True
        )
        for line in both
    ]
    first, second = reports("\n".join(mixed) + "\n")
    assert (first.function, first.cpu, first.fault_address) == ("quoll_push", 3, 0x28)
    assert (second.function, second.cpu, second.fault_address) == ("wombat_push", 1, 0x70)
    assert first.frames == second.frames == ()
    assert "two CPUs" in (first.corrupted or "") and "two CPUs" in (second.corrupted or "")


def test_a_double_fault_without_a_stack_names_the_place_and_no_culprit() -> None:
    (report,) = reports(
        stamped(
            "PANIC: double fault, error_code: 0x0\n"
            "CPU: 1 PID: 7 Comm: quolld Not tainted 5.4.0 #1\n"
            "RIP: 0010:quoll_lookup+0x22/0x3e0\n"
            "RSP: 0018:ffff888216f8bfd8 EFLAGS: 00010296\n"
            "CR2: ffff888216f8bfc8 CR3: 00000002080a2000 CR4: 00000000001426e0\n"
            "Call Trace:\n"
        )
    )
    assert (report.kind, report.function) == (Kind.STACK_OVERFLOW, None)
    assert report.title == "PANIC: double fault in quoll_lookup"


def test_a_stack_pointer_of_user_space_did_not_run_out() -> None:
    (report,) = reports(
        stamped(
            "PANIC: double fault, error_code: 0x0\n"
            "CPU: 1 PID: 7 Comm: quolld Not tainted 5.4.0 #1\n"
            "RIP: 0010:quoll_compat+0x22/0x3e0\n"
            "RSP: 0000:0000000000277d78 EFLAGS: 00010283\n"
            "CR2: 0000000000277d68 CR3: 00000002080a2000 CR4: 00000000001426e0\n"
            "Call Trace:\n"
        )
    )
    assert (report.kind, report.function) == (Kind.PANIC, "quoll_compat")


def test_the_function_of_a_work_stands_in_the_stack_where_a_tail_call_took_it_off() -> None:
    (report,) = reports(
        stamped(
            "BUG: kernel NULL pointer dereference, address: 0000000000000028\n"
            "CPU: 3 PID: 44 Comm: kworker/3:1 Not tainted 6.17.0 #1\n"
            "Workqueue: events quoll_work [quoll]\n"
            "RIP: 0010:quoll_push+0x1e/0x90 [quoll]\n"
            "Call Trace:\n <TASK>\n process_one_work+0x18e/0x350\n worker_thread+0x2eb/0x410\n"
            " </TASK>\n"
        )
    )
    names = [frame.function for frame in report.frames]
    assert names == ["quoll_work", "process_one_work", "worker_thread"]
