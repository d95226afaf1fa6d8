"""Kernel code as it lies in the dump, disassembled (x86-64, in AT&T syntax)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.tasks.stacks import Symbolizer

_MAX_FUNCTION = 64 << 10
_AFTER = 48
"""Bytes that are shown behind the instruction in question."""

# Capstone writes a displacement below ten in decimal, everybody else in hex.
_SMALL = re.compile(r"(^|,|-)(\d)\(")

_LARGE = re.compile(r"\$(\d{10,})")

_WIDE = {
    part: whole
    for whole, parts in {
        "rax": "eax ax al ah",
        "rbx": "ebx bx bl bh",
        "rcx": "ecx cx cl ch",
        "rdx": "edx dx dl dh",
        "rsi": "esi si sil",
        "rdi": "edi di dil",
        "rbp": "ebp bp bpl",
        "rsp": "esp sp spl",
        **{f"r{n}": f"r{n}d r{n}w r{n}b" for n in range(8, 16)},
    }.items()
    for part in [whole, *parts.split()]
}


def whole_register(name: str) -> str:
    """The 64-bit register that ``name`` is a part of: ``eax`` is ``rax``."""
    return _WIDE.get(name, name)


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

    def address(self, registers: dict[str, int], next_address: int) -> int | None:
        """Effective address without segment; ``None`` if a register is not known."""
        value = self.displacement
        for name, scale in ((self.base, 1), (self.index, self.scale)):
            if name is None:
                continue
            content = next_address if name == "rip" else registers.get(name)
            if content is None:
                return None
            value += content * scale
        return value & (1 << 64) - 1


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

    @property
    def text(self) -> str:
        """``mov    %rax,0x18(%rdi)``"""
        return f"{self.mnemonic:<6} {self.operands}".rstrip()

    @property
    def is_call(self) -> bool:
        return self.mnemonic.startswith("call")

    @property
    def is_jump(self) -> bool:
        return self.mnemonic.startswith("j")

    @property
    def ends_flow(self) -> bool:
        """Nothing runs on from here."""
        return self.mnemonic.startswith(("jmp", "ret", "ud2", "iret", "int3"))


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
    instructions = tuple(decode(data, start))
    for index, instruction in enumerate(instructions):
        if instruction.address == pc:
            return FunctionCode(symbol.function, start, instructions, index)
    return None


def decode(data: bytes, address: int) -> Iterator[Instruction]:
    """Disassemble ``data`` that lies at ``address``, up to the first byte that is no code."""
    import capstone
    from capstone import x86

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.syntax = capstone.CS_OPT_SYNTAX_ATT
    engine.detail = True
    for insn in engine.disasm(data, address):
        yield _instruction(insn, x86)


def _instruction(insn: Any, x86: Any) -> Instruction:
    memory = None
    registers: list[str | None] = []
    immediate = None
    # Capstone lists operands in the order of the syntax: AT&T has the destination last.
    for operand in reversed(insn.operands):
        registers.append(None)
        if operand.type == x86.X86_OP_REG:
            registers[-1] = whole_register(insn.reg_name(operand.reg))
        elif operand.type == x86.X86_OP_IMM:
            immediate = operand.imm
        elif operand.type == x86.X86_OP_MEM:
            memory = _memory(insn, operand)
    _read, written = insn.regs_access()
    branch = insn.mnemonic.startswith(("call", "j"))
    return Instruction(
        address=insn.address,
        size=insn.size,
        mnemonic=insn.mnemonic,
        operands=_operands(insn.op_str),
        memory=memory,
        writes=tuple({whole_register(insn.reg_name(number)) for number in written}),
        operand_registers=tuple(registers),
        immediate=immediate,
        target=immediate & (1 << 64) - 1 if branch and immediate is not None else None,
    )


def _operands(text: str) -> str:
    """Operands with all but small numbers in hex, as objdump writes them."""
    text = _SMALL.sub(r"\g<1>0x\g<2>(", text.replace(", ", ","))
    return _LARGE.sub(lambda match: f"${int(match[1]):#x}", text)


def _memory(insn: Any, operand: Any) -> MemoryOperand:
    def name(number: int) -> str | None:
        return whole_register(insn.reg_name(number)) if number else None

    return MemoryOperand(
        base=name(operand.mem.base),
        index=name(operand.mem.index),
        scale=operand.mem.scale,
        displacement=operand.mem.disp,
        segment=name(operand.mem.segment),
        size=operand.size,
        # CS_AC_WRITE; capstone knows only the reading half of string stores.
        written=bool(operand.access & 2) or "stos" in insn.mnemonic,
    )


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
