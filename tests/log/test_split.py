"""One event, one report: what cuts a report, what joins it, what only passes by."""

from __future__ import annotations

from postmortem.log.scan import reports_from_records, scan_bytes
from postmortem.log.split import MAX_AGE, Splitter
from postmortem.model.report import Record, Report

STACK = """\
Call Trace:
 schedule+0x9c/0x1b0
 mutex_lock+0x3b0/0x1130
 otter_dive+0xcc/0x220
 otter_write+0x10/0x20
"""


def reports(text: str, prefix: str = "[    3.000000] ") -> list[Report]:
    return scan_bytes("".join(f"{prefix}{line}\n" for line in text.splitlines()).encode()).reports


def in_the_middle(line: str) -> str:
    lines = STACK.splitlines(keepends=True)
    return "".join([*lines[:2], line + "\n", *lines[2:]])


HUNG = "INFO: task heron:77 blocked for more than 120 seconds.\n"


def test_a_line_of_another_cpu_does_not_cut_a_stack() -> None:
    passing = "unregister_netdevice: waiting for eth7 to become free. Usage count = 2"
    hung, line = reports(HUNG + in_the_middle(passing))
    assert (hung.function, hung.corrupted) == ("otter_dive", None)
    assert [frame.function for frame in line.frames] == []


def test_the_oom_killer_of_another_cpu_takes_no_frames() -> None:
    passing = "heron invoked oom-killer: gfp_mask=0x40(GFP_X), order=0, oom_score_adj=0"
    hung, oom = reports(HUNG + in_the_middle(passing))
    assert hung.function == "otter_dive"
    assert (str(oom.kind), oom.frames) == ("oom", ())


def test_an_oom_with_its_own_stack_keeps_it() -> None:
    text = (
        HUNG
        + STACK
        + "heron invoked oom-killer: gfp_mask=0x40(GFP_X), order=0, oom_score_adj=0\n"
        + "CPU: 1 PID: 9 Comm: heron Not tainted 6.1.0 #1\n"
        + "Call Trace:\n dump_header+0x1/0x2\n otter_read_ahead+0x1/0x9\n"
    )
    hung, oom = reports(text)
    assert [f.function for f in hung.frames][-1] == "otter_write"
    assert [f.function for f in oom.frames] == ["dump_header", "otter_read_ahead"]


def test_the_message_of_an_old_warning_belongs_to_it() -> None:
    (report,) = reports(
        "WARNING: CPU: 1 PID: 4 at lib/list_debug.c:62 __list_del_entry+0xf4/0x100()\n"
        "list_del corruption. next->prev should be f3215564, but was   (null)\n"
        "Call Trace:\n __list_del_entry+0xf4/0x100\n otter_exit+0x33/0x100 [otter]\n"
    )
    assert (report.function, str(report.kind)) == ("otter_exit", "list-corruption")


def test_the_message_of_an_old_warning_tells_its_kind() -> None:
    (report,) = reports(
        "WARNING: at net/sched/sch_generic.c:303 dev_watchdog+0x272/0x280()\n"
        "NETDEV WATCHDOG: eth7 (otternet): transmit queue 0 timed out\n"
        "Call Trace:\n dev_watchdog+0x1/0x2\n"
    )
    assert report.title.startswith("NETDEV WATCHDOG")


def test_a_check_that_warns_after_its_message_is_one_report() -> None:
    (report,) = reports(
        "BUG: Dentry 0000000012345678{i=0,n=.index}  still in use (1) [unmount of otterfs]\n"
        "------------[ cut here ]------------\n"
        "WARNING: CPU: 1 PID: 4 at fs/dcache.c:1616 umount_check+0x18d/0x1d0\n"
        "Call Trace:\n umount_check+0x1/0x2\n otter_kill_sb+0x1/0x2\n"
    )
    assert report.corrupted is None
    assert report.frames


def test_a_warning_of_its_own_after_a_whole_stack_is_another_report() -> None:
    text = HUNG + STACK + "------------[ cut here ]------------\n"
    text += "WARNING: CPU: 1 PID: 4 at fs/otter.c:16 otter_check+0x18d/0x1d0\n"
    assert len(reports(text)) == 2


def test_a_warning_with_a_smashed_pid_is_found() -> None:
    (report,) = reports(
        "WARNING: CPU: 5 PID: -534549613 at kernel/otter.c:2 otter_switch+0x230/0x23c\n"
        "CPU: 5 PID: -534549613 Comm: Xq Not tainted 4.17.0 #8\n"
        "Call Trace:\n otter_switch+0x230/0x23c\n"
    )
    assert report.task is not None
    assert report.task.pid == -534549613


def test_nothing_stays_open_for_ever() -> None:
    splitter = Splitter()
    splitter.feed(Record(1, "BUG: otter lost its stone", 1.0, None, "T1"))
    done = [
        section
        for number in range(2, MAX_AGE + 600)
        for section in splitter.feed(Record(number, "calm", 1.0, None, "T2"), phrase=False)
    ]
    assert [section.header.form.name for section in done] == ["bug"]
    assert splitter.idle


