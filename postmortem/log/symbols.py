"""File and line for the frames of a report, from whoever knows them.

The log half knows names and offsets; debug information is read elsewhere
(:mod:`postmortem.symbolise` does it with drgn). Inlined functions become frames
of their own, for people: signatures don't count them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from postmortem.model.frame import Frame
from postmortem.model.report import Report


@dataclass(frozen=True)
class Location:
    """One function at an address; several where functions are inlined into each other."""

    function: str
    file: str
    line: int


class Sources(Protocol):
    """Whoever can say where code comes from."""

    def locations(self, function: str, offset: int, module: str | None) -> tuple[Location, ...]:
        """Innermost inlined function first; empty if unknown."""


def symbolise(report: Report, sources: Sources) -> Report:
    """The report with file and line in its frames; the same verdict and signature."""
    pc = report.pc
    if pc is not None:
        pc = _expand(pc, sources, back=0)[-1]
    return replace(
        report,
        pc=pc,
        frames=_all(report.frames, sources),
        stacks=tuple(replace(stack, frames=_all(stack.frames, sources)) for stack in report.stacks),
    )


def _all(frames: Iterable[Frame], sources: Sources) -> tuple[Frame, ...]:
    # A return address is behind the call: look one byte before it.
    return tuple(new for frame in frames for new in _expand(frame, sources, back=1))


def _expand(frame: Frame, sources: Sources, back: int) -> list[Frame]:
    if frame.function is None or frame.offset is None or frame.file is not None:
        return [frame]
    found = sources.locations(frame.function, max(0, frame.offset - back), frame.module)
    if not found:
        return [frame]
    *inlined, outer = found
    return [
        *(
            Frame(
                where.function,
                module=frame.module,
                reliable=frame.reliable,
                segment=frame.segment,
                file=where.file,
                line=where.line,
                inline=True,
            )
            for where in inlined
        ),
        replace(frame, file=outer.file, line=outer.line),
    ]
