"""Parameters and locals of a fault's innermost frames, for dumps with DWARF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.tasks.stacks import pt_regs

_FRAMES = 6
_VALUES = 40
_MAX_TEXT = 160


@dataclass(frozen=True)
class Local:
    """A parameter or local variable with its value as C."""

    function: str
    name: str
    value: str


def frame_locals(program: drgn.Program, registers: dict[str, int]) -> tuple[Local, ...]:
    """What the innermost frames' variables held.

    :param program: With DWARF.
    :param registers: Of the innermost frame, by their 64-bit names.
    :raises LookupError: the program has no ``struct pt_regs``.
    """
    trace = program.stack_trace(pt_regs(program, registers))
    return tuple(islice(_locals(trace), _VALUES))


def _locals(trace: drgn.StackTrace) -> Iterator[Local]:
    for frame in islice(trace, _FRAMES):
        for name in frame.locals():
            text = _text(frame, name)
            if text is not None:
                yield Local(frame.name or "?", name, text)


def _text(frame: drgn.StackFrame, name: str) -> str | None:
    """The value, ``None`` if the compiler kept none or it can't be read."""
    try:
        value = frame[name]
        if value.absent_:
            return None
        resolved = value.type_.unaliased_kind()
        if resolved in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION, drgn.TypeKind.ARRAY):
            return None  # long, and the shell shows it
        return str(value.format_(dereference=False, symbolize=True, string=True))[:_MAX_TEXT]
    except damage():
        return None
