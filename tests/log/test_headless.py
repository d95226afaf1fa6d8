"""Stacks that no header announces: printed by a driver, cut off, or made by another program."""

from __future__ import annotations

from postmortem.log.decode import decode
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Kind
from postmortem.model.report import Report

CPU = "CPU: 1 PID: 912 Comm: heron Tainted: G           O       6.1.90-acme #1\n"
STACK = """\
Call Trace:
 <TASK>
 dump_stack_lvl+0x44/0x5c
 otter_fatal+0x31/0x60 [otter]
 otter_work+0x220/0x300 [otter]
 process_one_work+0x1c4/0x380
 kthread+0xd7/0x100
 </TASK>
"""
CALM = "usb 1-1: new device\n"


def reports(text: str) -> list[Report]:
    return scan_bytes("".join(f"[   77.200001] {x}\n" for x in text.splitlines()).encode()).reports


def test_a_stack_that_a_driver_printed_comes_with_the_line_before_it() -> None:
    said = "otter 0000:03:00.0: state machine inconsistent (7 != 3)\n"
    (report,) = reports(CALM * 3 + said + CPU + STACK + CALM)
    assert (report.kind, report.function, report.module) == (
        Kind.STACK_TRACE,
        "otter_fatal",
        "otter",
    )
    assert report.task is not None
    assert (report.task.comm, report.text[0], report.line) == ("heron", said.strip(), 4)
    assert report.corrupted is None


TAIL = """\
 otter_flush+0x3b/0x210 [otter]
 otter_writeback+0x1f2/0x3c0 [otter]
 kthread+0xe4/0x110
 </TASK>
Modules linked in: otter(O)
CR2: {cr2}
---[ end trace 0000000000000000 ]---
RIP: 0010:otter_commit+0x2a/0x90 [otter]
RSP: 0018:ffffb0a2c1d0be10 EFLAGS: 00010246
"""


def test_an_oops_whose_head_scrolled_away() -> None:
    (report,) = reports(TAIL.format(cr2="0000000000000038"))
    assert (report.kind, report.function, report.fault_address) == (
        Kind.NULL_DEREFERENCE,
        "otter_commit",
        0x38,
    )
    assert report.corrupted == "its beginning is missing from the log"


def test_its_address_tells_what_it_was() -> None:
    (report,) = reports(TAIL.format(cr2="ffffc90000dead00"))
    assert report.kind is Kind.BAD_POINTER


def test_an_oops_whose_head_was_dropped_in_the_middle_of_a_log() -> None:
    (report,) = reports(CALM * 200 + TAIL.format(cr2="0000000000000038") + CALM * 3)
    assert (report.function, report.line) == ("otter_commit", 201)


def test_stacks_that_somebody_asked_for_are_no_reports() -> None:
    listed = "task:heron state:D stack:0 pid:912 ppid:2\n" + STACK
    assert reports("sysrq: Show Blocked State\n" + listed * 3) == []
    assert reports("NMI backtrace for cpu 1\n" + CPU + STACK) == []
    registers = "".join(f"R{n:02}: 0000000000000000\n" for n in range(8, 16)) + "RDX: 1 RSI: 0\n"
    assert reports("NMI backtrace for cpu 1\n" + CPU + registers * 2 + STACK) == []
    assert reports("heron           S ffff8800b901f990     0   912      1\n" + STACK) == []


def test_a_stack_whose_line_was_lost_goes_on_with_the_listing_before_it() -> None:
    frames = "".join(f" otter_{n}+0x10/0x20 [otter]\n" for n in range(20))
    listed = "task:heron state:D stack:0 pid:912 ppid:2\nCall Trace:\n <TASK>\n" + frames
    assert reports(listed + STACK + " </TASK>\n" + STACK) == []
    (report,) = reports(listed + CALM + "otter: state 7 is wrong\n" + CPU + STACK)
    assert report.function == "otter_fatal"


def test_a_stack_of_machinery_alone_is_no_report() -> None:
    assert reports("otter: hm\nCall Trace:\n dump_stack+0x1/0x2\n") == []


def test_a_title_without_frames_is_no_report() -> None:
    assert reports("otter: now comes the\nCall Trace:\nand nothing more\n") == []


BT = """\
PID: 2311     TASK: ffff9a1203f4c000  CPU: 3    COMMAND: "heron"
 #0 [ffffb0a2c1d0bb28] machine_kexec at ffffffffa3e6d861
 #1 [ffffb0a2c1d0bc58] oops_end at ffffffffa3e2c2b1
 #2 [ffffb0a2c1d0bc78] page_fault_oops at ffffffffa3e7a9d3
 #3 [ffffb0a2c1d0bd50] asm_exc_page_fault at ffffffffa4c00b66
    [exception RIP: otter_commit+42]
    RIP: ffffffffc0a5b02a  RSP: ffffb0a2c1d0be00  RFLAGS: 00010246
    RAX: 0000000000000000  RBX: ffff9a1203f4c000  RCX: 0000000000000000
 #4 [ffffb0a2c1d0be18] otter_writeback at ffffffffc0a5c1f2 [otter]
 #5 [ffffb0a2c1d0bee8] kthread at ffffffffa3ee4d1b
"""
SLEEPER = """\

PID: 77       TASK: ffff9a1203f4d000  CPU: 0    COMMAND: "gull"
 #0 [ffffb0a2c1d1bb28] __schedule at ffffffffa3e6d861
 #1 [ffffb0a2c1d1bc58] schedule at ffffffffa3e2c2b1
 #2 [ffffb0a2c1d1bc78] otter_wait at ffffffffc0a5c3d3 [otter]
"""


