"""The calls that a function has made where its stack goes on: what it took and gave back.

Code is read from top to bottom; branches are not followed. So "it has called this" is
likely, not certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.kernel.code.disassembly import Instruction, constant, decode, function_code
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.model.frame import Frame

_MAX_FUNCTION = 64 << 10


@dataclass(frozen=True)
class MadeCall:
    """A call that has come back."""

    function: str | None
    """``None`` for one through a pointer."""
    target: int | None
    argument: int | None
    """The first argument, if it is an address in the code."""
    at: int
    """Address of the call."""


class Calls:
    """Looks for calls; each place in code is disassembled once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._arch = arch_of(prog)
        self._known: dict[tuple[int, bool], tuple[MadeCall, ...]] = {}

    @staticmethod
    def of(prog: drgn.Program) -> Calls:
        """That of this program."""
        return _calls(prog)

    def before(self, frame: Frame) -> tuple[MadeCall, ...]:
        """The calls that a frame's function made before the place where it is."""
        key = (frame.pc, frame.interrupted)
        if key not in self._known:
            self._known[key] = tuple(self._scan(self._instructions(frame)))
        return self._known[key]

    def _instructions(self, frame: Frame) -> Sequence[Instruction]:
        if frame.interrupted:
            code = function_code(self._prog, frame.pc)
            return code.instructions[: code.index] if code is not None else ()
        # The last one is the call that the frame is in.
        return code_before(self._prog, frame.pc)[:-1]

    def _scan(self, instructions: Sequence[Instruction]) -> Iterator[MadeCall]:
        symbolizer = Symbolizer.of(self._prog)
        convention = self._arch.calls
        first = convention.parameters[0]
        constants: dict[str, int] = {}
        for instruction in instructions:
            if instruction.is_call:
                target = instruction.target
                called = symbolizer.symbol(target) if target else None
                name = called.function if called is not None and not called.offset else None
                yield MadeCall(name, target, constants.get(first), instruction.address)
                for register in convention.clobbered:
                    constants.pop(register, None)
                continue
            value = self._value(instruction, constants)
            for register in instruction.writes:
                constants.pop(register, None)
            registers = instruction.operand_registers
            if value is not None and registers and registers[0]:
                constants[registers[0]] = value

    def _value(self, instruction: Instruction, constants: dict[str, int]) -> int | None:
        """The address that an instruction puts into its first operand."""
        registers = instruction.operand_registers
        if len(registers) > 1 and registers[1] and instruction.mnemonic in self._arch.code.copies:
            return constants.get(registers[1])
        return constant(instruction, self._arch)


@fact
def _calls(prog: drgn.Program) -> Calls:
    return Calls(prog)


def code_before(prog: drgn.Program, return_address: int) -> list[Instruction]:
    """The function up to and with the call that returns to ``return_address``."""
    symbol = Symbolizer.of(prog).caller(return_address)
    if symbol is None or symbol.offset > _MAX_FUNCTION:
        return []
    start = return_address - symbol.offset
    try:
        data = prog.read(start, symbol.offset)
    except damage():
        return []
    return list(decode(data, start, arch_of(prog)))


def argument_at(prog: drgn.Program, return_address: int) -> int | None:
    """The address in the code that is the first argument of the call that returns there."""
    arch = arch_of(prog)
    first = arch.calls.parameters[0]
    for instruction in reversed(code_before(prog, return_address)[:-1]):
        if instruction.is_call or instruction.is_jump:
            return None
        if first in instruction.writes:
            return constant(instruction, arch)
    return None
