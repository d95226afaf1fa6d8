"""Which devices a message is about, under one name each.

Messages name the same disk in many ways: ``sda2``, ``[sda]``, ``sda2-8``, ``ata1.00``,
``0:0:0:0``, ``0000:00:1f.2``. :func:`devices_of` finds names in a text, :func:`disk_of`
drops partitions, and :class:`Relations` keeps what the log itself says belongs together.
Nothing is guessed: names that no line relates stay apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_RELATIONS = 20_000
"""Names that are related in one boot; a log can't hold more devices than that in earnest."""

_NAMES = re.compile(
    r"(?<![\w.-])(?:"
    r"(?<!:)(?P<pci>(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"
    r"|(?<!:)(?P<scsi>\d{1,5}:\d{1,3}:\d{1,5}:\d{1,20})"
    r"|(?:flush-)(?P<number>\d+:\d+)"
    r"|(?P<block>nvme\d+(?:c\d+)?n\d+(?:p\d+)?|(?:sd|hd|vd|xvd|dasd)[a-z]{1,4}\d{0,3}"
    r"|mmcblk\d+(?:p\d+|boot\d|rpmb|gp\d)?|(?:md|nbd|drbd|rbd|zram|loop|bcache|pmem|sr|dm-)\d+(?:p\d+)?(?=\b|_))"
    r"|(?P<other>nvme\d+|mmc\d+|ata\d+(?:\.\d+)?|md_\w+)"
    r"|(?P<usb>(?:usb |usb-storage |uas |hub |xhci )?\d+-\d+(?:\.\d+)*(?::\d+\.\d+)?)"
    r"|(?:scsi )?(?P<host>host\d+)"
    r"|rport-(?P<rport>\d+)(?=:)"
    r"|(?P<net>(?:eth|enp|eno|ens|enx|wlan|wlp|wlo|wls|wlx|bond|team|ib|ibp|wwan|vmnic|can)\d\w{0,14})"
    r")(?![a-zA-Z0-9])"
)
_PARTITION = re.compile(r"(?P<disk>.*\d)p\d+|(?P<letters>[a-z]+)\d+")
_JOURNAL = re.compile(r"-\d+$")
_ENDS_IN_DIGIT = re.compile(
    r"(?:md|nbd|drbd|rbd|zram|ram|loop|bcache|pmem|sr|scd|fd|dm-|st|mtdblock|ubiblock\d+_|nvme\d+n|mmcblk)"
    r"\d+"
)
"""Disks whose own name ends in a digit: their partitions have a ``p`` (disk_name(), block/)."""


@lru_cache(maxsize=4096)
def disk_of(name: str) -> str:
    """The disk of a partition or journal: ``sda2``, ``sda2-8`` and ``/dev/sda2`` are ``sda``."""
    name = name.removeprefix("/dev/")
    if not name.startswith("dm-") or name.count("-") > 1:
        name = _JOURNAL.sub("", name)  # jbd2 adds the inode of its journal
    if _ENDS_IN_DIGIT.fullmatch(name):
        return name
    match = _PARTITION.fullmatch(name)
    if match is None:
        return name
    return match["disk"] or match["letters"]


def devices_of(text: str, named: Iterable[str] = ()) -> tuple[str, ...]:
    """The devices in a message, in the order in which they are named.

    :param named: names that the message's own form says are devices, whatever they look like.
    """
    found: dict[str, None] = {}
    for name in named:
        for one in names_of(name):
            found.setdefault(one)
    for one in _known(text):
        found.setdefault(one)
    return tuple(found)


def names_of(name: str) -> tuple[str, ...]:
    """A name that stands where a device is named, whatever it looks like."""
    name = name.removeprefix("/dev/")
    if _SLOT.fullmatch(name):
        name += ".0"  # NVIDIA's driver leaves the function away
    match = _NAMES.fullmatch(name)
    if match is not None:
        return tuple(_names(match)) or (f"usb {name}",)
    return (disk_of(name) if _LIKE_DISK.fullmatch(name) else name,)


_SLOT = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}")
_LIKE_DISK = re.compile(r"[a-z]{1,5}d[a-z]{1,2}\d{1,3}(?:-\d+)?|\w+\dp\d+(?:-\d+)?|.*-8")
"""Disks of drivers that are not listed: ``xyda2``, ``foo0p1``, with a journal's inode."""

_SD_MAJORS = (8, *range(65, 72), *range(128, 136))
_SD_MINORS = 16


def by_number(number: str) -> str | None:
    """The disk of a device number (``8:32`` is ``sdc``), where a major has one driver for ever."""
    major, _, minor = number.partition(":")
    if not (major.isdigit() and minor.isdigit() and len(major) < 6 and len(minor) < 9):
        return None
    if int(major) in _SD_MAJORS:
        index = _SD_MAJORS.index(int(major)) * 16 + int(minor) // _SD_MINORS
        name = ""
        while index >= 0:
            name = chr(ord("a") + index % 26) + name
            index = index // 26 - 1
        return f"sd{name}"
    return {9: f"md{minor}", 7: f"loop{minor}", 253: f"dm-{minor}"}.get(int(major))


def _known(text: str) -> list[str]:
    found: list[str] = []
    for match in _NAMES.finditer(text):
        found += _names(match)
    return found


