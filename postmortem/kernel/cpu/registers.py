"""Register sets: of a CPU at the dump, and of the place that an exception interrupted."""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.arch.model import Arch


@dataclass(frozen=True)
class InterruptedFrame:
    """A frame that an exception or interrupt broke into: its registers are whole."""

    pc: int
    registers: dict[str, int]
    entry: str | None
    """The entry code that saved them: ``asm_exc_page_fault`` ..."""


def interrupted_frames(trace: drgn.StackTrace, arch: Arch) -> list[InterruptedFrame]:
    """Every interrupted kernel frame of a stack, innermost first.

    The innermost frame of a stack counts only if something was called above it.
    """
    result = []
    entry: str | None = None
    for number, frame in enumerate(trace):
        if frame.is_inline:
            continue
        if frame.interrupted and number:
            registers = frame.registers()
            pc = registers.get(arch.pc)
            if pc is None or arch.in_user(registers):
                break
            result.append(InterruptedFrame(pc, registers, entry))
        try:
            entry = frame.symbol().name
        except LookupError:
            entry = None
        if number > 300:
            break
    return result
