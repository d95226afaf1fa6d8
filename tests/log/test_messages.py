"""Messages of drivers and file systems as reports: counted by device, mended, in chains."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from postmortem.log.scan import scan_bytes
from postmortem.model.report import Report


def reports(*lines: str) -> list[Report]:
    text = "".join(f"[{10 + n:5d}.000000] {line}\n" for n, line in enumerate(lines))
    return scan_bytes(text.encode()).reports


def test_a_message_is_one_report_per_device_with_a_count() -> None:
    said = "I/O error, dev {}, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"
    first, second = reports(said.format("sdq"), said.format("sdr"), said.format("sdq"))
    assert (first.devices, first.count, first.line, first.last_line) == (("sdq",), 2, 1, 3)
    assert (second.devices, second.count, second.last_line) == (("sdr",), 1, None)


def test_partitions_of_one_disk_are_one_device() -> None:
    text = "EXT4-fs ({}): Remounting filesystem read-only"
    assert (
        len({report.devices for report in reports(text.format("sdq1"), text.format("sdq2"))}) == 1
    )


def test_a_recovery_is_told_with_the_failure_that_it_ends() -> None:
    (report,) = reports(
        "nfs: server filer3 not responding, still trying",
        "nfs: server filer4 OK",
        "nfs: server filer3 OK",
    )
    assert report.detail["recovered_line"] == "3"


def test_a_recovery_is_quoted_as_it_stands_on_its_line() -> None:
    (report,) = reports(
        "nfs: server filer3 not responding, still trying",
        "nfs: server filer3 OK",
        "lockd: server filer3 OK",
    )
    assert report.detail["recovered_line"] == "3"
    assert report.detail["recovered"] == "lockd: server filer3 OK"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("device's health compromised - reached miss", "reached miss"),
        ("device's health compromised - reached miss count of the firmware", "count..."),
        ("device's health compromised - reached miss coun" + "t" * 90, "..."),
    ],
)
def test_what_was_said_is_not_cut_in_the_middle_of_a_word(said: str, what: str) -> None:
    (report,) = reports(f"mlx5_core 0000:c1:00.0: poll_health:919:(pid 0): {said}")
    assert report.detail["what"].endswith(what)
    assert report.detail["what"].removesuffix("...") in report.text[0]


def test_a_failure_after_the_recovery_is_not_mended() -> None:
    (report,) = reports(
        "nfs: server filer3 not responding, still trying",
        "nfs: server filer3 OK",
        "nfs: server filer3 not responding, still trying",
    )
    assert report.count == 2 and "recovered" not in report.detail


def test_a_message_neither_cuts_nor_joins_the_report_around_it() -> None:
    found = reports(
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "CPU: 1 PID: 77 Comm: acmed Not tainted 6.6.1 #1",
        "RIP: 0010:acme_read+0x12/0x80 [acme]",
        "nvme nvme3: I/O tag 12 (100c) QID 2 timeout, aborting",
        "Call Trace:",
        " <TASK>",
        " acme_ioctl+0x33/0x70 [acme]",
        " </TASK>",
        "---[ end trace 0000000000000000 ]---",
    )
    assert [report.form for report in found] == ["null-deref", "nvme-timeout"]
    assert [frame.function for frame in found[0].frames] == ["acme_ioctl"]
    assert found[0].corrupted is None


STACK = [
    "CPU: 3 PID: 77 Comm: acmed Tainted: P           O       6.6.1 #1",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x5d/0x90",
    " {printer}+0xf4/0x10b [{owner}]",
    " acme_check+0x98/0xa0 [acmefs]",
    " acme_sync+0x10/0x20 [acmefs]",
    " </TASK>",
]


@pytest.mark.parametrize(
    ("form", "head", "printer", "owner"),
    [
        (
            "spl-assert",
            ["VERIFY0(acme_check(a)) failed (0 == 5)", "PANIC at acme.c:77:acme_check()"],
            "spl_panic",
            "spl",
        ),
        (
            "lustre-assert",
            ["LustreError: 77:0:(acme.c:77:acme_check()) ASSERTION( a != NULL ) failed: "],
            "lbug_with_loc",
            "libcfs",
        ),
        (
            "fs-assert",
            ["XFS: Assertion failed: a != NULL, file: fs/xfs/acme.c, line: 77"],
            "asswarn",
            "xfs",
        ),
    ],
)
def test_a_failed_assertion_names_place_task_and_who_made_it(
    form: str, head: list[str], printer: str, owner: str
) -> None:
    (report,) = reports(*head, *(line.format(printer=printer, owner=owner) for line in STACK))
    assert (report.form, str(report.kind)) == (form, "bug")
    assert (report.function, report.module) == ("acme_check", "acmefs")
    assert report.detail["lineno"] == "77"
    assert report.task is not None and report.task.pid == 77


def test_a_task_that_does_not_freeze_is_the_task_of_the_report() -> None:
    (report,) = reports(
        "PM: suspend entry (deep)",
        "Freezing user space processes failed after 20.008 seconds "
        "(1 tasks refusing to freeze, wq_busy=0):",
        "task:acmed           state:D stack:0     pid:77    ppid:2      flags:0x00004006",
        "Call Trace:",
        " <TASK>",
        " __schedule+0xfd/0x6e0",
        " schedule+0x2a/0x6d0",
        " acmefs_wait_answer+0x36/0x67 [acmefs]",
        " </TASK>",
    )
    assert str(report.kind) == "suspend" and report.detail["seconds"] == "20.008"
    assert report.task is not None and (report.task.comm, report.task.pid) == ("acmed", 77)
    assert report.function == "acmefs_wait_answer"


def test_a_device_that_does_not_go_to_sleep_is_named() -> None:
    (report,) = reports("acmehci 0000:00:14.0: **** DPM device timeout ****")
    assert (report.form, report.devices) == ("dpm-timeout", ("0000:00:14.0",))


# Chains: what is at the end comes from the first line.
CHAINS = {
    "link, controller, disk, file system": [
        "pcieport 0000:00:1c.0: AER: Uncorrected (Fatal) error received: 0000:01:00.0",
        "nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
        "I/O error, dev nvme3n1, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "XFS (nvme3n1p2): log I/O error -5",
        "XFS (nvme3n1p2): Filesystem has been shut down due to log error (0x2).",
    ],
    "port, disk, file system": [
        "ata5.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
        "I/O error, dev sdq, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "Aborting journal on device sdq2-8.",
        "EXT4-fs (sdq2): Remounting filesystem read-only",
    ],
    "adapter, server": [
        "acmenet 0000:03:00.0 eth4: Detected Tx Unit Hang",
        "nfs: server filer3 not responding, still trying",
    ],
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_goes_back_to_its_first_line(name: str) -> None:
    boot = ["nvme nvme3: pci function 0000:01:00.0"]
    found = reports(*boot, *CHAINS[name])
    assert [report.consequence_of for report in found] == [None, *[0] * (len(found) - 1)]
    assert len(found) == len(CHAINS[name])


def test_another_disk_is_no_cause() -> None:
    found = reports(
        "nvme nvme4: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10",
        "I/O error, dev nvme3n1, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "Aborting journal on device sdq2-8.",
    )
    assert [report.consequence_of for report in found] == [None] * 3


def test_a_message_between_the_cut_and_its_warning_loses_neither() -> None:
    found = reports(
        "------------[ cut here ]------------",
        "I/O error, dev sdq, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "WARNING: CPU: 1 PID: 77 at drivers/acme/acme.c:7 acme_check+0x12/0x80",
        "RIP: 0010:acme_check+0x12/0x80",
        "Call Trace:",
        " acme_ioctl+0x33/0x70",
        "---[ end trace 0000000000000000 ]---",
    )
    assert sorted((report.form, report.count) for report in found) == [
        ("io-error", 1),
        ("warning", 1),
    ]


CHAINS_BESIDE = {
    "adapter, its disks, array": [
        "mpt3sas_cm2: SAS host is non-operational !!!!",
        "sd 6:0:1:0: [sdq] tag#7 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK",
        "I/O error, dev sdq, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2",
        "md/raid:md9: Disk failure on sdq1, disabling device.",
    ],
    "thin pool, volumes, file systems": [
        "device-mapper: thin: 253:7: switching pool to out-of-data-space (error IO) mode",
        "critical space allocation error, dev dm-8, sector 8 op 0x1:(WRITE) flags 0x0 phys_seg 1",
        "Buffer I/O error on dev dm-9, logical block 5, lost async page write",
        "XFS (dm-8): log I/O error -28",
    ],
    "disk, mirror, file system": [
        "sd 0:2:1:0: [sdq] tag#2 Sense Key : Medium Error [current]",
        "drbd r_pond/0 drbd4: local READ IO error sector 9+8 on ffff8f1f0a1b5c00",
        "XFS (drbd4): log I/O error -5",
    ],
}
STAMPS = {
    "a month ends": lambda n: (
        f"Dec  1 00:00:0{n} pond kernel: " if n else "Nov 30 23:59:59 pond kernel: "
    ),
    "journal in another language": lambda n: f"mai 09 00:00:{n:02d} étang kernel: ",
    "iso": lambda n: f"2026-02-28T10:00:{n:02d}.{n}00000+02:00 pond kernel: ",
    "dmesg -T": lambda n: f"[Mo Okt 26 09:33:{n:02d} 2026] ",
    "syslog's own names": lambda n: f"2026-02-28T10:00:{n:02d}Z ip-9 kern.err ",
    "a stranger": lambda n: f"<pond|10:00:{n:02d}> ring0: ",
    "nothing": lambda n: "",
}


@pytest.mark.parametrize("stamp", STAMPS)
@pytest.mark.parametrize("name", CHAINS_BESIDE)
def test_clocks_of_loggers_tell_what_is_near(name: str, stamp: str) -> None:
    """In whatever way the time is written, or not at all, the chain is the same."""
    noise = [f"veth{n}: entered promiscuous mode" for n in range(9)]
    lines = [*noise, *CHAINS_BESIDE[name]]
    text = "".join(
        f"{STAMPS[stamp](max(0, n - len(noise)))}{line}\n" for n, line in enumerate(lines)
    )
    found = scan_bytes(text.encode()).reports
    assert len(found) == len(CHAINS_BESIDE[name])
    assert [report.consequence_of for report in found] == [None, *[0] * (len(found) - 1)]


def test_what_is_far_by_the_clock_is_no_consequence() -> None:
    text = (
        "Jan  3 10:00:00 pond kernel: mpt3sas_cm2: SAS host is non-operational !!!!\n"
        "Jan  3 10:40:00 pond kernel: I/O error, dev sdq, sector 8 op 0x0:(READ) flags 0x0\n"
    )
    assert [r.consequence_of for r in scan_bytes(text.encode()).reports] == [None, None]


def test_a_mirror_that_loses_its_disk_and_one_that_loses_its_peer_are_two_failures() -> None:
    disk, peer = reports(
        "drbd r_pond/0 drbd4: disk( UpToDate -> Failed ) [local-io-error]",
        "drbd r_pond otter-b: PingAck did not arrive in time.",
    )
    assert (disk.form, disk.title) == ("drbd-disk", "drbd4: local disk given up")
    assert (peer.form, peer.consequence_of) == ("drbd-peer", None)


def test_a_line_that_names_the_process_belongs_to_the_fault_before_it() -> None:
    (report,) = reports(
        "amdgpu 0000:0b:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:8 vmid:2 pasid:9)",
        "amdgpu 0000:0b:00.0: amdgpu:  Process otter-view pid 812 thread otter-view:cs0 pid 813",
    )
    assert (report.detail["by"], report.detail["pid"]) == ("otter-view", "812")


@pytest.mark.parametrize(
    ("said", "mended"),
    [
        ("GPU reset(3) succeeded!", True),
        ("GPU reset succeeded, trying to resume", False),
    ],
)
def test_a_reset_is_a_recovery_only_once_the_chip_resumed(said: str, mended: bool) -> None:
    (report,) = reports(
        "amdgpu 0000:0b:00.0: amdgpu: ring gfx timeout, signaled seq=3, emitted seq=5",
        f"amdgpu 0000:0b:00.0: amdgpu: {said}",
    )
    assert ("recovered" in report.detail) is mended


def test_a_recovery_that_the_next_failure_belies_is_none() -> None:
    hang, lost = reports(
        "amdgpu 0000:0b:00.0: amdgpu: ring gfx timeout, signaled seq=3, emitted seq=5",
        "amdgpu 0000:0b:00.0: amdgpu: GPU reset(3) succeeded!",
        "amdgpu 0000:0b:00.0: amdgpu: GPU Recovery Failed: -62",
    )
    assert "recovered" not in hang.detail
    assert lost.consequence_of == 0


def test_an_error_that_was_corrected_explains_none_that_was_not() -> None:
    found = reports(
        "pcieport 0000:40:01.1: AER: Corrected error received: 0000:41:00.0",
        "pcieport 0000:40:01.1: AER: Uncorrected (Fatal) error received: 0000:40:01.1",
        "NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU is off the bus.",
    )
    assert [report.consequence_of for report in found] == [None, None, 1]
    assert found[0].devices == ("0000:41:00.0",)  # not the port that tells of it


def test_what_an_ata_port_says_of_its_error_takes_its_place() -> None:
    (report,) = reports(
        "ata7.00: exception Emask 0x0 SAct 0x8 SErr 0x0 action 0x0",
        "ata7.00: failed command: READ FPDMA QUEUED",
        "ata7.00: error: { UNC }",
    )
    assert (report.form, report.line) == ("ata-media", 3)


def test_an_exception_that_is_not_explained_stays() -> None:
    found = reports(
        "ata7.00: exception Emask 0x0 SAct 0x8 SErr 0x0 action 0x6 frozen",
        "ata8.00: exception Emask 0x0 SAct 0x8 SErr 0x0 action 0x0",
        "ata8.00: error: { UNC }",
    )
    assert [report.form for report in found] == ["ata-error", "ata-media"]


UNREAD = (
    "ata7.00: exception Emask 0x0 SAct 0x8 SErr 0x0 action 0x0",
    "ata7.00: error: { UNC }",
    "sd 6:0:0:0: [sdq] tag#4 Sense Key : Medium Error [current]",
    "I/O error, dev sdq, sector 812 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
)


def test_what_an_array_mended_is_no_failure_left() -> None:
    found = reports(*UNREAD, "md/raid1:md4: read error corrected (8 sectors at 812 on sdq3)")
    ended = {report.form: report.detail.get("recovered_line") for report in found}
    assert ended == {"ata-media": "5", "scsi-sense": "5", "io-error": "5", "md-mended": None}


def test_what_was_mended_on_another_disk_was_not_mended_here() -> None:
    found = reports(*UNREAD, "md/raid1:md4: read error corrected (8 sectors at 812 on sdr3)")
    assert not any("recovered" in report.detail for report in found)


def test_of_two_ports_neither_is_known_to_be_the_mended_disks() -> None:
    found = reports(
        "ata8.00: error: { UNC }",
        *UNREAD,
        "md/raid1:md4: read error corrected (8 sectors at 812 on sdq3)",
    )
    ended = [report.form for report in found if "recovered" in report.detail]
    assert ended == ["scsi-sense", "io-error"]


def test_a_message_after_a_long_silence_is_another_event() -> None:
    said = (
        "[{}.000000] mpt3sas_cm0: log_info(0x31080000): originator(PL), code(0x08), sub_code(0x0)\n"
    )
    text = "".join(said.format(time) for time in (100, 130, 9000, 9001))
    assert [r.count for r in scan_bytes(text.encode()).reports] == [2, 2]


GPU_SAYS = (
    "acmegpu 0000:0a:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:5 pasid:7)",
    "acmegpu 0000:0a:00.0: amdgpu:  in process otter view pid 812 thread otter:cs0 pid 813",
)


@pytest.mark.parametrize(
    ("lines", "by", "pid"),
    [
        (GPU_SAYS, "otter view", "812"),
        (
            (
                "[drm:acmegpu_job_timedout [acmegpu]] *ERROR* ring gfx timeout, signaled seq=1, emitted seq=2",
                "[drm:acmegpu_job_timedout [acmegpu]] *ERROR* Process information: process otter pid 812 thread x pid 813",
            ),
            "otter",
            "812",
        ),
        (("i915 0000:00:02.0: [drm] GPU HANG: ecode 12:1:85dffffb, in otter [812]",), "otter", "812"),
        (("xe 0000:03:00.0: [drm] Timedout job: seqno=1, guc_id=4, flags=0x0 in otter [812]",), "otter", "812"),
        (
            ("nouveau 0000:01:00.0: fifo: fault 00 [READ] at 0000000000010000 engine 00 [GR] client 14 [SCC] reason 02 [PTE] on channel 2 [007f95d000 otter[812]]",),
            "otter",
            "812",
        ),
    ],
)  # fmt: skip
def test_the_process_that_a_gpu_worked_for(lines: tuple[str, ...], by: str, pid: str) -> None:
    (report,) = reports(*lines)
    assert (report.detail["by"], report.detail["pid"]) == (by, pid)


BAD_SUM = "BTRFS warning (device sdq): csum failed root 5 ino 257 off {} csum 0x1 expected csum 0x2 mirror 1"
GOOD_SUM = "BTRFS info (device sdq): read error corrected: ino 257 off 0 (dev /dev/sdq sector 8)"


@pytest.mark.parametrize(("bad", "mended"), [(1, True), (2, False)])
def test_btrfs_mended_only_as_much_as_it_says(bad: int, mended: bool) -> None:
    first, *_ = reports(*(BAD_SUM.format(4096 * n) for n in range(bad)), GOOD_SUM)
    assert ("recovered" in first.detail) is mended


def test_a_usb_controller_that_is_set_up_anew_after_a_sleep_is_no_failure() -> None:
    again = "xhci_hcd 0000:00:14.0: xHC error in resume, USBSTS 0x401, Reinit"
    assert not reports(again)
    (report,) = reports("xhci_hcd 0000:00:14.0: HC died; cleaning up", again)
    assert report.form == "xhci-dead" and "recovered_line" not in report.detail


def test_a_loop_in_the_driver_of_a_device_that_was_lost() -> None:
    lost = [
        "pcieport 0000:00:1c.4: AER: Uncorrectable (Fatal) error message received from 0000:00:1c.4",
        "marlin 0000:05:00.0: AER: can't recover (no error_detected callback)",
    ]
    loop = [
        "watchdog: BUG: soft lockup - CPU#6 stuck for 26s! [kworker/6:1:288]",
        "CPU: 6 PID: 288 Comm: kworker/6:1 Not tainted 6.9.0 #1",
        "RIP: 0010:marlin_read_reg+0x2c/0x80 [marlin]",
        "Call Trace:",
        " marlin_service+0xa2/0xe0 [marlin]",
    ]
    text = "".join(f"[  {100 + n}.000000] {line}\n" for n, line in enumerate(lost))
    for driver, cause in (("marlin", 0), ("halibut", None)):
        own = [line.replace("marlin", driver) for line in loop]
        stack = "".join(f"[  130.{n:06}] {line}\n" for n, line in enumerate(own))
        found = scan_bytes((text + stack).encode()).reports
        assert [report.consequence_of for report in found] == [None, 0, cause]