def test_bt_of_crash() -> None:
    (report,) = scan_bytes(BT.encode()).reports
    assert (report.kind, report.function) == (Kind.BAD_POINTER, "otter_commit")
    assert report.task is not None
    assert (report.task.pid, report.task.comm, report.cpu) == (2311, "heron", 3)
    assert report.pc is not None
    assert (report.pc.function, report.pc.offset) == ("otter_commit", 42)
    assert [frame.function for frame in report.frames] == ["otter_writeback", "kthread"]
    assert report.frames[0].module == "otter"
    assert report.registers["rbx"] == 0xFFFF9A1203F4C000


def test_foreach_bt_of_crash() -> None:
    found = scan_bytes((BT + SLEEPER).encode()).reports
    assert [report.task and report.task.pid for report in found] == [2311, 77]
    assert [frame.function for frame in found[1].frames] == ["__schedule", "schedule", "otter_wait"]


def test_decode_never_joins_stacks_of_two_tasks() -> None:
    stacks = decode((BT + SLEEPER).encode()).stacks
    assert not any({"kthread", "otter_wait"} <= {f.function for f in fs} for _, fs in stacks)


def test_stacks_of_drgn_and_gdb() -> None:
    drgn = "#0  context_switch (./kernel/sched/core.c:5000:2)\n#1  otter_wait (fs/otter.c:12:3)\n"
    gdb = "#0  0xffffffff81234567 in otter_poke (o=0) at fs/otter.c:12\n#1  otter_read () at a.c:3"
    for text, names in (
        (drgn, ["context_switch", "otter_wait"]),
        (gdb, ["otter_poke", "otter_read"]),
    ):
        ((_, frames),) = decode(text.encode()).stacks
        assert [frame.function for frame in frames] == names
        assert frames[0].line in (5000, 12)


def test_tail_of_an_arm_stack_and_a_report_behind_it() -> None:
    text = """\
[<802d5dcc>] (otter_fsync) from [<8029d758>] (filp_close+0x2c/0x80)
[<8029d758>] (filp_close) from [<80107ce0>] (ret_fast_syscall+0x0/0x4c)
usb 1-1: reset
INFO: task heron:249 blocked for more than 120 seconds.
heron         D    0   249  24912 0x00000000
[<80a87848>] (__schedule) from [<80a88018>] (schedule+0x3c/0xa0)
[<80a88018>] (schedule) from [<80230be4>] (otter_wait_page+0x110/0x15c)
"""
    first, second = reports(text)
    assert [f.function for f in first.frames] == ["otter_fsync", "filp_close", "ret_fast_syscall"]
    assert [f.function for f in second.frames] == ["__schedule", "schedule", "otter_wait_page"]


def test_a_stack_of_crash_that_panicked_names_where_it_faulted() -> None:
    text = (
        'PID: 24       TASK: ffff0001c3a91b80  CPU: 3    COMMAND: "stoatd"\n'
        " #0 [ffff80000c0abc10] machine_kexec at ffffb21a8a042d90\n"
        " #1 [ffff80000c0abc60] __crash_kexec at ffffb21a8a1a5f84\n"
        " #2 [ffff80000c0abdf0] panic at ffffb21a8ac2e0a8\n"
        " #3 [ffff80000c0abed0] die at ffffb21a8a02d0b4\n"
        " #4 [ffff80000c0abf10] __do_kernel_fault at ffffb21a8a04b7a8\n"
        " #5 [ffff80000c0abf40] do_page_fault at ffffb21a8ac3b8f4\n"
        " #6 [ffff80000c0abfe0] el1h_64_sync at ffffb21a8a011254\n"
        " #7 [ffff80000c0ac120] stoat_commit at ffffb21a2c0a1234 [stoat]\n"
        " #8 [ffff80000c0ac160] stoat_ioctl at ffffb21a2c0a1890 [stoat]\n"
    )
    (report,) = scan_bytes(text.encode()).reports
    assert (report.function, report.module) == ("stoat_commit", "stoat")
    assert "double fault" not in report.title


