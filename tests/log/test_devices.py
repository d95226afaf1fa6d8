"""Names of devices in messages, and what the log says they hang on."""

from __future__ import annotations

import pytest

from postmortem.log.devices import Relations, by_number, devices_of, disk_of


@pytest.mark.parametrize(
    ("name", "disk"),
    [
        ("sda2", "sda"),
        ("/dev/sda2", "sda"),
        ("sda2-8", "sda"),
        ("nvme0n1p2", "nvme0n1"),
        ("nvme0n1", "nvme0n1"),
        ("mmcblk9p4-8", "mmcblk9"),
        ("dm-3", "dm-3"),
        ("dm-3-8", "dm-3"),
        ("md0", "md0"),
        ("loop7p1", "loop7"),
    ],
)
def test_disk_of_partition_or_journal(name: str, disk: str) -> None:
    assert disk_of(name) == disk


@pytest.mark.parametrize(
    ("number", "disk"),
    [("8:0", "sda"), ("8:33", "sdc"), ("65:160", "sdaa"), ("9:4", "md4"), ("253:7", "dm-7")],
)
def test_disk_of_device_number(number: str, disk: str) -> None:
    assert by_number(number) == disk


@pytest.mark.parametrize("number", ["259:1", "8", "x:1", "8:" + "9" * 5000])
def test_number_without_a_driver_of_its_own_is_not_guessed(number: str) -> None:
    assert by_number(number) is None


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("sd 6:0:0:0: [sdq] tag#4", ("scsi 6:0:0:0", "sdq")),
        ("acmenet 03:00.0: x", ("0000:03:00.0",)),
        ("Workqueue: writeback wb_workfn (flush-8:32)", ("sdc",)),
        ("task jbd2/sdq2-8:77 blocked", ("sdq",)),
        ("the time is 10:11:12", ()),
        ("nvme_core.default_ps_max_latency_us=0", ()),
    ],
)
def test_devices_in_a_text(text: str, devices: tuple[str, ...]) -> None:
    assert devices_of(text) == devices


def test_a_disk_hangs_on_all_that_the_log_says() -> None:
    relations = Relations()
    for line in (
        "xhci_hcd 0000:00:14.0: new USB bus registered, assigned bus number 3",
        "scsi host6: usb-storage 3-1.4:1.0",
        "sd 6:0:0:0: [sdq] Attached SCSI disk",
    ):
        assert relations.note(line)
    above = relations.above(["sdq"])
    assert above[:5] == ("scsi 6:0:0:0", "host6", "usb 3-1.4", "usb 3-1", "usb bus 3")
    assert "0000:00:14.0" in above


def test_the_driver_of_a_scsi_host_is_the_road_to_its_disks() -> None:
    relations = Relations()
    relations.note("scsi host3: iSCSI Initiator over TCP/IP")
    relations.note("sd 3:0:0:1: [sdr] Attached SCSI disk")
    assert relations.above(["sdr"])[-1] == "via iSCSI Initiator over TCP/IP"


def test_a_device_hangs_on_the_bridge_to_its_bus() -> None:
    relations = Relations()
    relations.note("pci 0000:00:1c.0: PCI bridge to [bus 01]")
    relations.note("nvme nvme3: pci function 0000:01:00.0")
    assert {"0000:01:00.0", "0000:00:1c.0"} <= set(relations.above(["nvme3"]))


def test_circles_end() -> None:
    relations = Relations()
    relations.note("scsi host6: usb-storage 3-1:1.0")
    relations.note("sd 6:0:0:0: [host6] Attached SCSI disk")
    assert len(relations.above(["host6"])) < 10


def test_uas_says_of_which_device_only_by_its_place() -> None:
    relations = Relations()
    for line in (
        "usb 4-2: new SuperSpeed Plus Gen 2x1 USB device number 2 using xhci_hcd",
        "scsi host7: uas",
        "usb 1-3: new full-speed USB device number 9 using xhci_hcd",
        "sd 7:0:0:0: [sdq] Attached SCSI disk",
    ):
        relations.note(line)
    assert "usb 4-2" in relations.above(["sdq"])
