"""One oops behind the prefixes of many loggers, pastes and mailers is one and the same oops."""

from __future__ import annotations

import textwrap

import pytest

from postmortem.log.lines import prefixed
from postmortem.log.prefix import is_wrapped, learn
from postmortem.log.scan import scan_bytes
from postmortem.model.report import Report

OOPS = """\
BUG: kernel NULL pointer dereference, address: 0000000000000038
#PF: supervisor read access in kernel mode
#PF: error_code(0x0000) - not-present page
Oops: 0000 [#1] PREEMPT SMP NOPTI
CPU: 3 PID: 4411 Comm: heron Tainted: G           O       6.6.30-acme #1
Hardware name: Acme Rack, BIOS 1.0 01/01/2024
RIP: 0010:otter_commit+0x2a/0x90 [otterfs]
RSP: 0018:ffffb0a2c1d0be10 EFLAGS: 00010246
RAX: 0000000000000000 RBX: ffff9a1203f4c000 RCX: 0000000000000000
Call Trace:
 <TASK>
 otter_writeback+0x1f2/0x3c0 [otterfs]
 do_writepages+0xd1/0x1b0
 kthread+0xe4/0x110
 ret_from_fork+0x31/0x50
 </TASK>
Modules linked in: otterfs(O) nvme nvme_core
---[ end trace 0000000000000000 ]---
"""

PREFIXES = [
    "",
    "Apr 21 12:18:25 kasten kernel: ",
    "    Apr 21 12:18:25 kasten kernel: ",
    "июл 27 14:08:03 zetabox kernel: ",
    "7月 27 14:08:03 zetabox kernel: ",
    "juil. 27 14:08:03 zetabox kernel: ",
    "Mär 27 14:08:03 zetabox kernel: ",
    "kwi 05 14:08:03 zetabox kernel: ",
    "Thu 2025-10-30 14:08:03 UTC zetabox kernel: ",
    "Do 2025-10-30 14:08:03.123456 CET zetabox kernel: ",
    "1711548000.123456 zetabox kernel: ",
    "2025-10-30T14:08:03+0100 zetabox kernel[0]: ",
    "2025-10-30T14:08:03.123456+01:00 zetabox kernel: [   12.345678] ",
    "14:47:27 kernel: ",
    "zetabox kernel: ",
    "[Do Okt 30 14:08:03 2025] ",
    "[jeu. oct. 30 14:08:03 2025] ",
    "[Thu Oct 30 14:08:03 2025] ",
    "172.20.0.2: kern: warning: [2024-05-01T10:00:00.123456789Z]: ",
    ":",
    "05-01 10:00:00.123     0     0 W kernel  : ",
    "05-01 10:00:00.123  root     0     0 W kernel  : [   12.345678] ",
    "2024/05/01 10:00:00 ",
    "2024/05/01 10:00:00 [   12.345678] ",
    "otter-1  | ",
    "2024-05-01T10:00:00.123456789Z stdout F ",
    "[2024-05-01T10:00:00.123Z] ",
    "#14 211.4 ",
    "[10:00:00.123] ",
    "[SOL] 10:00:00> ",
    "        out: ",
    "    ",
    "\t",
    "> ",
    ">  ",
    ">     ",
    "> > ",
    ">> ",
    "> > [   12.345678] ",
    ">  [   12.345678] ",
    "| ",
    "# ",
    "  * ",
    "Mar 31 19:59:53 far.example [   12.345678] ",
]


def reports(text: str) -> list[Report]:
    return scan_bytes(text.encode()).reports


def facts(report: Report) -> tuple[object, ...]:
    return (
        *(report.title, report.function, report.module, report.corrupted, report.signature),
        *(report.task, report.modules, report.registers, report.release, report.taint),
        [frame.function for frame in report.frames],
    )


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_prefix_makes_no_difference(prefix: str) -> None:
    (plain,) = reports(OOPS)
    (found,) = reports("".join(f"{prefix}{line}\n" for line in OOPS.splitlines()))
    assert facts(found) == facts(plain)
    assert found.line == 1


def test_times_in_a_learnt_prefix_may_differ() -> None:
    lines = [f"node{n % 3}/10:00:{n:02} | {line}\n" for n, line in enumerate(OOPS.splitlines())]
    assert facts(reports("".join(lines))[0]) == facts(reports(OOPS)[0])


