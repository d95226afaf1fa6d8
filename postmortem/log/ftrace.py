"""Events of ftrace that the kernel printed into its log: ``ftrace_dump_on_oops``, SysRq z.

Source: ``ftrace_dump()`` of kernel/trace/trace.c. Each entry is a message in the format of the
latency tracers; its time counts from when the buffer was last cleared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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
_MAX_STRANGE = 200


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


def logged_buffers(records: Iterable[Record]) -> Iterator[LoggedBuffer]:
    """Every buffer in the log that is not empty, in the order of the log."""
    current: _Buffer | None = None
    for record in records:
        text = record.text
        if text.startswith("Dumping ftrace "):
            found = _INSTANCE.match(text)
            if text == _BEGIN or found is not None:
                if current is not None and current.events:
                    yield current.finished()
                current = _Buffer(record.line, found[1] if found is not None else "")
                continue
        if current is None:
            continue
        if current.take(record):
            continue
        if current.events:
            yield current.finished()
        current = None
    if current is not None and current.events:
        yield current.finished()


class _Buffer:
    """A buffer that is being read."""

    def __init__(self, line: int, instance: str) -> None:
        self._line, self._instance = line, instance
        self.events: list[LoggedEvent] = []
        self._lost: dict[int, int] = {}
        self._begun = self._whole = False
        self._strange = 0

    def take(self, record: Record) -> bool:
        """Whether the buffer goes on behind this message."""
        text = record.text
        if _RULE.match(text):
            self._whole = self._begun
            self._begun = True
            return not self._whole
        if not self._begun:
            return text.strip() != _EMPTY and self._other()
        gone = _LOST.match(text)
        if gone is not None:
            self._lost[int(gone[1])] = int(gone[2] or 0)
            return True
        entry = _ENTRY.match(text)
        if entry is None:
            return self._other()
        self._strange = 0
        self.events.append(_event(record.line, self._instance, entry))
        return len(self.events) < _MAX_EVENTS

    def _other(self) -> bool:
        """A message of something else; many in a row, and the rest of the buffer never came."""
        self._strange += 1
        return self._strange < _MAX_STRANGE

    def finished(self) -> LoggedBuffer:
        return LoggedBuffer(self._line, self._instance, tuple(self.events), self._lost, self._whole)


_NAME = re.compile(r"([A-Za-z_]\w*)[:(]|(\w+) ->")


def _event(line: int, instance: str, entry: re.Match[str]) -> LoggedEvent:
    name = _NAME.match(entry["text"])
    return LoggedEvent(
        line, instance, entry["comm"], int(entry["pid"]), int(entry["cpu"]), entry["flags"],
        int(entry["time"]), (name[1] or name[2]) if name is not None else "", entry["text"],
    )  # fmt: skip
