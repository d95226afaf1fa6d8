"""A limit on the time of one step, so that damage which nobody foresaw is not a hang.

Walks are bounded where they are written. This is the net below them: a step that still
computes after its budget is ended, and becomes a problem of the report.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = max(8.0, 40 * time.process_time())
"""Of computing, for a fact or a plugin; a healthy dump of 2 GB takes less than one for all.

More on a machine so slow (an emulated one) that it took long to come this far.
"""

_AGAIN = 0.5


class OverBudget(BaseException):
    """A step took too long. No ``Exception``: what tolerates damage on the way must not keep it."""

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
