"""What devices complain of and which programs crashed, in a log without a report of a failure.

Never a failure of the machine: a list for who looks for one. It costs a pass over all
lines, so it is made only when somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from postmortem.log.devices import disk_of
from postmortem.model.report import Record
from postmortem.rules.complaints import CRASHED, ERROR_LEVEL, HARMLESS, SUBJECT, USER_SPACE, WORDS

MAX_RECORDS = 2_000_000
"""Messages that are looked at."""
MAX_DEVICES = 1_000
_ON_A_BUS = re.compile(r"\d+-|\d+$|\d+:\d+:\d+:\d+$")
"""USB, I2C, platform and SCSI addresses."""
_HEAD = 400
"""Messages among which a level shows that the log has levels."""


@dataclass(frozen=True)
class Complaint:
    """All that one device complained of."""

    device: str
    line: int
    """Of the first complaint, in the original."""
    text: str
    """The first complaint."""
    count: int = 1


@dataclass(frozen=True)
class Crashes:
    """Programs of user space that a signal ended, as the kernel told."""

    program: str
    line: int
    """Of the first, in the original."""
    text: str
    """The first."""
    count: int = 1


@dataclass(frozen=True)
class Heard:
    """What else a calm log says."""

    complaints: tuple[Complaint, ...] = ()
    crashes: tuple[Crashes, ...] = ()


def heard(records: Iterable[Record]) -> Heard:
    """Both, in one pass over the log."""
    crashes: dict[str, Crashes] = {}
    return Heard(complaints(_without_crashes(records, crashes)), tuple(crashes.values()))


def _without_crashes(records: Iterable[Record], found: dict[str, Crashes]) -> Iterator[Record]:
    for record in islice(records, MAX_RECORDS):
        match = CRASHED.match(record.text) if "[" in record.text else None
        if match is None:
            yield record
            continue
        name = match["comm"]
        known = found.get(name)
        if known is not None:
            found[name] = replace(known, count=known.count + 1)
        elif len(found) < MAX_DEVICES:
            found[name] = Crashes(name, record.line, record.text.strip()[:300])


def complaints(records: Iterable[Record]) -> tuple[Complaint, ...]:
    """Errors that drivers reported, by device, the first one first."""
    found: dict[str, Complaint] = {}
    for record in _errors(islice(records, MAX_RECORDS)):
        device = _about(record.text)
        known = found.get(device) if device else None
        if known is not None:
            found[known.device] = replace(known, count=known.count + 1)
        elif device and len(found) < MAX_DEVICES:
            found[device] = Complaint(device, record.line, record.text.strip()[:300])
    return tuple(found.values())


def _errors(records: Iterable[Record]) -> Iterator[Record]:
    """By the level, where the log has levels, else by the words."""
    stream = iter(records)
    head = list(islice(stream, _HEAD))
    levels = any(record.level is not None for record in head)
    for part in (head, stream):
        for record in part:
            if levels:
                wrong = record.level is not None and record.level <= ERROR_LEVEL
            else:
                wrong = WORDS.search(record.text) is not None
            if wrong and not HARMLESS.search(record.text) and not USER_SPACE.match(record.text):
                yield record


def _about(text: str) -> str | None:
    """The device that a message begins with."""
    match = SUBJECT.match(text.lstrip())
    if match is None:
        return None
    named = match["netdev"] or match["disk"] or match["port"]
    if named:
        return disk_of(named)
    device = match["device"]
    # An address on a bus says nothing without who sits there; of PCI there is one only.
    return f"{match['driver']} {device}" if _ON_A_BUS.match(device) else device