def test_records_give_the_same_as_bytes() -> None:
    lines = [Record(n, text, 3.0) for n, text in enumerate((HUNG + STACK).splitlines(), 1)]
    assert [r.title for r in reports_from_records(lines)] == [
        r.title for r in reports(HUNG + STACK)
    ]


def test_who_notices_a_hard_lockup_is_not_the_cpu_that_is_stuck() -> None:
    (report,) = reports(
        "Watchdog CPU:3 detected Hard LOCKUP other CPUS:9\n"
        "Watchdog CPU:9 Hard LOCKUP\n"
        "CPU: 9 PID: 0 Comm: swapper/9 Not tainted 6.4.0 #1\n"
        "NIP [c000000000222080] otter_spin+0x4f/0xe0\n" + STACK + "Watchdog CPU:9 became unstuck\n"
    )
    assert (str(report.kind), report.cpu) == ("hard-lockup", 9)


def test_a_panic_message_on_a_line_of_its_own() -> None:
    (report,) = reports(
        "Kernel panic - not syncing:\nheron: no more fish\n"
        "CPU: 0 PID: 1 Comm: heron Not tainted 5.10.0-rt #1\n" + STACK
    )
    assert report.title == "kernel panic: heron: no more fish"
    assert report.panic == "heron: no more fish"


def test_a_return_address_at_offset_0_names_nobody() -> None:
    text = "BUG: using smp_processor_id() in preemptible code: heron/7\nCall trace:\n"
    (report,) = reports(
        text + " dump_stack+0x18/0x24\n otter_dies+0x8/0x10\n otter_next+0x0/0x40\n"
    )
    assert [f.function for f in report.frames if f.reliable] == ["dump_stack", "otter_dies"]


OOPS = """\
BUG: kernel NULL pointer dereference, address: 0000000000000018
Oops: 0002 [#1] SMP NOPTI
CPU: 2 PID: 71 Comm: grebe Tainted: G           O       6.8.0 #1
RIP: 0010:grebe_dive+0x1a/0x40 [grebe]
Call Trace:
 <TASK>
 grebe_feed+0x10/0x20 [grebe]
 grebe_feed+0x10/0x20 [grebe]
 grebe_nest+0x44/0x80 [grebe]
 </TASK>
---[ end trace 0000000000000000 ]---
"""


def test_a_log_of_two_consoles_has_each_report_once() -> None:
    twice = "".join(f"{line}\n{line}\n" for line in OOPS.splitlines())
    (report,) = reports(twice)
    assert (report.function, report.corrupted) == ("grebe_dive", None)
    # What recursion printed twice by itself is there twice.
    names = [frame.function for frame in report.frames]
    assert names == ["grebe_feed", "grebe_feed", "grebe_nest"]


def test_what_comes_once_is_kept_whole() -> None:
    (report,) = reports(OOPS)
    assert [frame.function for frame in report.frames].count("grebe_feed") == 2


ASSERTED = """\
assertion failed: nest->eggs >= 0, in fs/btrfs/nest.c:311
------------[ cut here ]------------
kernel BUG at fs/btrfs/nest.c:311!
Oops: invalid opcode: 0000 [#1] SMP NOPTI
CPU: 2 UID: 0 PID: 71 Comm: grebe Not tainted 6.12.0 #1
RIP: 0010:btrfs_hatch.cold+0x1a/0x40 [btrfs]
Call Trace:
 btrfs_brood+0x10/0x20 [btrfs]
---[ end trace 0000000000000000 ]---
"""


def test_a_failed_assertion_and_its_bug_are_one_report() -> None:
    (report,) = reports(ASSERTED)
    assert (report.form, report.function, report.module) == ("fs-assert", "btrfs_hatch", "btrfs")
    assert report.detail["what"] == "nest->eggs >= 0"


def test_a_failed_assertion_is_not_its_helper_s_doing() -> None:
    (report,) = reports(
        "XFS: Assertion failed: eggs <= 9, file: fs/xfs/libxfs/xfs_nest.c, line: 24\n"
        "------------[ cut here ]------------\n"
        "WARNING: CPU: 4 PID: 811 at fs/xfs/xfs_message.c:104 assfail+0x46/0x4a [xfs]\n"
        "CPU: 4 PID: 811 Comm: grebe Not tainted 6.7.0 #1\n"
        "RIP: 0010:assfail+0x46/0x4a [xfs]\n"
        "Call Trace:\n"
        " xfs_nest_verify+0x11c/0x160 [xfs]\n"
        " xfs_buf_ioend+0x60/0x210 [xfs]\n"
        "---[ end trace 0000000000000000 ]---\n"
    )
    assert (report.function, report.detail["file"]) == (
        "xfs_nest_verify",
        "fs/xfs/libxfs/xfs_nest.c",
    )
