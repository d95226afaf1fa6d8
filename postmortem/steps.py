"""The steps of an analysis: facts and plugins, each of which may fail without the others.

A step has a limit of computing time and of memory, after which it is given up. And it is
written down, in a page that a supervisor shares with this process, which step is under way:
if it takes the process with it, the next attempt leaves it out (cli/supervisor.py).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from postmortem.budget import (
    ROOM_BYTES,
    SECONDS,
    GivenUp,
    OverBudget,
    available_bytes,
    budget,
    room,
)

_SPACIOUS_BYTES = 4 << 30
"""A dump that takes more than this on the disk has more to compute, and may take longer."""
_LEAST_SECONDS = 1.0


class LeftOut(GivenUp):
    """The step ended an earlier attempt: this one does without it."""


class OutOfRoom(GivenUp):
    """The step wanted too much memory."""


class State(NamedTuple):
    """How far the process is that works."""

    beats: int
    """How many things moved so far."""
    reading: bool = False
    """A dump is being read: something has to move."""
    printing: bool = False
    """The answer is being written: it can't be begun again."""
    seconds: float = SECONDS
    """A step's limit of computing."""
    names: tuple[str, ...] = ()
    """The steps under way, the outermost first; ``+`` before one that can be left out."""


class Page:
    """A page of memory that survives the process that writes into it."""

    _HEAD = struct.Struct("<Q??dH")
    _NAMES_BYTES = 2048

    def __init__(self, fd: int = -1) -> None:
        """:param fd: a file of that size, where the other process is no fork of this one."""
        self._memory = mmap.mmap(fd, mmap.PAGESIZE)

    def put(self, state: State) -> None:
        names = "\n".join(state.names).encode("utf-8", "replace")[-self._NAMES_BYTES :]
        head = self._HEAD.pack(*state[:4], len(names))
        self._memory[: len(head) + len(names)] = head + names

    def get(self) -> State:
        beats, reading, printing, seconds, length = self._HEAD.unpack_from(self._memory)
        start = self._HEAD.size
        names = self._memory[start : start + min(length, self._NAMES_BYTES)]
        said = names.decode("utf-8", "replace").split("\n")
        return State(beats, reading, printing, seconds, tuple(filter(None, said)))


class _Process:
    """What this process is doing, and what it may."""

    def __init__(self) -> None:
        self.page: Page | None = None
        self.left_out: Mapping[str, str] = {}
        self.notes: Sequence[tuple[str, str]] = ()
        self.state = State(0)
        self.room: int | None = None

    def change(self, **fields: Any) -> None:
        self.state = self.state._replace(beats=self.state.beats + 1, **fields)
        if self.page is not None:
            self.page.put(self.state)


_process = _Process()


def supervised(
    page: Page, left_out: Mapping[str, str], notes: Sequence[tuple[str, str]] = ()
) -> None:
    """From now on this process is one that another one waits for.

    :param left_out: Steps to be left out, and why.
    :param notes: What else the earlier attempts met: what, and why.
    """
    _process.page, _process.left_out, _process.notes = page, left_out, notes
    _process.change()


def is_supervised() -> bool:
    return _process.page is not None


def notes() -> Sequence[tuple[str, str]]:
    """What earlier attempts met that limits the answer."""
    return _process.notes


def beat() -> None:
    """Show that something moves."""
    _process.change()


def reading(size: int) -> None:
    """A dump is being read from here on, one of so many bytes on the disk."""
    _process.change(reading=True, seconds=SECONDS * max(1.0, size / _SPACIOUS_BYTES))
    if _process.page is not None:
        allowed = ROOM_BYTES + size // 2
        there = available_bytes()
        _process.room = allowed if there is None else min(allowed, there)


def printing() -> None:
    """The answer is being written from here on."""
    _process.change(printing=True)


@contextmanager
def doing(name: str, *, optional: bool = False) -> Iterator[None]:
    """Write down that this is under way."""
    names = _process.state.names
    _process.change(names=(*names, f"{'+' if optional else '-'}{_key(name)}"))
    try:
        yield
    finally:
        _process.change(names=names)


@contextmanager
def step(name: str, *, limited: bool = True) -> Iterator[None]:
    """One fact or plugin, within its limits.

    :param limited: Not on a log: it has no end in sight, and nothing in it leads in a circle.
    :raises GivenUp: it is not done, with the reason.
    """
    why = _process.left_out.get(_key(name))
    if why is not None:
        raise LeftOut(why)
    with doing(name, optional=True):
        try:
            with _limits() if limited else nullcontext():
                yield
        except OverBudget:
            # Damage that takes for ever is rarely alone: all together have to end, too.
            _process.change(seconds=max(_process.state.seconds / 2, _LEAST_SECONDS))
            raise
        except MemoryError:
            raise OutOfRoom("given up: it wants more memory than there can be use for") from None


def _key(name: str) -> str:
    """A name as it fits into the page: one short line."""
    return name.replace("\n", " ")[:80]


@contextmanager
def _limits() -> Iterator[None]:
    memory = nullcontext() if _process.room is None else room(_process.room)
    with budget(_process.state.seconds), memory:
        yield
