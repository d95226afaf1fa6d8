"""Workers on this machine: processes that are replaced when they die, hang or grow.

Not ``concurrent.futures``: there one process that dies takes the whole pool and all that was asked
of it along, and nobody knows which input did it. Here each worker has a pipe of its own and answers
item by item, so the one under way is the one to blame.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from postmortem.steps import Page
from postmortem.triage.model import InputState
from postmortem.triage.tasks import Answer, Item, Job, Limits, Work
from postmortem.triage.worker import READY

_RETRIES = 2
"""Times that an item is tried again without the step that killed the worker."""
_LEAVE_SECONDS = 5.0


class Workers(Protocol):
    """Whoever does the jobs, here or elsewhere."""

    @property
    def capacity(self) -> int:
        """How many jobs are worth being under way."""
        ...

    def submit(self, work: Work, items: tuple[Item, ...]) -> None:
        """Let it be done sometime."""
        ...

    def answers(self, timeout: float) -> Iterator[Answer]:
        """What is done since the last call; waits for something, but not for ever."""
        ...

    def close(self) -> None:
        """End all that is under way."""
        ...


class LocalWorkers:
    """Processes of this machine."""

    def __init__(self, count: int, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Job] = deque()
        self._workers = [_Worker(limits) for _ in range(count)]
        self._number = 0

    @property
    def capacity(self) -> int:
        return 2 * len(self._workers)

    def submit(self, work: Work, items: tuple[Item, ...]) -> None:
        self._number += 1
        self._waiting.append(Job(self._number, work, items))
        self._feed()

    def answers(self, timeout: float) -> Iterator[Answer]:
        self._feed()
        busy = [worker for worker in self._workers if worker.job is not None]
        if not busy:
            return
        due = min(worker.due for worker in busy) - time.monotonic()
        ready = wait([w.connection for w in busy], max(0.0, min(timeout, due)))
        for worker in busy:
            if worker.connection in ready:
                yield from worker.received()
            elif time.monotonic() > worker.due:
                yield from worker.overdue()
            self._waiting.extendleft(reversed(worker.again))
            worker.again.clear()
        self._feed()

    def _feed(self) -> None:
        for worker in self._workers:
            if worker.job is None and self._waiting:
                worker.take(self._waiting.popleft())

    def close(self) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    """One process, as this one sees it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._page = Page()
        self._alive = -1
        self.connection: Any = None
        self.job: Job | None = None
        self.again: list[Job] = []
        """What is left to be done by another one."""
        self.due = 0.0
        self._done = 0

    def take(self, job: Job) -> None:
        """Begin a job."""
        if self._process is None:
            self._start()
        self.job, self._done = job, 0
        self._began()
        with suppress(OSError):  # it died while idle: received() finds that out
            self.connection.send(job)

    def _began(self) -> None:
        self.due = time.monotonic() + self._limits.seconds

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        read, self._alive = os.pipe()
        page = os.memfd_create("postmortem")
        os.truncate(page, mmap.PAGESIZE)
        self._page = Page(page)
        numbers = (theirs.fileno(), read, page, os.getpid(), self._limits.memory_bytes)
        arguments = [sys.executable, "-m", "postmortem.triage.worker", *map(str, numbers)]
        try:
            self._process = subprocess.Popen(
                arguments,
                pass_fds=numbers[:3],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl+C is for us: we end it
            )
        finally:
            theirs.close()
            os.close(read)
            os.close(page)
        self.connection = Connection(ours.detach())

    def received(self) -> Iterator[Answer]:
        """What it has said, or that it is dead."""
        assert self.job is not None
        try:
            while True:
                said = self.connection.recv()
                if said == READY:
                    self._began()
                    if not self.connection.poll():
                        return
                    continue
                if said is None or said is True:
                    if said is None:
                        self.end()
                    self.job = None
                    return
                yield Answer(self.job.work, self.job.items[self._done], said)
                self._done += 1
                self._began()
                if not self.connection.poll():
                    return
        except (EOFError, OSError):
            yield from self._died()

    def overdue(self) -> Iterator[Answer]:
        """It takes too long."""
        yield from self._died(f"it took longer than {self._limits.seconds:g} s")

    def _died(self, reason: str | None = None) -> Iterator[Answer]:
        """Blame the item that was under way, and leave the rest of the job to another one."""
        job, done = self.job, self._done
        assert job is not None
        step = self._step()
        code = self.end()
        self.job = None
        reason = reason or _explained(code)
        rest = job.items[done:]
        if not rest:
            return
        if rest[1:]:
            self.again = [Job(job.number, job.work, rest[1:])]
        known = dict(job.left_out)
        if job.work is not Work.PROBE and step and step not in known and len(known) < _RETRIES:
            left_out = (*job.left_out, (step, f"left out: {reason}"))
            self.again.insert(0, Job(job.number, job.work, rest[:1], left_out))
            return
        from postmortem.triage.facts import failed
        from postmortem.triage.worker import unread_id

        where = f' at "{step}"' if step else ""
        item = rest[0]
        why = f"{reason}{where}"
        found = failed(
            item.content or unread_id(item), item.names, InputState.FAILED, why, item.size
        )
        yield Answer(job.work, item, found)

    def _step(self) -> str | None:
        """The innermost step under way that the rest can do without."""
        with suppress(ValueError, UnicodeError):
            names = self._page.get().names
            return next((name[1:] for name in reversed(names) if name[0] == "+"), None)
        return None

    def end(self) -> int:
        """Kill it, if it still lives; how it ended, as ``returncode`` tells."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if self.connection is not None:
            self.connection.close()
        os.close(self._alive)
        with suppress(subprocess.TimeoutExpired):
            # One that died by itself tells how; SIGKILL is ours only after that.
            process.wait(0.2)
        process.kill()
        try:
            return process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:  # it waits for a disk inside the kernel
            return -9


def _explained(code: int) -> str:
    from postmortem.cli.supervisor import explained

    if code >= 0:
        return f"its worker ended with status {code}"
    return explained(-code)[0]
