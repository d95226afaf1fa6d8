"""A limit on the time and the memory of one step, so that unforeseen damage is not a hang.

Walks are bounded where they are written. This is the net below them: a step that still
computes after its budget is ended, and becomes a problem of the report. The steps are in
:mod:`postmortem.steps`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

SECONDS = max(8.0, 40 * time.process_time())
"""Of computing, for a fact or a plugin; a healthy dump of 2 GB takes less than one for all.

More on a machine so slow (an emulated one) that it took long to come this far.
"""
ROOM_BYTES = 512 << 20
"""Of memory, beside what the size of the dump allows; 30,000 tasks take 110 MB for all."""

_AGAIN = 0.5


class GivenUp(BaseException):
    """A step is not done. No ``Exception``: what tolerates damage on the way must not keep it."""


class OverBudget(GivenUp):
    """A step took too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"given up after {seconds:.0f} s of computing")


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Let the block compute for so many seconds, if nothing around it has less left.

    Works in the main thread, which alone can be interrupted; elsewhere, or where the
    process uses the same timer for itself, there is no limit.

    :raises OverBudget: the time is over. What was being computed is lost.
    """
    if not _can_interrupt():
        yield
        return
    spent = False

    def ended(_signal: int, _frame: FrameType | None) -> None:
        nonlocal spent
        spent = True
        raise OverBudget(seconds)

    left, _ = signal.getitimer(signal.ITIMER_PROF)
    if 0 < left <= seconds:
        yield  # what is around ends first
        return
    before = signal.signal(signal.SIGPROF, ended)
    # Again and again: an exception in a destructor is printed and lost.
    signal.setitimer(signal.ITIMER_PROF, seconds, _AGAIN)
    try:
        yield
    finally:
        rest, _ = signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        if left:
            took = seconds if spent else seconds - rest
            signal.setitimer(signal.ITIMER_PROF, max(left - took, 0.001), _AGAIN)


def _can_interrupt() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    now = signal.getsignal(signal.SIGPROF)
    return now is signal.SIG_DFL or getattr(now, "__module__", "") == __name__


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let the block take so many bytes of memory, if nothing around it has less left.

    A limit on data of its own, not on mapped files. It is the whole process's: only
    for a process that is ours (:mod:`postmortem.cli.supervisor`).

    :raises MemoryError: by whatever asked for more.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = data_bytes() if soft == resource.RLIM_INFINITY else None
    if used is None:
        yield  # what is around ends first
        return
    limit = used + size if hard == resource.RLIM_INFINITY else min(used + size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def data_bytes() -> int | None:
    """What counts for RLIMIT_DATA: writable memory of this process alone; ``None`` without /proc.

    The sixth field of proc(5)'s statm has the stack too, which is small.
    """
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(fd, 128).split()[5]) * os.sysconf("SC_PAGE_SIZE")
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        return None


def available_bytes() -> int | None:
    """Memory that the machine can still give away; ``None`` if it does not say (proc(5))."""
    values: dict[bytes, int] = {}
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_bytes().splitlines():
            name, _, value = line.partition(b":")
            if name in (b"MemAvailable", b"SwapFree"):
                values[name] = int(value.split()[0]) << 10
    return sum(values.values()) if b"MemAvailable" in values else None
