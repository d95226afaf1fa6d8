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

PHRASES = ("stack:", "held by ", "Call Trace:", "Call trace:")
"""One of them is in each line that begins a list of frames or locks, or, before v5.10, in
the line after it."""

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
    r"\+0x(?P<offset>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})(?: \[(?P<module>[\w-]+)[^\]]*\])?"
    r"(?: \([A-Z]+\)){0,2}$"  # arm64 marks how it knows of a frame
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


class TaskLists:
    """Collects the tasks that lists in a log show; it is fed messages in their order."""

    def __init__(self) -> None:
        self._found: dict[int, LoggedTask] = {}
        self._task: LoggedTask | None = None
        """Whose stack is being printed."""
        self._holder: LoggedTask | None = None
        """Whose locks are being printed."""

    @property
    def tasks(self) -> list[LoggedTask]:
        """Every task, as it was the last time that it was shown."""
        return list(self._found.values())

    @property
    def idle(self) -> bool:
        """No list is open: the next line matters only if a phrase of :data:`PHRASES` is in it."""
        return self._task is None and self._holder is None

    def rest(self) -> None:
        """What was left out ends the list."""
        self._task = self._holder = None

    def feed(self, record: Record) -> None:
        """Take one message."""
        text = record.text
        match = _TASK.match(text) or _OLD_TASK.match(text)
        if match is not None:
            self._begin_task(match, record.line)
            return
        held = _HELD.match(text)
        if held is not None:
            self._begin_locks(held, record.line)
            return
        lock = _LOCK.match(text) if self._holder is not None else None
        if lock is not None and self._holder is not None:
            if len(self._holder.locks) < _MAX_LOCKS:
                held_lock = HeldLock(lock["address"], lock["name"], lock["function"])
                self._holder.locks.append(held_lock)
            return
        self._holder = None
        if self._task is not None and not _take_frame(self._task, text):
            self._task = None

    def _begin_task(self, match: re.Match[str], line: int) -> None:
        self.rest()
        pid = int(match["pid"][:9])
        known = self._found.get(pid)
        if known is None and len(self._found) >= _MAX_TASKS:
            return
        self._task = LoggedTask(pid, match["comm"].strip(), match["state"], line)
        if known is not None:
            self._task.locks = known.locks
        self._found[pid] = self._task

    def _begin_locks(self, match: re.Match[str], line: int) -> None:
        self.rest()
        pid = int(match["pid"][:9])
        if pid not in self._found and len(self._found) >= _MAX_TASKS:
            return
        self._holder = self._found.setdefault(pid, LoggedTask(pid, match["comm"], "?", line))
        self._holder.locks = []


def logged_tasks(records: Iterable[Record]) -> list[LoggedTask]:
    """Every task that a list in the log shows, the last time that it is shown."""
    lists = TaskLists()
    for record in records:
        lists.feed(record)
    return lists.tasks


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
