"""Who holds the memory of a machine: what its memory says, or what its kernel printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """What one kind of use, or one owner, has taken."""

    name: str
    bytes: int
    parts: tuple[Part, ...] = ()
    """Its owners, the largest first; they add up to it."""
    note: str = ""


@dataclass(frozen=True)
class ProcessMemory:
    """A process with memory of its own; ``None`` is what a log does not tell."""

    pid: int
    comm: str
    rss_bytes: int
    anon_bytes: int | None
    file_bytes: int | None
    shmem_bytes: int | None
    swap_bytes: int
    tables_bytes: int | None
    adj: int
    """``oom_score_adj``"""


@dataclass(frozen=True)
class ZoneMemory:
    """A zone of a node and the watermarks below which the kernel reclaims."""

    node: int
    name: str
    managed_bytes: int
    free_bytes: int
    min_bytes: int
    low_bytes: int
    high_bytes: int

    @property
    def state(self) -> str:
        """What its free pages mean."""
        if self.free_bytes < self.min_bytes:
            return "below min: only who must have memory gets some"
        if self.free_bytes < self.low_bytes:
            return "below low: kswapd reclaims"
        return "enough"


@dataclass(frozen=True)
class GroupMemory:
    """A memory cgroup."""

    path: str
    usage_bytes: int
    limit_bytes: int | None
    """``None``: it has none of its own."""
    kills: int | None
    """Processes that were killed in it for want of memory."""


@dataclass(frozen=True)
class VmallocCaller:
    """What one function has taken by vmalloc() and its like."""

    function: str
    areas: int
    bytes: int


@dataclass(frozen=True)
class MemoryTree:
    """All pages that the page allocator was given."""

    total_bytes: int
    parts: tuple[Part, ...]
    """They add up to it."""
    processes: tuple[ProcessMemory, ...]
    """The largest first."""
    vmalloc: tuple[VmallocCaller, ...]
    unreadable: tuple[str, ...]
    zones: tuple[ZoneMemory, ...] = ()
    groups: tuple[GroupMemory, ...] = ()
    """The fullest first, then the largest."""

    def part(self, name: str) -> Part | None:
        """The part of this name."""
        return next((part for part in self.parts if part.name == name), None)


LISTED = 12
"""So many owners of a part are told; the others are one."""


def largest(owners: list[tuple[str, int]], total: int, others: str) -> tuple[Part, ...]:
    """The largest owners, and one part for what is left of the total."""
    owners = sorted(((n, s) for n, s in owners if s > 0), key=lambda owner: -owner[1])
    parts = [Part(name, size) for name, size in owners[:LISTED]]
    rest = total - sum(part.bytes for part in parts)
    # Owners may have more than the counter says: pages that several processes share.
    return (*parts, Part(others, rest)) if rest > 0 and parts else tuple(parts)