GDB = """Remote debugging using :1234
(gdb) bt
#0  0xffffffff80004f2e in panic_smp_self_stop () at kernel/panic.c:210
#1  0xffffffff80a1c06e in panic (fmt=0xffffffff80e3c2f0 "Fatal exception") at kernel/panic.c:330
#2  0xffffffff80006f0c in die (regs=0xff20000000013b40) at arch/riscv/kernel/traps.c:101
#3  0xffffffff80a24d20 in do_page_fault (regs=0xff20000000013b40) at arch/riscv/mm/fault.c:372
#4  0xffffffff80a30a2c in handle_exception () at arch/riscv/kernel/entry.S:110
#5  0xffffffff806f1a52 in otter_rx_one (ring=0xff60000081a3c080, desc=0x0) at drivers/otter/rx.c:88
#6  0xffffffff806f1d0c in otter_poll (budget=64) at drivers/otter/rx.c:260
#7  net_rx_action () at net/core/dev.c:7605
(gdb) quit
"""


def test_a_session_of_gdb_is_a_stack_behind_whatever_it_said_first() -> None:
    (report,) = scan_bytes(GDB.encode()).reports
    assert (report.function, len(report.frames)) == ("otter_rx_one", 8)


def test_a_numbered_list_is_no_stack() -> None:
    assert not scan_bytes(b"todo:\n#0  buy milk\n#1  walk the dog\n").reports


def test_a_stack_of_drgn_is_of_the_task_that_was_asked_for() -> None:
    text = """\
>>> t = panic_task()
>>> t.comm, t.pid
((char [16])"kworker/u128:3", (pid_t)40877)
>>> prog.stack_trace(t)
#0  crash_setup_regs (./arch/x86/include/asm/kexec.h:111:15)
#1  __crash_kexec (kernel/kexec_core.c:1050:4)
#2  oops_end (arch/x86/kernel/dumpstack.c:371:3)
#3  page_fault_oops (arch/x86/mm/fault.c:708:2)
#4  asm_exc_page_fault+0x26/0x2b (./arch/x86/include/asm/idtentry.h:570)
#5  otter_complete (drivers/otter/main.c:118:32)
#6  otter_work (drivers/otter/main.c:300:2)
"""
    (report,) = scan_bytes(text.encode()).reports
    assert (report.kind, report.function) == (Kind.BAD_POINTER, "otter_complete")
    assert report.task is not None
    assert (report.task.comm, report.task.pid) == ("kworker/u128:3", 40877)
    (nobody,) = scan_bytes(text.partition("\n>>> prog")[2].encode()).reports
    assert nobody.task is None


def test_an_oops_of_arm_whose_head_scrolled_away_behind_a_dump_of_the_stack() -> None:
    (report,) = reports(
        """\
Process kworker/u4:2 (pid: 143, stack limit = 0x8f3b1c9d)
Stack: (0xd9b7fe48 to 0xd9b80000)
fe40:                   d9b7fe74 d9b7fe58 bf12a3d4 bf12a0f0 db1c8e40 d8423a80
fe60: d9b7e000 00000000 d9b7fea4 d9b7fe78 bf12a3d4 bf12a0f0 d8423b1c db1c8e40
[<bf12a11c>] (otter_slots [otter]) from [<bf12a3d4>] (otter_work+0x124/0x2e0 [otter])
[<bf12a3d4>] (otter_work [otter]) from [<c0149a1c>] (process_one_work+0x1d4/0x4f8)
[<c0149a1c>] (process_one_work) from [<c0149d98>] (worker_thread+0x58/0x570)
Exception stack(0xd9b7ffb0 to 0xd9b7fff8)
ffa0:                                     00000000 00000000 00000000 00000000
Code: e5943008 e3530000 0a000012 e5933010 (e5932004)
---[ end trace 5d3e0c1f88a2b7e4 ]---
"""
        + CALM
    )
    assert (report.function, report.module) == ("otter_slots", "otter")
    assert report.task is not None
    assert (report.task.comm, report.task.pid, report.line) == ("kworker/u4:2", 143, 1)


def test_its_task_is_named_where_it_ended() -> None:
    end = "note: kworker/7:2[2218] exited with irqs disabled\n"
    (report,) = reports(TAIL.format(cr2="0000000000000038") + end)
    assert report.task is not None
    assert (report.task.comm, report.task.pid) == ("kworker/7:2", 2218)


def test_a_cut_oops_of_arm64_is_what_the_kernel_panicked_for() -> None:
    stack, panic = reports(
        """\
x11: 0000000000000040 x10: ffff0000c3d5ac60 x9 : ffffb21a0c1d0a3c
x2 : 0000000000000003 x1 : 0000000000000000 x0 : ffff0000c6c81000
Call trace:
 otter_drop+0x2c/0x74 [otter]
 otter_reaper+0x7c/0xd8 [otter]
 kthread+0x114/0x128
 ret_from_fork+0x10/0x20
Code: d503245f a9be7bfd 910003fd f9400c01 (f9401421)
---[ end trace 0000000000000000 ]---
Kernel panic - not syncing: Oops: Fatal exception
"""
    )
    assert (stack.function, stack.line, panic.consequence_of) == ("otter_drop", 1, 0)
    assert stack.corrupted is not None
    assert "beginning is missing" in stack.corrupted
