"""Who holds a lock of which the kernel does not write the holder down.

A semaphore, an rwsem held by readers, a percpu_rwsem: the holder must be told
from the stacks. Two kinds of evidence count. A function on a stack has, before
the place where it is, a call that takes this very lock (its address is in the
code) or a lock of this kind (it is not). And the address of the lock lies on
the stack, as it does when a function keeps it in a register that its callees
save.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import drgn

from postmortem.kernel.code.calls import Calls
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.tasks import Task
from postmortem.model.findings import Confidence
from postmortem.model.frame import Frame
from postmortem.rules.blame import plain
from postmortem.rules.waits import WaitKind

_TAKES = {
    WaitKind.MUTEX: r"_*(?:ww_)?mutex_(?:lock|trylock)\w*",
    WaitKind.RWSEM_READ: r"_*down_(?:read|write)\w*",
    WaitKind.RWSEM_WRITE: r"_*down_(?:read|write)\w*",
    WaitKind.SEMAPHORE: r"_*down(?:_interruptible|_killable|_trylock|_timeout)?",
    WaitKind.RT_MUTEX: r"_*rt_mutex_(?:lock|trylock)\w*",
    WaitKind.PERCPU_READ: r"_*percpu_down_\w+",
    WaitKind.PERCPU_WRITE: r"_*percpu_down_\w+",
}
_GIVES = {
    WaitKind.MUTEX: r"_*(?:ww_)?mutex_unlock",
    WaitKind.RWSEM_READ: r"_*up_(?:read|write)",
    WaitKind.RWSEM_WRITE: r"_*up_(?:read|write)",
    WaitKind.SEMAPHORE: r"_*up",
    WaitKind.RT_MUTEX: r"_*rt_mutex_unlock",
    WaitKind.PERCPU_READ: r"_*percpu_up_\w+",
    WaitKind.PERCPU_WRITE: r"_*percpu_up_\w+",
}
_WRAPPER = 512
"""Bytes of a function like rtnl_lock()."""


@dataclass(frozen=True)
class LikelyHolder:
    """A task that seems to hold a lock."""

    task: Task
    confidence: Confidence
    frame: int | None
    """Index of the frame that took it."""
    proof: str


class Holders:
    """Looks for holders on stacks."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._calls = Calls.of(prog)

    def acquirer(
        self, frames: Sequence[Frame], kind: WaitKind, address: int | None
    ) -> tuple[int, bool] | None:
        """The frame whose function took the lock and did not give it back.

        :return: Its index, and whether its code names this very lock.
        """
        likely: int | None = None
        for number, frame in enumerate(frames):
            balance = self._balance(frame, kind, address)
            if balance is None:
                continue
            if balance:
                return number, True
            likely = number if likely is None else likely
        return None if likely is None else (likely, False)

    def through_wrapper(self, frames: Sequence[Frame], kind: WaitKind, address: int) -> bool:
        """Whether a small function that a frame has called took the lock for it."""
        symbolizer = Symbolizer.of(self._prog)
        for frame in frames:
            for call in self._calls.before(frame):
                symbol = symbolizer.symbol(call.target) if call.target is not None else None
                if symbol is None or symbol.offset or not 0 < symbol.size <= _WRAPPER:
                    continue
                end = symbol.size + (call.target or 0)
                if self._balance(Frame(symbol.function, symbol.size, address=end), kind, address):
                    return True
        return False

    def _balance(self, frame: Frame, kind: WaitKind, address: int | None) -> bool | None:
        """``True``: took this lock; ``False``: took one of this kind; ``None``: neither."""
        if kind not in _TAKES:
            return None
        takes, gives = _pattern(kind)
        last: dict[int | None, bool] = {}
        for call in self._calls.before(frame):
            name = plain(call.function) if call.function is not None else ""
            if name and (takes.fullmatch(name) or gives.fullmatch(name)):
                last[call.argument] = takes.fullmatch(name) is not None
        if address is not None and address in last:
            return True if last[address] else None
        return False if last.get(None) else None

    def candidates(
        self,
        kind: WaitKind,
        address: int,
        stacks: Iterable[tuple[Task, Sequence[Frame], bytes]],
    ) -> list[LikelyHolder]:
        """Tasks that seem to hold the lock at ``address``, the surest first.

        :param stacks: Tasks that do not wait for it, with their stacks.
        """
        found: list[LikelyHolder] = []
        word = address.to_bytes(8, "little")
        known: dict[int, tuple[int, bool] | None] = {}
        for task, frames, data in stacks:
            key = id(frames)
            if key not in known:
                known[key] = self.acquirer(frames, kind, address)
            at = known[key]
            on_stack = _aligned(data, word)
            if at is not None and at[1]:
                name = frames[at[0]].function
                found.append(
                    LikelyHolder(
                        task, Confidence.LIKELY, at[0], f"{name}() has taken this very lock"
                    )
                )
            elif on_stack and at is not None:
                name = frames[at[0]].function
                proof = f"{name}() has taken a {kind} and the address of this one is on the stack"
                found.append(LikelyHolder(task, Confidence.LIKELY, at[0], proof))
            elif on_stack:
                proof = "the address of the lock is on its stack"
                found.append(LikelyHolder(task, Confidence.POSSIBLE, None, proof))
        order = {Confidence.LIKELY: 0, Confidence.POSSIBLE: 1}
        found.sort(key=lambda item: order.get(item.confidence, 2))
        return found


def _aligned(data: bytes, word: bytes) -> bool:
    at = data.find(word)
    while at >= 0:
        if at % 8 == 0:
            return True
        at = data.find(word, at + 1)
    return False


@lru_cache(maxsize=16)
def _pattern(kind: WaitKind) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(_TAKES[kind]), re.compile(_GIVES[kind])
