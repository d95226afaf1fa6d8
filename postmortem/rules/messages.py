"""What drivers, file systems, firmware and hypervisors say when something fails: rules as data.

One :class:`Message` per class of failure that has no report of the kernel's core. A row
becomes a form of :mod:`postmortem.log.headers`, so it is found in the same pass over a log
as an oops. Formats are those of the kernel's sources (drivers/, fs/, net/, block/, arch/);
the file is named in the table's heading. A reader who misses a message adds a row in the table
of its subsystem and a line in ``tests/rules/test_messages.py``: an example, and one that looks
like it and is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from postmortem.model.findings import Kind, Severity


class Layer(IntEnum):
    """Where in the machine it failed. A failure explains those of higher layers, same device."""

    HOST = 0
    """Power, clock, temperature, hypervisor: everything stands on it."""
    BUS = 1
    """A link, a bus, an IOMMU, a network path."""
    DEVICE = 2
    """A controller, an adapter, its firmware, a server on the network."""
    BLOCK = 3
    """Requests to a disk."""
    VOLUME = 4
    """md, device-mapper, what is made of disks."""
    FILESYSTEM = 5
    SERVICE = 6
    """What the kernel could not do because of tasks or devices: suspend, for one."""


@dataclass(frozen=True, eq=False)
class Message:
    """One class of failure, known by what is printed."""

    name: str
    kind: Kind
    layer: Layer
    severity: Severity
    """Error: a service or data is lost. Warning: it failed, the outcome is open. Info: mended."""
    text: str
    """Pattern that matches at the start of a message. Named groups become ``Report.detail``; the
    groups ``device``, ``device2`` and ``netdev`` name what it is about."""
    literals: tuple[str, ...]
    """At least one of these is in every such message."""
    title: str
    sentence: str = ""
    """What it means, with the groups; empty: what the kind's own sentence says."""
    steps: tuple[str, ...] = ()
    recovers: tuple[str, ...] = ()
    """Names of the rows whose failures this message ends: it is no report of its own."""
    adds: tuple[str, ...] = ()
    """Names of the rows whose reports this message belongs to: it is no report of its own, its
    details are theirs."""
    explains: tuple[str, ...] = ()
    """Names of the rows whose reports, right before and of the same device, this message says
    more exactly: it takes their place."""
    lasting: bool = False
    """The failure stays until something says otherwise, although the severity is none that
    does so by itself: a server that is silent, a link that is down."""
    find: str = "none"
    """Where the guilty function is, if a stack follows (see :mod:`postmortem.log.guilty`)."""
    stack: bool = False
    """A stack, registers or further lines follow that belong to it."""
    skip: str = ""
    continues: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    scope: str = ""
    """Said before the name of a device that is none of the kernel's: ``server``, ``pool``."""

    @property
    def lasts(self) -> bool:
        """Whether it is a state, not an event: what was lost stays lost."""
        return self.lasting or self.severity is Severity.ERROR


PCI = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
DEV = (
    r"(?P<driver>[A-Za-z][\w.-]{0,31}) "
    rf"(?P<device>{PCI}|(?!.{{0,60}}\]: )[\w.@-]{{1,48}}(?::[\w.@-]{{1,32}}){{0,3}}?)"
    r"(?: (?P<netdev>[A-Za-z][\w.-]{0,15})(?: \([\w ]{1,40}\))?)?: "
)
"""How dev_err() and netdev_err() begin: driver, device, interface."""
DRM = r"(?:\[drm(?::[\w.]+)?(?: \[\w+\])?\] ?)?(?:\*ERROR\* ?)?"


@cache
def messages() -> tuple[Message, ...]:
    """All rows; of two that match one message the first counts."""
    from postmortem.rules import (
        messages_buses,
        messages_devices,
        messages_filesystems,
        messages_storage,
        messages_system,
    )

    return (
        *messages_storage.ROWS,
        *messages_filesystems.ROWS,
        *messages_buses.ROWS,
        *messages_system.ROWS,
        *messages_devices.ROWS,  # has the least particular ones
    )


@cache
def _by_name() -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for row in messages():
        found.setdefault(row.name, []).append(row)
    return found


@cache
def _pattern(row: Message) -> re.Pattern[str]:
    return re.compile(row.text)


_SAID_NEAR = 12
"""Lines of a report among which the message is."""


def row_of(form: str, said: Sequence[str] = ()) -> Message | None:
    """The row of a report (``Report.form``); ``None`` for one of the kernel's core.

    :param said: the lines of the report. Rows may share a name where they are one event to
        the rules of causes, but each has its own sentence and severity.
    """
    rows = _by_name().get(form, [])
    if len(rows) > 1:
        lines = [text.lstrip() for text in said[:_SAID_NEAR]]
        for row in rows:
            if any(_pattern(row).match(line) for line in lines):
                return row
    return rows[0] if rows else None


_UNKNOWN = "a device"


class _Fields(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def fields(detail: Mapping[str, str], devices: Sequence[str]) -> dict[str, str]:
    """What the titles and sentences of rows may name, absent ones as nothing."""
    first = devices[0] if devices else detail.get("driver", _UNKNOWN)
    found = _Fields({key: v if v.endswith("...") else v.strip(" .:,") for key, v in detail.items()})
    found["device"] = detail.get("device", detail.get("number", first) if not devices else first)
    found["disk"] = detail.get("device2") or found["device"]
    found["driver"] = detail.get("driver", found["device"])
    found["what"] = found["what"] or detail.get("severity2", "")
    found["severity"] = found["severity"] or detail.get("severity2", "")
    if detail.get("by") and detail.get("pid", "").isdigit():
        found["of_task"] = f", at work for {detail['by'].strip()} ({detail['pid']})"
    if "place" in detail:
        found["where"] = _place(detail["place"])
    if "location" in detail:
        found["at"] = f" at {detail['location']}"
    if "xid" in detail:
        found["xid_means"] = _XID.get(detail["xid"], "")
    if "csts" in detail:
        found["csts_means"] = _csts(detail["csts"], detail.get("status", ""))
    return found


_XID = {
    "79": ": it has fallen off the bus",
    "48": ": an uncorrectable error of its memory",
    "31": ": a program touched memory that is not its own",
    "13": ": a program's fault",
}
_PLACES = ("socket", "imc", "channel", "slot", "rank")


def _place(text: str) -> str:
    """Where a DIMM is, from EDAC's list: ``channel:2 slot:0 ... socket:1``."""
    pairs = dict(part.split(":", 1) for part in text.split() if part.count(":") == 1)
    known = [f"{name} {pairs[name]}" for name in _PLACES if name in pairs]
    return f" ({', '.join(known)})" if known else ""


_ALL_ONES = 0xFFFFFFFF
_FATAL_STATUS = 1 << 1
"""CSTS.CFS: the controller found a fatal error itself (NVMe base specification)."""


def _csts(csts: str, pci_status: str) -> str:
    """What the status registers of an NVMe controller say."""
    value = int(csts[:18], 16)
    if value == _ALL_ONES and int(pci_status[:18] or "0", 16) == 0xFFFF:
        return ", all ones in memory and configuration space: it is off the bus"
    if value == _ALL_ONES:
        return ", all ones: its registers can't be read any more"
    return ", it reports a fatal error of its own" if value & _FATAL_STATUS else ""
