"""The task lists that sysrq t and w leave in a log, and the locks that lockdep says are held.

Formats of ``sched_show_task()`` (kernel/sched/core.c) and ``lockdep_print_held_locks()``
(kernel/locking/lockdep.c), since v4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.model.report import Record, Report

_MAX_TASKS = 100_000
_MAX_FRAMES = 128
_MAX_LOCKS = 64

_TASK = re.compile(
    r"task:(?P<comm>.{1,64}?)\s*state:(?P<state>[RSDTtXZPIx])\s*stack:\s*\d+\s+pid:\s*(?P<pid>\d+)"
)
_OLD_TASK = re.compile(
    # Before v5.10 (e1b849cff8b4): comm, state, address or words, free stack, pid, parent, flags.
    r"(?P<comm>\S.{0,15}?)\s+(?P<state>[RSDTtXZPIx])\s+(?:[0-9a-f]{8,16}|running task)?"
    r"\s*\d+\s+(?P<pid>\d+)\s+\d+\s+0x[0-9a-f]{8}$"
)
_FRAME = re.compile(
    r"\s*(?:\[<[0-9a-f]+>\]\s*)?(?P<unsure>\? )?(?P<function>[A-Za-z_][\w.$]*)"
    r"\+0x(?P<offset>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})(?: \[(?P<module>\w+)[^\]]*\])?$"
)
_HELD = re.compile(r"\d+ locks? held by (?P<comm>.{1,64})/(?P<pid>\d+)[:.]")
_LOCK = re.compile(
    r"\s*#\d+: (?P<address>[0-9a-f]{8,16}) \((?P<name>.{1,200}?)\)\{[^}]*\}(?:-\{[^}]*\})?,"
    r" at: (?P<function>[\w.]+)"
)
_INSIDE = ("call trace", "<task>", "</task>", "workqueue:", "<irq>", "</irq>")


@dataclass(frozen=True)
class HeldLock:
    """A lock on lockdep's list of a task, held or just being waited for."""

    address: str
    """As printed, mostly hashed: equal for equal locks."""
    name: str
    function: str


@dataclass
class LoggedTask:
    """A task as the log shows it."""

    pid: int
    comm: str
    state: str
    line: int
    frames: list[Frame] = field(default_factory=list)
    locks: list[HeldLock] = field(default_factory=list)


def logged_tasks(records: Iterable[Record]) -> list[LoggedTask]:
    """Every task that a list in the log shows, the last time that it is shown."""
    found: dict[int, LoggedTask] = {}
    current: LoggedTask | None = None
    holder: LoggedTask | None = None
    for record in records:
        text = record.text
        match = _TASK.match(text) or _OLD_TASK.match(text)
        if match is not None:
            if len(found) >= _MAX_TASKS:
                break
            pid = int(match["pid"][:9])
            current = LoggedTask(pid, match["comm"].strip(), match["state"], record.line)
            known = found.get(pid)
            if known is not None:
                current.locks = known.locks
            found[pid] = current
            holder = None
            continue
        held = _HELD.match(text)
        if held is not None:
            pid = int(held["pid"][:9])
            holder = found.setdefault(pid, LoggedTask(pid, held["comm"], "?", record.line))
            holder.locks = []
            current = None
            continue
        lock = _LOCK.match(text) if holder is not None else None
        if lock is not None and holder is not None:
            if len(holder.locks) < _MAX_LOCKS:
                holder.locks.append(HeldLock(lock["address"], lock["name"], lock["function"]))
            continue
        holder = None
        if current is not None and not _take_frame(current, text):
            current = None
    return list(found.values())


def _take_frame(task: LoggedTask, text: str) -> bool:
    """Whether the line belongs to the task's stack."""
    frame = _FRAME.match(text)
    if frame is None:
        return text.strip().lower().startswith(_INSIDE)
    if len(task.frames) < _MAX_FRAMES:
        task.frames.append(
            Frame(
                frame["function"],
                offset=int(frame["offset"], 16),
                size=int(frame["size"], 16),
                module=frame["module"],
                reliable=not frame["unsure"],
            )
        )
    return True


def records_of(path: str) -> Iterator[Record]:
    """The messages of a file that may belong to a task list; nothing for what can't be reread."""
    from postmortem.errors import UnreadableInputError
    from postmortem.inputs.text import open_source
    from postmortem.log.lines import records_of_line

    if path == "-":
        return
    try:
        stream = open_source(path)
    except UnreadableInputError:
        return
    rest, number = b"", 0
    for chunk in stream.chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield from records_of_line(line, number)
        rest = rest[-65536:]
    if rest:
        yield from records_of_line(rest, number + 1)


# --- lockdep ----------------------------------------------------------------------

_CHAIN = re.compile(r"-> #(?P<number>\d+) \((?P<name>.{1,200}?)\)\{")


def lockdep_circle(report: Report) -> tuple[tuple[str, str], ...]:
    """Locks of a circular dependency and the function that took each; empty for other reports.

    lockdep prints the chain backwards: each lock was taken while the one below it
    in the result was held, and the first while the last was.
    """
    if report.kind is not Kind.LOCKDEP:
        return ()
    found: list[tuple[str, str]] = []
    waiting = False
    for text in report.text:
        match = _CHAIN.search(text)
        if match is not None:
            found.append((match["name"], ""))
            waiting = True
            continue
        frame = _FRAME.match(text)
        if waiting and frame is not None and not _machinery(frame["function"]):
            found[-1] = (found[-1][0], frame["function"])
            waiting = False
    return tuple(found)


def _machinery(function: str) -> bool:
    from postmortem.rules.blame import is_machinery

    return is_machinery(function, "HANG_MACHINERY") or "lock_acquire" in function
