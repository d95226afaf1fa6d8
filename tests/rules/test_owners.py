"""Whose code a function is, by the words that names begin with."""

from __future__ import annotations

import pytest

from postmortem.model.frame import Frame
from postmortem.rules.owners import families, family, file_system, file_systems


@pytest.mark.parametrize(
    ("one", "other", "kin"),
    [
        ("mlx5_core", "mlx5_ib", True),
        ("ath10k_pci", "ath10k_core", True),
        ("mt7925e", "mt792x_lib", True),
        ("iwlwifi", "iwlmvm", True),
        ("rtw_8822ce", "rtw88_core", True),
        ("nvidia", "nvidia-modeset", True),
        ("xhci_hcd", "xhci_pci", True),
        ("virtio_blk", "virtio_net", False),
        ("snd_hda_intel", "snd_usb_audio", False),
        ("ice", "igc", False),
        ("mt7925e", "iwlwifi", False),
    ],
)
def test_modules_of_one_driver(one: str, other: str, kin: bool) -> None:
    assert (family(one) == family(other)) is kin


def test_a_driver_is_known_by_its_modules_and_by_its_functions() -> None:
    stack = [
        Frame("__mutex_lock"),
        Frame("nvme_reset_ctrl_sync"),
        Frame("acme_stop", module="acme_core"),
    ]
    assert {"nvme", "acme"} <= families(stack)


def test_words_that_many_share_are_no_driver() -> None:
    assert families([Frame("usb_kill_urb"), Frame("do_exit"), Frame("pci_reset_function")]) == set()


def test_file_systems_of_a_stack() -> None:
    stack = [Frame("jbd2_log_wait_commit"), Frame("ext4_sync_file"), Frame("vfs_fsync_range")]
    assert file_systems(stack) == {"ext4"}
    assert file_systems([Frame("SMB2_flush", module="cifs")]) == {"cifs"}
    assert file_systems([Frame("folio_wait_bit", module="xfs")]) == {"xfs"}
    assert file_systems([Frame("vfs_read"), Frame("generic_file_read_iter")]) == set()


def test_messages_name_file_systems_in_capitals() -> None:
    assert [file_system(name) for name in ("EXT4-fs", "XFS", "BTRFS", "F2FS-fs", "acme")] == [
        "ext4", "xfs", "btrfs", "f2fs", None,
    ]  # fmt: skip