def test_netconsole_that_syslog_received() -> None:
    lines = [
        f"Mar 31 19:59:53 far.example 4,{n},{1531150013 + n},-;{line}\n"
        for n, line in enumerate(OOPS.splitlines())
    ]
    assert facts(reports("".join(lines))[0]) == facts(reports(OOPS)[0])


@pytest.mark.parametrize(
    "line",
    [
        "Mar 03 10:00:01 boxa kernel: usb 1-2: new device",
        "boxa kernel: usb 1-2: new device",
        "июл 27 14:08:03 boxa kernel: usb 1-2: new device",
        "[Thu Oct 19 02:11:44 2017] usb 1-2: new device",
        "[  +0.018390] usb 1-2: new device",
        "[Oct19 02:11] usb 1-2: new device",
        "<6>usb 1-2: new device",
    ],
)
def test_what_is_shown_as_a_kernel_message(line: str) -> None:
    assert prefixed(line)


@pytest.mark.parametrize(
    "line", ["usb 1-2: new device", "# kernel: the core", "dear kernel, hello"]
)
def test_what_is_not(line: str) -> None:
    assert not prefixed(line)


def test_nothing_is_learnt_from_messages_that_others_introduce() -> None:
    assert learn(["rcu: INFO: task a", "rcu: INFO: task b", *["x"] * 5]) is None


WRAPPED = textwrap.dedent(
    """\
    Oct 30 06:21:12 zetabox kernel: INFO: task heron/sdq1:577 blocked for
    more than 120 seconds.
    Oct 30 06:21:12 zetabox kernel:       Not tainted 6.6.30-zeta-amd64 #1
    Acme 6.6.30-1
    Oct 30 06:21:12 zetabox kernel: Call Trace:
    Oct 30 06:21:12 zetabox kernel:  schedule+0xaf/0xf0
    Oct 30 06:21:12 zetabox kernel:  otter_wait_on_log+0x457/0x8f0 [otterfs]
    Oct 30 06:21:13 zetabox kernel: INFO: task gull:1403 blocked for more
    than 120 seconds.
    Oct 30 06:21:13 zetabox kernel: Call Trace:
    Oct 30 06:21:13 zetabox kernel:  schedule+0xaf/0xf0
    Oct 30 06:21:13 zetabox kernel:  otter_fsync+0x53/0xb0 [otterfs]
    """
)


@pytest.mark.parametrize("quote", ["", "> "])
def test_lines_that_a_mailer_wrapped(quote: str) -> None:
    found = reports("".join(f"{quote}{line}\n" for line in WRAPPED.splitlines()))
    assert [(r.task and r.task.pid, r.function, r.line) for r in found] == [
        (577, "otter_wait_on_log", 1),
        (1403, "otter_fsync", 8),
    ]
    assert "for more than 120 seconds" in found[1].text[0]


def test_lines_without_a_prefix_are_not_always_wrapped_ones() -> None:
    console = [
        "[    1.000000] otter: hello",
        "login: ",
        "[    2.000000] otter: more",
        "$ ls",
        "a  b",
    ]
    assert not is_wrapped(console * 3)


def test_colons_before_the_lines_of_a_report_of_kfence() -> None:
    lines = [
        "BUG: KFENCE: use-after-free read in otter_pending+0x3c/0xb0 [otternet]",
        "",
        "Use-after-free read at 0x000000002f1b5c1d (in kfence-#112):",
        " otter_pending+0x3c/0xb0 [otternet]",
        " __napi_poll+0x4c/0x2a0",
        "",
        "freed by task 3512 on cpu 9 at 1423.887094s (0.000212s ago):",
        " otter_release+0x190/0x230 [otternet]",
        "",
        "CPU: 4 UID: 0 PID: 0 Comm: swapper/4 Not tainted 6.12.0-acme #1",
        "Hardware name: Acme Rack",
    ]
    (report,) = reports("".join(f":{line}\n" for line in lines))
    assert (report.function, report.cpu) == ("otter_pending", 4)
    assert ["otter_release"] in [[f.function for f in stack.frames] for stack in report.stacks]
