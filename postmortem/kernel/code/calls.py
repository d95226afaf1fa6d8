"""The calls that a function has made where its stack goes on: what it took and gave back.

Code is read from top to bottom; branches are not followed. So "it has called this" is
likely, not certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.kernel.code.disassembly import Instruction, constant, decode, function_code
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.model.frame import Frame
from postmortem.rules.blame import plain

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


def with_tails(prog: drgn.Program, frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """A stack with the functions that made their last call a jump, as far as calls name them.

    A direct call whose target is not the function of the frame above went to one that then
    jumped: ``f()`` ends in ``return g();``. Where a call goes through a pointer nothing is known.

    :param frames: Innermost first.
    """
    result: list[Frame] = []
    for index, inner in enumerate(frames):
        result.append(inner)
        outer = frames[index + 1] if index + 1 < len(frames) else None
        hidden = _called(prog, outer) if outer is not None and not outer.interrupted else None
        if hidden is not None and not _same(hidden, inner):
            result.append(replace(hidden, segment=inner.segment))
    return tuple(result)


def _called(prog: drgn.Program, frame: Frame) -> Frame | None:
    """The function that a frame has called, as if it had run to its end; for direct calls."""
    if frame.function is None:
        return None
    before = code_before(prog, frame.pc)
    call = before[-1] if before else None
    target = call.target if call is not None and call.is_call else None
    symbol = Symbolizer.of(prog).symbol(target) if target is not None else None
    if target is None or symbol is None or symbol.offset or symbol.function.startswith(_VIAS):
        return None
    return Frame(
        symbol.function,
        offset=symbol.size,
        size=symbol.size,
        module=symbol.module,
        address=target + symbol.size,
    )


def _same(callee: Frame, inner: Frame) -> bool:
    """Whether the frame above runs in the called function: a cold part has a name of its own."""
    if inner.function is None:
        return True
    return plain(callee.function or "") == plain(inner.function)


_VIAS = ("__x86_indirect", "__SCT__", "__SCK__", "__fentry__", "srso_", "entry_", "asm_")
"""Calls through a pointer or a patched place, and entry code, which leaves no plain frames."""


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
