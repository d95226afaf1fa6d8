"""Cause and consequence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.log.link import link
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Kind, TaskRef
from postmortem.model.report import Report


def report(kind: Kind, time: float, title: str = "", pid: int = 1) -> Report:
    return Report(
        kind, title or str(kind), int(time), int(time), (), time=time, task=TaskRef(pid, "t")
    )


def panic(time: float, message: str, kind: Kind = Kind.PANIC) -> Report:
    return replace(report(kind, time, f"kernel panic: {message}"), panic=message)


@pytest.mark.parametrize(("first", "second"), [
    (report(Kind.NULL_DEREFERENCE, 1), panic(2, "Fatal exception")),
    (report(Kind.WARNING, 1), panic(2, "panic_on_warn set")),
    (report(Kind.HUNG_TASK, 1), panic(2, "hung_task: blocked tasks")),
    (report(Kind.SOFT_LOCKUP, 1), panic(2, "softlockup: hung tasks")),
    (report(Kind.RCU_STALL, 1), panic(2, "RCU Stall")),
    (report(Kind.OOM, 1), panic(2, "System is deadlocked on memory")),
    (report(Kind.MACHINE_CHECK, 1), panic(2, "Fatal machine check")),
    (report(Kind.BUG, 1), report(Kind.RCU_STALL, 30, pid=9)),
    (report(Kind.BUG, 1), report(Kind.SOFT_LOCKUP, 30, pid=9)),
    (report(Kind.BUG, 1), report(Kind.NULL_DEREFERENCE, 2)),
])  # fmt: skip
def test_consequence(first: Report, second: Report) -> None:
    assert link([first, second])[1].consequence_of == 0


@pytest.mark.parametrize(("first", "second"), [
    (report(Kind.WARNING, 1), panic(2, "Fatal exception in interrupt")),
    (report(Kind.WARNING, 1), report(Kind.BUG, 2)),
    (report(Kind.BUG, 1), report(Kind.RCU_STALL, 1000)),
    (report(Kind.BUG, 1), report(Kind.NULL_DEREFERENCE, 2, pid=5)),
    (report(Kind.HUNG_TASK, 1), report(Kind.HUNG_TASK, 2, pid=5)),
])  # fmt: skip
def test_independent(first: Report, second: Report) -> None:
    assert link([first, second])[1].consequence_of is None


def test_a_chain_leads_to_its_first_link() -> None:
    chain = [
        report(Kind.BUG, 1),
        report(Kind.SOFT_LOCKUP, 20, pid=3),
        panic(21, "softlockup: hung tasks"),
    ]
    assert [r.consequence_of for r in link(chain)] == [None, 0, 0]


def test_hung_task_panic_leads_to_the_first_that_hung() -> None:
    chain = [
        report(Kind.HUNG_TASK, 1),
        report(Kind.HUNG_TASK, 2, pid=2),
        panic(3, "hung_task: blocked tasks"),
    ]
    assert link(chain)[2].consequence_of == 0


def _causes(*lines: str) -> list[tuple[str, int | None]]:
    reports = scan_bytes("".join(f"{line}\n" for line in lines).encode()).reports
    return [(one.form, one.consequence_of) for one in reports]


def test_disks_of_a_session_that_was_given_up_fail_because_of_it() -> None:
    assert _causes(
        "[  700.000001]  session3: session recovery timed out after 120 secs",
        "[  700.000100] sd 7:0:0:1: rejecting I/O to offline device",
        "[  700.000300] device-mapper: multipath: 253:4: Failing path 8:160.",
    )[:2] == [("iscsi-lost", None), ("scsi-rejecting", 0)]


def test_a_full_pool_is_why_writes_of_its_volumes_are_lost() -> None:
    full = "device-mapper: thin: 253:7: switching pool to out-of-data-space (error IO) mode"
    lost = "Buffer I/O error on dev {}, logical block 11013, lost async page write"
    first = f"[  700.000001] {full}"
    assert _causes(first, "[  700.100000] " + lost.format("dm-9"))[1] == ("lost-write", 0)
    assert _causes(first, "[  700.100000] " + lost.format("sdq"))[1] == ("lost-write", None)


def test_a_task_that_hangs_in_the_driver_of_a_lost_gpu() -> None:
    reports = _causes(
        "[  700.000001] NVRM: GPU 0000:c1:00.0: GPU has fallen off the bus.",
        "[  900.000001] INFO: task otter:88 blocked for more than 120 seconds.",
        "[  900.000002] Call Trace:",
        "[  900.000003]  __schedule+0x24e/0x590",
        "[  900.000004]  down+0x48/0x70",
        "[  900.000005]  nvidia_close+0x9f/0x2f0 [nvidia]",
        "[  900.000006]  __fput+0x9c/0x280",
    )
    assert reports[1][1] == 0


def test_a_card_that_dies_takes_its_file_system_and_init_with_it() -> None:
    reports = _causes(
        "[  700.000001] acme-mmc 4020000.mmc: data error, sending stop command",
        "[  701.000001] mmcblk2: error -110 sending status command, aborting",
        "[  701.000002] I/O error, dev mmcblk2, sector 812 op 0x1:(WRITE) flags 0x800 phys_seg 1",
        "[  701.000003] EXT4-fs (mmcblk2p1): Remounting filesystem read-only",
        "[  850.000001] INFO: task init:1 blocked for more than 120 seconds.",
        "[  850.000002] Call Trace:",
        "[  850.000003]  __schedule+0x24e/0x590",
        "[  850.000004]  io_schedule+0x14/0x28",
        "[  850.000005]  bit_wait_io+0x10/0x6c",
        "[  850.000006]  __wait_on_bit+0x98/0xcc",
        "[  850.000007]  ext4_readdir+0x41c/0x9a0",
    )
    assert [cause for _form, cause in reports] == [None, 0, 0, 0, 0]


def test_a_lone_word_of_an_adapter_hours_before_explains_nothing() -> None:
    reports = _causes(
        "[  100.000001] mpt3sas_cm0: log_info(0x31080000): originator(PL), code(0x08)",
        "[ 9000.000001] mpt3sas_cm0: fault_state(0x2622)!",
    )
    assert reports == [("hba-log", None), ("hba-fault", None)]


def test_a_bond_loses_the_link_of_an_adapter_whose_firmware_died() -> None:
    reports = _causes(
        "[  700.000001] mlx5_core 0000:17:00.0: synd 0x1: firmware internal error",
        "[  720.000001] mlx5_core 0000:17:00.0 ens9f0: Link down",
        "[  720.000002] bond3: (slave ens9f0): link status definitely down, disabling slave",
        "[  720.000003] bond3: now running without any active interface!",
        "[  760.000001] nfs: server filer3 not responding, still trying",
    )
    assert [cause for _form, cause in reports] == [None, 0, 0, 0, 0]


def test_a_bond_loses_the_link_of_another_adapter() -> None:
    reports = _causes(
        "[  700.000001] mlx5_core 0000:17:00.0: synd 0x1: firmware internal error",
        "[  720.000002] bond3: (slave eno4): link status definitely down, disabling slave",
    )
    assert reports[1] == ("bond-down", None)


def test_ports_behind_a_fibre_channel_host_go_with_its_loop() -> None:
    reports = _causes(
        "[  700.000001] qla2xxx [0000:86:00.0]-500b:4: LOOP DOWN detected (2 7 0 0).",
        "[  730.000001]  rport-4:0-2: blocked FC remote port time out: removing target",
        "[  730.000002] sd 4:0:2:7: rejecting I/O to offline device",
        "[  731.000001]  rport-9:0-2: blocked FC remote port time out: removing target",
    )
    assert [cause for _form, cause in reports] == [None, 0, 0, None]


def test_a_loop_that_came_back_explains_nothing_later() -> None:
    reports = _causes(
        "[  700.000001] qla2xxx [0000:86:00.0]-500b:4: LOOP DOWN detected (2 7 0 0).",
        "[  710.000001] qla2xxx [0000:86:00.0]-500a:4: LOOP UP detected (16 Gbps).",
        "[ 9730.000001]  rport-4:0-2: blocked FC remote port time out: removing target",
    )
    assert reports == [("fc-link", None), ("fc-lost", None)]


_WAITS_IN_RADIO = (
    " __schedule+0x24e/0x590",
    " __mutex_lock.constprop.0+0x30c/0x5c0",
    " mt7925_remove_interface+0x37/0xd0 [mt7925_common]",
    " ieee80211_do_stop+0x5a1/0x880 [mac80211]",
    " __dev_close_many+0xa4/0x120",
    " rtnetlink_rcv_msg+0x14e/0x3e0",
)
_WAITS_FOR_RTNL = (
    " __schedule+0x24e/0x590",
    " __mutex_lock.constprop.0+0x30c/0x5c0",
    " nl80211_pre_doit+0x31/0x1d0 [cfg80211]",
    " genl_rcv_msg+0x1b7/0x2c0",
)


def _hung(time: int, who: str, stack: tuple[str, ...]) -> list[str]:
    said = [f"INFO: task {who} blocked for more than 122 seconds.", "Call Trace:", *stack]
    return [f"[{time:5d}.{number:06d}] {text}" for number, text in enumerate(said)]


def test_a_radio_that_does_not_answer_its_driver_and_who_waits_behind_that() -> None:
    reports = _causes(
        "[  700.000001] mt7925e 0000:04:00.0: Message 00020007 (seq 9) timeout",
        *_hung(850, "otterd:70", _WAITS_IN_RADIO),
        *_hung(851, "stoatd:71", _WAITS_FOR_RTNL),
    )
    assert [cause for _form, cause in reports] == [None, 0, 0]


def test_a_radio_that_came_back_is_not_what_its_tasks_wait_for() -> None:
    reports = _causes(
        "[  700.000001] mt7925e 0000:04:00.0: Message 00020007 (seq 9) timeout",
        "[  701.000001] mt7925e 0000:04:00.0: device successfully recovered",
        *_hung(850, "otterd:70", _WAITS_IN_RADIO),
    )
    assert reports[1][1] is None


def test_another_driver_is_not_what_a_task_waits_for() -> None:
    reports = _causes(
        "[  700.000001] iwlwifi 0000:04:00.0: Microcode SW error detected. Restarting 0x0.",
        *_hung(850, "otterd:70", _WAITS_IN_RADIO),
    )
    assert reports[1][1] is None


def test_a_lockup_in_the_driver_of_a_function_that_pci_complained_of() -> None:
    lines = (
        "[  700.000001] pcieport 0000:40:01.1: AER: Uncorrectable (Non-Fatal) error message"
        " received from 0000:41:00.0",
        "[  700.000002] acmenet 0000:41:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal),"
        " type=Transaction Layer, (Requester ID)",
        "[  726.000001] watchdog: BUG: soft lockup - CPU#9 stuck for 26s! [kworker/9:2:3301]",
        "[  726.000002] CPU: 9 PID: 3301 Comm: kworker/9:2 Not tainted 6.8.0 #1",
        "[  726.000003] RIP: 0010:{}+0x2d1/0x5e0 [{}]",
    )
    assert _causes(*lines[:4], lines[4].format("acmenet_poll", "acmenet"))[1][1] == 0
    assert _causes(*lines[:4], lines[4].format("ottersnd_poll", "ottersnd"))[1][1] is None


def test_the_thread_that_commits_a_journal_waits_for_its_disk_others_for_it() -> None:
    commit = (
        " __schedule+0x24e/0x590",
        " io_schedule+0x46/0x80",
        " bit_wait_io+0xd/0x60",
        " __wait_on_bit+0x4b/0x140",
        " jbd2_journal_commit_transaction+0x14fe/0x1a40 [jbd2]",
        " kjournald2+0xa9/0x280 [jbd2]",
    )
    waits = (
        " __schedule+0x24e/0x590",
        " wait_transaction_locked+0x8a/0xd0 [jbd2]",
        " start_this_handle+0x103/0x5a0 [jbd2]",
        " ext4_dirty_inode+0x38/0x80 [ext4]",
    )
    reports = _causes(*_hung(850, "stoatd:71", waits), *_hung(851, "jbd2/vdq1-8:70", commit))
    assert [cause for _form, cause in reports] == [1, None]


_FORCES_ITS_LOG = (
    " __schedule+0x24e/0x590",
    " schedule_timeout+0x157/0x170",
    " wait_for_completion+0x88/0x150",
    " __flush_work+0x1ea/0x2e0",
    " xlog_cil_push_now.isra.0+0x5e/0xa0 [xfs]",
    " xfsaild+0x1ca/0x8e0 [xfs]",
)


@pytest.mark.parametrize(("disk", "cause"), [("rbd3", 0), ("sdq", None)])
def test_a_thread_named_after_a_disk_of_ceph_waits_for_that(disk: str, cause: int | None) -> None:
    reports = _causes(
        "[  700.000001] libceph: mon2 (1)10.9.8.7:6789 session lost, hunting for new mon",
        *_hung(850, f"xfsaild/{disk}:70", _FORCES_ITS_LOG),
    )
    assert [found for _form, found in reports] == [None, cause]


def test_volumes_of_a_ufs_disk_that_went_off_line_fail_with_it() -> None:
    reports = _causes(
        "[  700.000001] ufshcd-acme 1d00000.ufshc: ufshcd_try_to_abort_task: no response from"
        " device. tag = 21, err -110",
        "[  709.000001] sd 0:0:0:0: Device offlined - not ready after error recovery",
        "[  709.000002] sd 0:0:0:0: rejecting I/O to offline device",
        "[  709.000003] Buffer I/O error on dev dm-9, logical block 211804, async page read",
    )
    assert [found is not None for _form, found in reports] == [False, True, True, True]
