"""Many stacks as data: what a flame graph is drawn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FoldedStack:
    """A stack and how often it occurs."""

    groups: tuple[str, ...]
    """What it is sorted under, the most general first: state, wait reason."""
    frames: tuple[str, ...]
    """Names, outermost first."""
    count: int
    hue: str = "other"
    """running, blocked, waking, sleeping, idle or other: what a picture colours it by."""
    who: tuple[tuple[str, int], ...] = ()
    """Names of the tasks, each with how many have it; the most frequent, not all."""
    marked: bool = False
    """The machine died in it."""


@dataclass(frozen=True)
class FoldedStacks:
    """All stacks of a machine, or of whatever ``unit`` says."""

    stacks: tuple[FoldedStack, ...]
    unit: str = "tasks"
    """What is counted."""
