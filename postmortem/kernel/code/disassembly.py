"""Kernel code as it lies in the dump, disassembled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import drgn

from postmortem.arch import arch_of
from postmortem.arch.model import Arch, engine
from postmortem.arch.operands import readable
from postmortem.dump.damage import damage
from postmortem.kernel.tasks.stacks import Symbolizer

_MAX_FUNCTION = 64 << 10
_WORD = (1 << 64) - 1
_AFTER = 48
"""Bytes that are shown behind the instruction in question."""


@dataclass(frozen=True)
class MemoryOperand:
    """``disp(base,index,scale)``; registers are the whole ones, ``None`` where absent."""

    base: str | None
    index: str | None
    scale: int
    displacement: int
    segment: str | None
    size: int
    """Bytes that are accessed."""
    written: bool
    from_pc: int | None = None
    """Where the program counter is then, if the base is that."""

    def address(self, registers: Mapping[str, int]) -> int | None:
        """Effective address without segment; ``None`` if a register is not known."""
        value = self.displacement
        for name, scale in ((self.base, 1), (self.index, self.scale)):
            if name is None:
                continue
            base = self.from_pc if name == self.base else None
            content = registers.get(name) if base is None else base
            if content is None:
                return None
            value += content * scale
        return value & _WORD


@dataclass(frozen=True)
class Instruction:
    """One instruction."""

    address: int
    size: int
    mnemonic: str
    operands: str
    memory: MemoryOperand | None
    writes: tuple[str, ...]
    """Whole registers that change."""
    operand_registers: tuple[str | None, ...]
    """Whole register of each operand in Intel's order (destination first), ``None`` for others."""
    immediate: int | None
    target: int | None
    """Where a direct call or jump goes."""
    is_call: bool
    is_jump: bool
    ends_flow: bool
    """Nothing runs on from here."""

    @property
    def text(self) -> str:
        """``mov    %rax,0x18(%rdi)``"""
        return f"{self.mnemonic:<6} {self.operands}".rstrip()


@dataclass(frozen=True)
class FunctionCode:
    """A function from its start to a little behind the instruction in question."""

    name: str
    start: int
    instructions: tuple[Instruction, ...]
    index: int
    """Position of the instruction at the address asked for."""

    @property
    def instruction(self) -> Instruction:
        """The instruction at the address asked for."""
        return self.instructions[self.index]


def function_code(prog: drgn.Program, pc: int) -> FunctionCode | None:
    """Disassemble the function around ``pc``; ``None`` if it is not in the dump or no code.

    :param pc: Address of an instruction, not of a return.
    """
    symbol = Symbolizer.of(prog).symbol(pc)
    if symbol is None or symbol.offset > _MAX_FUNCTION:
        return None
    start = pc - symbol.offset
    size = symbol.offset + _AFTER
    if symbol.size > symbol.offset:
        size = min(size, symbol.size)
    try:
        data = prog.read(start, max(size, symbol.offset + 1))
    except damage():
        return None
    instructions = tuple(decode(data, start, arch_of(prog)))
    for index, instruction in enumerate(instructions):
        if instruction.address == pc:
            return FunctionCode(symbol.function, start, instructions, index)
    return None


def decode(data: bytes, address: int, arch: Arch) -> Iterator[Instruction]:
    """Disassemble ``data`` that lies at ``address``, up to the first byte that is no code."""
    reader = _reader(arch)
    for insn in reader.engine.disasm(data, address):
        yield reader.instruction(insn)


@cache
def _reader(arch: Arch) -> _Reader:
    return _Reader(arch)


class _Reader:
    """Turns capstone's instructions into ours."""

    def __init__(self, arch: Arch) -> None:
        import capstone

        self._arch = arch
        self.engine = engine(arch.code)
        self._call, self._jump = capstone.CS_GRP_CALL, capstone.CS_GRP_JUMP
        self._returns = frozenset({capstone.CS_GRP_RET, capstone.CS_GRP_IRET})
        self._kinds = (capstone.CS_OP_REG, capstone.CS_OP_IMM, capstone.CS_OP_MEM)

    def instruction(self, insn: Any) -> Instruction:
        memory = None
        registers: list[str | None] = []
        immediate = None
        is_register, is_immediate, is_memory = self._kinds
        # Capstone lists operands in the order of the syntax: AT&T has the destination last.
        for operand in reversed(insn.operands):
            registers.append(None)
            if operand.type == is_register:
                registers[-1] = self._name(insn, operand.reg)
            elif operand.type == is_immediate:
                immediate = operand.imm
            elif operand.type == is_memory:
                memory = self._memory(insn, operand)
        groups = frozenset(insn.groups)
        is_call, is_jump = self._call in groups, self._jump in groups
        _read, written = insn.regs_access()
        code = self._arch.code
        return Instruction(
            address=insn.address,
            size=insn.size,
            mnemonic=insn.mnemonic,
            operands=readable(insn.op_str),
            memory=memory,
            writes=tuple({self._name(insn, number) for number in written}),
            operand_registers=tuple(registers),
            immediate=immediate,
            target=immediate & _WORD if (is_call or is_jump) and immediate is not None else None,
            is_call=is_call,
            is_jump=is_jump,
            ends_flow=bool(groups & self._returns)
            or insn.mnemonic in code.jumps
            or insn.mnemonic in code.traps,
        )

    def _name(self, insn: Any, number: int) -> str:
        return self._arch.whole_register(insn.reg_name(number))

    def _memory(self, insn: Any, operand: Any) -> MemoryOperand:
        def name(number: int) -> str | None:
            return self._name(insn, number) if number else None

        base = name(operand.mem.base)
        return MemoryOperand(
            base=base,
            index=name(operand.mem.index),
            scale=operand.mem.scale,
            displacement=operand.mem.disp,
            segment=name(operand.mem.segment),
            size=operand.size,
            # CS_AC_WRITE; capstone knows only the reading half of string stores.
            written=bool(operand.access & 2) or "stos" in insn.mnemonic,
            from_pc=insn.address + insn.size if base == self._arch.pc else None,
        )


def constant(instruction: Instruction, arch: Arch) -> int | None:
    """The kernel address that an instruction puts into its destination, if it is one."""
    memory = instruction.memory
    value = None
    if memory is None and instruction.mnemonic in arch.code.copies:
        value = instruction.immediate
    elif memory is not None and instruction.mnemonic.startswith(arch.code.address_of):
        value = memory.address({}) if memory.index is None else None
    if value is None or not arch.is_pointer(value & _WORD):
        return None
    return value & _WORD


def listing(prog: drgn.Program, code: FunctionCode, before: int = 8, after: int = 4) -> list[str]:
    """Lines around the instruction in question; calls and jumps name their targets."""
    first = max(0, code.index - before)
    symbolizer = Symbolizer.of(prog)
    lines = []
    for instruction in code.instructions[first : code.index + after + 1]:
        offset = instruction.address - code.start
        text = f"{code.name}+{offset:#x}:  {instruction.text}"
        if instruction.target is not None:
            target = symbolizer.symbol(instruction.target)
            if target is not None:
                where = f"+{target.offset:#x}" if target.offset else ""
                text += f"  <{target.function}{where}>"
        lines.append(text)
    return lines


def mark_of(code: FunctionCode, before: int = 8) -> int:
    """Index in :func:`listing` of the instruction in question."""
    return min(code.index, before)
