"""The log that was saved beside a dump, and what of it the dump's own log lacks.

``vmcore-dmesg.txt`` and ``dmesg.STAMP`` are written from the same printk buffer before
the dump is, so they are whole where the dump was cut off or lost pages. Nothing is taken
from a file that is of another boot: messages of both must agree in time and text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from postmortem.model.report import Record

_MAX_RECORDS = 1 << 20
_AGREE = 3
"""Messages after the first moment of a boot, alike to the microsecond, that prove one boot."""
_BANNER = re.compile(r"Linux version (\S+)")
_TICK = 1e-6
"""Seconds: what a printed time is cut to."""


@dataclass(frozen=True)
class Completed:
    """A log of two sources."""

    records: tuple[Record, ...]
    """In the order of printing, numbered anew."""
    origin: tuple[int, ...]
    """For each record its line in the dump's log, 0 if it is from the file."""
    added: int
    whole: bool
    """The file has every message of the dump's log: it is the log before it was damaged."""


class OtherLogError(Exception):
    """The file is not the log of this dump."""


def completed(own: Sequence[Record], saved: Sequence[Record], release: str) -> Completed:
    """The dump's log with what only the saved one has.

    :param release: of the dump's kernel.
    :raises OtherLogError: ``saved`` is of another boot or machine, one phrase says why.
    """
    saved = saved[:_MAX_RECORDS]
    _same_release(saved, release)
    pairs = list(_pairs(own, saved))
    proof = sum(1 for index, there in pairs if own[index].time and saved[there].time)
    if own and proof < min(_AGREE, sum(1 for record in own if record.time)):
        raise OtherLogError("its messages are of another boot")
    records: list[tuple[Record, int]] = []
    mine = 0
    matched = {there: index for index, there in pairs}
    for there, record in enumerate(saved):
        index = matched.get(there)
        if index is None:
            records.append((record, 0))
            continue
        records += [(own[number], own[number].line) for number in range(mine, index + 1)]
        mine = index + 1
    records += [(record, record.line) for record in own[mine:]]
    return Completed(
        tuple(record._replace(line=line) for line, (record, _) in enumerate(records, 1)),
        tuple(origin for _, origin in records),
        len(saved) - len(matched),
        len(pairs) == len(own),
    )


def _same_release(saved: Sequence[Record], release: str) -> None:
    for record in saved:
        banner = _BANNER.match(record.text)
        if banner is not None:
            if release and banner[1] != release:
                raise OtherLogError(f"it is of kernel {banner[1]}")
            return


def _pairs(own: Sequence[Record], saved: Sequence[Record]) -> Iterator[tuple[int, int]]:
    """Equal messages as ``(index in own, index in saved)``, both ascending."""
    places: dict[str, list[int]] = {}
    for index in range(len(own) - 1, -1, -1):
        places.setdefault(_plain(own[index].text), []).append(index)
    start = 0
    for there, record in enumerate(saved):
        waiting = places.get(_plain(record.text), [])
        while waiting and (waiting[-1] < start or _earlier(own[waiting[-1]], record)):
            waiting.pop()
        if waiting and _same_time(own[waiting[-1]], record):
            start = waiting.pop() + 1
            yield start - 1, there


def _earlier(one: Record, other: Record) -> bool:
    return one.time is not None and other.time is not None and one.time < other.time - _TICK


def _same_time(one: Record, other: Record) -> bool:
    if one.time is None or other.time is None:
        return True
    return abs(one.time - other.time) <= _TICK


def _plain(text: str) -> str:
    """As vmcore-dmesg and makedumpfile print it: what is no ASCII character as ``\\xNN``."""
    text = text.rstrip()
    if text.isascii() and text.isprintable():
        return text
    data = text.encode("utf-8", "replace")
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F or byte in b"\t\r\v\f" else f"\\x{byte:02x}"
        for byte in data
    )
