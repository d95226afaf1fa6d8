"""A stack as lines to show: numbered, the culprit marked, recursion folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from postmortem.model.frame import Frame
from postmortem.render import words

_MAX_PERIOD = 8
"""Functions that call each other in turn, at most so many."""
_FOLDED = 3
"""So many rounds of several functions are a recursion; two of one function are."""


@dataclass(frozen=True)
class FrameLine:
    """One frame as it is shown, or a word on the frames above it."""

    name: str
    number: int | None = None
    """``None`` for a frame that the kernel was not sure of, and for a word on others."""
    module: str = ""
    where: str = ""
    """File and line."""
    inline: bool = False
    note: str = ""
    culprit: bool = False
    faint: bool = False
    """Handling of the failure, above the culprit; or not sure."""
    enters: str = ""
    """The segment that begins here, as the kernel writes it: ``IRQ``, ``TASK`` ..."""
    locals: tuple[str, ...] = ()


def frame_lines(
    frames: Sequence[Frame], culprit: str | None, *, unsure: bool = True
) -> list[FrameLine]:
    """All lines of a stack, innermost first; the first frame of ``culprit`` is marked.

    :param unsure: With the frames that only may have been called (``?``).
    """
    shown = [frame for frame in frames if frame.reliable or unsure]
    guilty = next(
        (n for n, frame in enumerate(shown) if culprit and frame.function == culprit), None
    )
    lines = []
    segment = "task"
    number = 0
    for place, count, period in _folded(shown):
        frame = shown[place]
        is_culprit = place == guilty
        lines.append(
            FrameLine(
                name=words.frame_name(frame) if frame.reliable else f"? {words.frame_name(frame)}",
                number=number if frame.reliable else None,
                module=frame.module or "",
                where=words.source(frame.file, frame.line),
                inline=frame.inline,
                note=_note(frame, is_culprit, count if period == 1 else 1),
                culprit=is_culprit,
                faint=not frame.reliable or (guilty is not None and place < guilty),
                enters="" if frame.segment == segment else frame.segment.upper(),
                locals=tuple(f"{name} = {value}" for name, value in frame.locals.items()),
            )
        )
        segment = frame.segment
        number += frame.reliable * (count if period == 1 else 1)
        if period > 1 and count > 1:
            lines.append(FrameLine(f"... these {period} again, x {count} in all", faint=True))
            number += period * (count - 1)
    return lines


def _note(frame: Frame, is_culprit: bool, count: int) -> str:
    notes = ["culprit"] if is_culprit else ["interrupted"] if frame.interrupted else []
    notes += [f"x {count}"] if count > 1 else []
    return ", ".join(notes)


def _folded(frames: Sequence[Frame]) -> Iterator[tuple[int, int, int]]:
    """Which frames are shown: place, rounds, frames of a round (1 but at its last frame)."""
    keys = [(f.function, f.offset, f.address, f.inline, f.reliable, f.segment) for f in frames]
    place = 0
    while place < len(keys):
        period, rounds = _recursion(keys, place)
        for step in range(period):
            last = step == period - 1
            yield place + step, rounds if last else 1, period if last else 1
        place += period * rounds


def _recursion(keys: Sequence[object], start: int) -> tuple[int, int]:
    """The shortest group of frames that repeats from here, and how often it comes."""
    for period in range(1, _MAX_PERIOD + 1):
        group = keys[start : start + period]
        rounds = 1
        while keys[start + rounds * period : start + (rounds + 1) * period] == group:
            rounds += 1
        if rounds >= (2 if period == 1 else _FOLDED):
            return period, rounds
    return 1, 1
