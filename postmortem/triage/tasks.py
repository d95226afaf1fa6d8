"""What a worker is asked and answers; it goes through a pipe, or over the network by Dask."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postmortem.triage.model import Outcome


class Work(str, Enum):
    """What is to be done with an item."""

    PROBE = "probe"
    """Say what it is and hash it."""
    ANALYSE = "analyse"
    WHOLE = "whole"
    """Both, of what has to be fetched first."""


@dataclass(frozen=True)
class File:
    """One file as it was found."""

    size: int
    changed: int
    """mtime in ns, or a number that changes with what a server says instead."""


@dataclass(frozen=True)
class Item:
    """One input: a file, or the files of one crash."""

    opened: str
    """What postmortem.open() is given: a file, or a folder."""
    names: tuple[str, ...]
    """Of its files, for the store and for people: ``ARCHIVE!/MEMBER`` for one in an archive."""
    paths: tuple[str, ...]
    """Where they lie now, or their URLs."""
    files: tuple[File, ...]
    content: str | None = None
    """The id of the content, once it is known."""
    remote: bool = False
    """The paths are URLs."""
    source: str | None = None
    """The archive that it came out of."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Job:
    """Several items for one worker, done one after the other."""

    number: int
    work: Work
    items: tuple[Item, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """Steps that killed an earlier worker, and how."""
    last: bool = False
    """The worker ends after it."""


@dataclass(frozen=True)
class Probed:
    """The id of a content."""

    content: str


@dataclass(frozen=True)
class Answer:
    """What became of one item."""

    work: Work
    item: Item
    found: Probed | Outcome


@dataclass(frozen=True)
class Limits:
    """What one input may take."""

    seconds: float = 600.0
    """Of time, of which most is computing."""
    memory_bytes: int = 4 << 30
    """Of a worker's own memory; what is mapped from a dump does not count."""


@dataclass
class Counted:
    """How far a triage is."""

    found: int = 0
    known: int = 0
    analysed: int = 0
    failed: int = 0
    refused: int = 0
    listed: bool = False
    """All that there is was found."""
    started: float = field(default=0.0)

    @property
    def done(self) -> int:
        return self.known + self.analysed + self.failed + self.refused
