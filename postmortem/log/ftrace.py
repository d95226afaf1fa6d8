"""Events of ftrace that the kernel printed into its log: ``ftrace_dump_on_oops``, SysRq z.

Source: ``ftrace_dump()`` of kernel/trace/trace.c. Each entry is a message in the format of the
latency tracers; its time counts from when the buffer was last cleared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from postmortem.model.report import Record

_BEGIN = "Dumping ftrace buffer:"
_INSTANCE = re.compile(r"Dumping ftrace instance (\S+) buffer:$")
_RULE = re.compile(r"-{20,}$")
_EMPTY = "(ftrace buffer empty)"
_ENTRY = re.compile(
    r" *(?P<comm>.{1,8}?)-(?P<pid>-?\d{1,10}) {1,7} *(?P<cpu>\d{1,5})(?P<flags>[!-~]{4,5}) +"
    r"(?P<time>-?\d{1,20})(?:us[ !+#*@$])?: (?P<text>.*)$"
)
_LOST = re.compile(r"CPU:(\d{1,5}) \[LOST (\d{1,20} )?EVENTS\]$")
_MAX_EVENTS = 1 << 20


@dataclass(frozen=True)
class LoggedEvent:
    """One entry of a buffer in the log."""

    line: int
    """Of the log."""
    instance: str
    """Empty for the main buffer."""
    comm: str
    """Its first eight characters."""
    pid: int
    cpu: int
    flags: str
    """Interrupts, need of scheduling, context, preempt depth, as the kernel writes them."""
    time_us: int
    """Microseconds since the buffer was cleared; ticks where the clock counts no time."""
    event: str
    """``sched_switch``; empty where the text is no event's."""
    text: str


@dataclass(frozen=True)
class LoggedBuffer:
    """One buffer that was printed."""

    line: int
    instance: str
    events: tuple[LoggedEvent, ...]
    lost: dict[int, int]
    """Events that were overwritten before it was printed, by CPU."""
    whole: bool
    """The line that ends it is there."""


def logged_buffers(records: Sequence[Record]) -> Iterator[LoggedBuffer]:
    """Every buffer in the log that is not empty, in the order of the log."""
    at = 0
    while at < len(records):
        text = records[at].text
        found = _INSTANCE.match(text) if text.startswith("Dumping ftrace instance ") else None
        if text == _BEGIN or found is not None:
            buffer, at = _buffer(records, at, found[1] if found is not None else "")
            if buffer.events:
                yield buffer
        else:
            at += 1


def _buffer(records: Sequence[Record], start: int, instance: str) -> tuple[LoggedBuffer, int]:
    events: list[LoggedEvent] = []
    lost: dict[int, int] = {}
    at, begun, whole = start + 1, False, False
    while at < len(records) and len(events) < _MAX_EVENTS:
        record = records[at]
        if record.text == _BEGIN or record.text.startswith("Dumping ftrace instance "):
            break
        at += 1
        if _RULE.match(record.text):
            if begun:
                whole = True
                break
            begun = True
            continue
        if not begun:
            if record.text.strip() == _EMPTY:
                whole = True
                break
            continue
        gone = _LOST.match(record.text)
        if gone is not None:
            lost[int(gone[1])] = int(gone[2] or 0)
            continue
        entry = _ENTRY.match(record.text)
        if entry is not None:
            events.append(_event(record.line, instance, entry))
    return LoggedBuffer(records[start].line, instance, tuple(events), lost, whole), at


_NAME = re.compile(r"([A-Za-z_]\w*)[:(]|(\w+) ->")


def _event(line: int, instance: str, entry: re.Match[str]) -> LoggedEvent:
    name = _NAME.match(entry["text"])
    return LoggedEvent(
        line, instance, entry["comm"], int(entry["pid"]), int(entry["cpu"]), entry["flags"],
        int(entry["time"]), (name[1] or name[2]) if name is not None else "", entry["text"],
    )  # fmt: skip
