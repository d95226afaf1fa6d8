"""What stands on a page: plain data that the templates put out, redacted as a whole where asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from postmortem.render.timeline import Timeline

_KEPT = {"kept": True}


@dataclass(frozen=True)
class Fact:
    """A number and what it counts."""

    count: int
    text: str
    href: str = field(default="", metadata=_KEPT)


@dataclass(frozen=True)
class Tag:
    """A word beside a title."""

    text: str
    style: str = field(metadata=_KEPT)


@dataclass(frozen=True)
class Cell:
    """A cell of a table, perhaps a link."""

    text: str
    href: str = field(default="", metadata=_KEPT)


@dataclass(frozen=True)
class BucketRow:
    """A bucket in the index."""

    href: str = field(metadata=_KEPT)
    title: str
    kind: str
    module: str
    crashes: int
    hosts: str
    kernels: str
    first: str
    last: str
    tags: tuple[Tag, ...]


@dataclass(frozen=True)
class IndexView:
    """One page of the index."""

    facts: tuple[Fact, ...]
    heading: str
    aside: str
    search: str
    sorted: str
    rows: tuple[BucketRow, ...]
    timeline: Timeline | None = field(default=None, metadata=_KEPT)


@dataclass(frozen=True)
class TableView:
    """A table with a page of its own."""

    notes: tuple[str, ...]
    columns: tuple[tuple[str, str], ...] = field(metadata=_KEPT)
    """Titles and classes."""
    wide: int
    """The column whose text is wrapped."""
    sorted: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class SpecialRow:
    """What is over-represented, in words."""

    name: str
    value: str
    here: str
    others: str
    chance: str


@dataclass(frozen=True)
class Group:
    """How many crashes have which value."""

    title: str
    rows: tuple[tuple[str, int], ...]
    more: int


@dataclass(frozen=True)
class CaseRow:
    """A crash in the table of its bucket."""

    id: str = field(metadata=_KEPT)
    href: str = field(metadata=_KEPT)
    when: str
    host: str
    release: str
    model: str
    source: str


@dataclass(frozen=True)
class BucketView:
    """The page of a bucket."""

    id: str = field(metadata=_KEPT)
    key: str = field(metadata=_KEPT)
    title: str
    kind: str
    module: str
    tags: tuple[Tag, ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    before: Cell | None
    after: tuple[Cell, ...]
    special: tuple[SpecialRow, ...]
    nothing_special: str
    groups: tuple[Group, ...]
    alike: tuple[tuple[str, Cell, str], ...]
    """What is perhaps the same: how alike from 0 to 1, the bug, functions that both have."""
    example: Cell
    cases: tuple[CaseRow, ...]
    cases_aside: str
    timeline: Timeline | None = field(default=None, metadata=_KEPT)
