"""Whose code a function is: of which driver, of which file system.

By the names that the kernel's own tree gives: a driver's modules and functions begin with
its name (``mlx5_core``, ``mlx5_ib``, ``mlx5e_open()``), a file system's with its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from postmortem.model.frame import Frame


def words(text: str) -> frozenset[str]:
    """The names in a text, parted by spaces and lines."""
    return frozenset(text.split())


_COMMON = words(
    """
    snd usb scsi drm net nf ip tcp udp acpi i2c spi dw virtio dm hid ib sd intel amd cdc gpio
    pci pcie pcieport phy power regulator clk ata libata block cfg80211 mac80211 mii mdio
    kernel cpu rcu irq sysfs vfs io bio blk do sys xen hv vfio platform firmware usbcore
    """
)
"""First words that many drivers share: they name none."""

_KIN: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("iwlwifi", r"iwl"),
        ("mt76", r"mt7\d|mt76"),
        ("rtw", r"rtw"),
        ("rt2x00", r"rt2[x8]|rt73"),
        ("wlcore", r"wl1[28]|wlcore"),
        ("brcmfmac", r"brcm[fsu]"),
        ("mpt3sas", r"mpt[23]sas"),
    )
)
"""Drivers of many modules that do not begin alike."""


@lru_cache(maxsize=4096)
def family(driver: str) -> str:
    """The first word of a driver's name, by which its other modules and functions go."""
    name = driver.lower().replace("-", "_")
    for kin, pattern in _KIN:
        if pattern.match(name):
            return kin
    first = name.partition("_")[0]
    return name if first in _COMMON else first


@lru_cache(maxsize=8192)
def _of_function(function: str) -> str:
    first = family(function.lstrip("_"))
    return "" if len(first) < 3 or first in _COMMON or "_" in first else first


def families(frames: Iterable[Frame]) -> frozenset[str]:
    """The drivers whose code a stack runs through; other words of functions are among them."""
    found: set[str] = set()
    for frame in frames:
        if frame.module:
            found.add(family(frame.module))
        if frame.function:
            found.add(_of_function(frame.function))
    return frozenset(found - {""} - _COMMON)


# --- file systems -----------------------------------------------------------------------

_WORDS: dict[str, str] = {
    word: name
    for name, words in {
        "ext4": "ext4 jbd2 kjournald2 ext3 jbd",
        "xfs": "xfs xfsaild xlog",
        "btrfs": "btrfs",
        "f2fs": "f2fs",
        "bcachefs": "bch2 bcachefs",
        "zfs": "zfs zpl txg zio dmu spa arc spl",
        "ocfs2": "ocfs2",
        "gfs2": "gfs2",
        "ubifs": "ubifs",
        "fat": "fat vfat msdos",
        "exfat": "exfat",
        "ntfs3": "ntfs3 ntfs",
        "nilfs": "nilfs nilfs2",
        "jfs": "jfs",
        "reiserfs": "reiserfs",
        "hfsplus": "hfsplus",
        "squashfs": "squashfs",
        "erofs": "erofs",
        "fuse": "fuse",
        "nfs": "nfs nfs3 nfs4 nfsv3 nfsv4 sunrpc rpc lockd nlmclnt",
        "cifs": "cifs smb2 smb3 smb smbfs",
        "ceph": "ceph libceph",
        "9p": "v9fs p9 9p 9pnet",
        "afs": "afs kafs",
        "lustre": "lustre ptlrpc ll osc mdc lov lmv",
    }.items()
    for word in words.split()
}
REMOTE = frozenset({"nfs", "cifs", "ceph", "9p", "afs", "lustre"})
"""Those that ask a server: no local disk keeps their tasks waiting."""


def file_system(name: str) -> str | None:
    """A file system by the word that messages, modules and functions begin with."""
    word = name.lower()
    return _WORDS.get(word) or _WORDS.get(word.removesuffix("-fs"))


def file_systems(frames: Iterable[Frame]) -> frozenset[str]:
    """The file systems whose code a stack runs through."""
    found = {_fs_of_module(frame.module) for frame in frames if frame.module}
    found |= {_fs_of_function(frame.function) for frame in frames if frame.function}
    return frozenset(name for name in found if name)


_fs_of_module = lru_cache(maxsize=4096)(file_system)


@lru_cache(maxsize=8192)
def _fs_of_function(function: str) -> str | None:
    return file_system(function.lstrip("_").partition("_")[0])
