"""The log as ``dmesg`` of util-linux prints it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from postmortem.model.report import Record

LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
_NOBODY = "T0"
"""What a kernel without CONFIG_PRINTK_CALLER has in every record: no caller at all."""


def dmesg_lines(
    records: Sequence[Record],
    *,
    boot_time: float | None = None,
    levels: bool = False,
    callers: bool = False,
) -> Iterator[str]:
    """One line a message.

    :param boot_time: seconds since the epoch; with it times are those of the wall clock.
    :param levels: name each message's level in front, as ``dmesg -x`` does.
    :param callers: name who printed each message, where the kernel notes it.
    """
    callers = callers and _callers(records)
    for record in records:
        level = f"{_level(record):<6}: " if levels else ""
        yield f"{level}{_stamp(record, boot_time, callers)}{record.text}"


def dmesg_json(records: Sequence[Record]) -> dict[str, Any]:
    """The document of ``dmesg --json``; what a message lacks is left out."""
    callers = _callers(records)
    return {"dmesg": [dict(_fields(record, callers)) for record in records]}


def _fields(record: Record, callers: bool) -> Iterable[tuple[str, Any]]:
    if record.level is not None:
        yield "pri", record.level
    if record.time is not None:
        yield "time", record.time
    if callers and record.caller is not None:
        yield "caller", record.caller
    yield "msg", record.text


def _callers(records: Iterable[Record]) -> bool:
    return any(record.caller not in (None, _NOBODY) for record in records)


def _level(record: Record) -> str:
    return LEVELS[record.level] if record.level is not None and 0 <= record.level < 8 else "-"


def _stamp(record: Record, boot_time: float | None, callers: bool) -> str:
    if record.time is None:
        return ""
    if boot_time is None:
        stamp = f"[{record.time:12.6f}]"
    else:
        stamp = f"[{time.ctime(boot_time + record.time)}]"
    return f"{stamp}[{record.caller or '-':>6}] " if callers else f"{stamp} "