def _names(match: re.Match[str]) -> list[str]:
    kind = match.lastgroup
    name = match[kind or 0]
    if kind == "pci":
        return [name if name.count(":") == 2 else f"0000:{name}"]
    if kind == "number":
        return list(filter(None, [by_number(name)]))
    if kind == "block":
        disk = disk_of(name)
        controller = re.match(r"nvme\d+(?=(?:c\d+)?n)", disk)
        return [disk, controller[0]] if controller else [disk]
    if kind == "other":
        return [name.split(".")[0]]
    if kind == "scsi":
        return [f"scsi {name}"]
    if kind == "rport":
        return [f"host{name}"]  # of the SCSI host that the Fibre Channel port is reached by
    if kind == "usb":
        port = name.rpartition(" ")[2].split(":")[0]
        return [f"usb {port}"] if " " in name else []
    return [name]


# Lines that say what a device hangs on: phrase, pattern with the groups child and parent.
_ADDRESS = r"(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
_RELATIONS = (
    ("pci function ", rf"(?P<child>nvme\d+): pci function (?P<parent>{_ADDRESS})"),
    ("] Attached SCSI", r"sd (?P<parent>[\d:]+): \[(?P<child>\w+)\] Attached SCSI"),
    (
        "new USB bus registered",
        rf"(?P<parent>{_ADDRESS}): new USB bus registered, assigned bus number (?P<bus>\d+)",
    ),
    ("renamed from ", rf"(?P<parent>{_ADDRESS}) (?P<child>[\w.-]+): renamed from "),
    (
        "PCI bridge to [bus ",
        rf"(?P<parent>{_ADDRESS}): PCI bridge to \[bus (?P<secondary>[0-9a-f]{{2}})",
    ),
    (": usb-storage ", r"scsi (?P<child>host\d+): usb-storage (?P<parent>\d+-[\d.]+)"),
    (
        ": new SuperSpeed",  # where uas is at home; slower ones are in every log
        r"usb (?P<usb>\d+-[\d.]+): new Super\S+ .{0,24}USB device",
    ),
    ("scsi host", r"scsi (?P<child>host\d+): (?P<driver>[A-Za-z][\w /.,()-]{1,60})"),
    (
        ": AER: ",
        rf"pcieport (?P<parent>{_ADDRESS}): AER: .{{1,60}} (?P<child>(?!(?P=parent)){_ADDRESS})$",
    ),
    (": PCIe Bus Error: ", rf"(?P<of>[\w-]+) (?P<child>{_ADDRESS}): (?:AER: )?PCIe Bus Error: "),
    ("drbd ", r"drbd (?P<resource>[\w.-]+)/\d+ (?P<child>drbd\d+)(?: [\w.-]+)?: "),
    (": mmc", r"(?P<child>mmcblk\d+): (?P<parent>mmc\d+):[0-9a-f]{4} "),
    (
        ": SDHCI controller on ",
        r"(?P<child>mmc\d+): SDHCI controller on (?P<parent>[\w:.@-]{1,40}) ",
    ),
)
DRIVER = "driver "
"""Before the name of a PCI function's driver."""
VIA = "via "
"""Before the driver of a SCSI host, where that is all that is known of what the host hangs on."""
PORTS = frozenset({"pcieport", "pci", "shpchp"})
"""Drivers of ports: they speak of what hangs on those."""
PHRASES = tuple(phrase for phrase, _pattern in _RELATIONS)


class Relations:
    """What the devices of one boot hang on, as its log says."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._drivers: dict[str, str] = {}
        """Of PCI functions."""
        self._newest = ""
        """The USB device that came last: uas prints its host without saying of what."""

    def note(self, text: str) -> bool:
        """Keep what a message says; whether it said anything."""
        for phrase, pattern in _RELATIONS:
            if phrase not in text:
                continue
            match = re.search(pattern, text)
            if match is None or len(self._parents) >= MAX_RELATIONS:
                continue
            groups = match.groupdict()
            if "usb" in groups:
                self._newest = f"usb {groups['usb']}"
                return True
            if "of" in groups:
                if groups["of"] not in PORTS:
                    self._drivers.setdefault(groups["child"], groups["of"])
                return True
            if "driver" in groups:
                driver = groups["driver"].strip()
                known = self._newest if driver == "uas" else ""
                self._parents.setdefault(groups["child"], known or f"{VIA}{driver}")
                return True
            if "resource" in groups:
                parent = f"drbd {groups['resource']}"
            else:
                parent = _one(groups["parent"])
            if "bus" in groups:
                child = f"usb bus {groups['bus']}"
            elif "secondary" in groups:
                child = f"pci bus {groups['secondary']}"
            else:
                child = groups["child"]
            self._parents[child] = parent
            return True
        return False

    def above(self, devices: Iterable[str]) -> tuple[str, ...]:
        """All that these devices hang on, nearest first."""
        own = tuple(devices)
        found: dict[str, None] = {}
        for name in own:
            for _ in range(8):  # disk, SCSI address, host, USB port, bus, controller, bridge
                parent = self._parents.get(name) or _implied(name)
                if parent is None or parent in found or parent in own:
                    break
                found[parent] = None
                name = parent
        drivers = (self._drivers.get(name) for name in (*own, *found))
        return (*found, *dict.fromkeys(f"{DRIVER}{name}" for name in drivers if name))


def _one(name: str) -> str:
    if re.fullmatch(r"\d+:\d+:\d+:\d+", name):
        return f"scsi {name}"
    if re.fullmatch(r"\d+-[\d.]+", name):
        return f"usb {name}"
    return next(iter(_known(name)), name)


def _implied(name: str) -> str | None:
    """What a name alone says of its parent."""
    if name.startswith("scsi "):
        return f"host{name[5:].split(':')[0]}"
    if name.startswith("usb ") and "-" in name:
        bus, _, port = name[4:].partition("-")
        return f"usb {bus}-{port.rpartition('.')[0]}" if "." in port else f"usb bus {bus}"
    if re.fullmatch(_ADDRESS, name):
        return f"pci bus {name.split(':')[1]}"
    return None
