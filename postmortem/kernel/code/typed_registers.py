"""Which struct a register points to, from the types of a function's parameters.

BTF has every function's prototype. Starting with the parameters in their
registers (of the architecture's ABI) the function's code is followed to the
instruction in question: copies keep a type, loads through a typed pointer give
the member's type, calls give the type of their result. Where two paths meet,
only what both agree on is kept. The answer is likely, not certain: the
compiler may keep things where this does not look, and then there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import drgn

from postmortem.arch import arch_of
from postmortem.arch.model import Arch
from postmortem.dump.damage import damage
from postmortem.kernel.code.disassembly import FunctionCode, Instruction, MemoryOperand
from postmortem.kernel.identify import member_at, type_at
from postmortem.kernel.tasks.stacks import Symbolizer

_MAX_INSTRUCTIONS = 20_000
_COMPILER_COPIES = (".isra.", ".part.", ".constprop.", ".cold")
"""Copies of a function that the compiler made take other parameters than its prototype says."""


@dataclass(frozen=True)
class Pointer:
    """What a register points to."""

    struct: drgn.Type
    """The struct or union."""
    offset: int
    """Of the place pointed to, from the start of the struct."""
    expression: str
    """How the code got it: ``session->peer``."""

    def member(self, displacement: int) -> str | None:
        """Name of the member ``displacement`` bytes from here: ``port``, ``lock.owner``."""
        offset = self.offset + displacement
        return member_at(self.struct, offset) if offset >= 0 else None

    def member_expression(self, displacement: int) -> str | None:
        """C for the member: ``session->peer->port``."""
        name = self.member(displacement)
        return f"{self.expression}->{name}" if name else None

    @property
    def type_name(self) -> str:
        """``struct pm_peer``"""
        return str(self.struct.type_name())


State = dict[str, Pointer]


def typed_registers(prog: drgn.Program, code: FunctionCode) -> State:
    """What is known of the registers just before the instruction in question."""
    if any(mark in code.name for mark in _COMPILER_COPIES):
        return {}
    state = _parameters(prog, code)
    arriving: dict[int, State] = {}
    arch = arch_of(prog)
    rewritten = _loop_writes(code, arch)
    live = True
    for instruction in code.instructions[: min(code.index + 1, _MAX_INSTRUCTIONS)]:
        address = instruction.address
        if address in arriving:
            state = _agreed(state, arriving[address]) if live else dict(arriving[address])
            live = True
        elif not live:
            state = {}  # reached from a place that lies behind, or not at all
            live = True
        for register in rewritten.get(address, ()):
            state.pop(register, None)
        if instruction.address == code.instruction.address:
            return state
        if instruction.is_jump and instruction.target is not None:
            target = instruction.target
            known = arriving.get(target)
            arriving[target] = dict(state) if known is None else _agreed(known, state)
        state = _step(prog, arch, instruction, state)
        live = not instruction.ends_flow
    return {}


def _parameters(prog: drgn.Program, code: FunctionCode) -> State:
    state: State = {}
    function = _function_type(prog, code.name)
    if function is None:
        return state
    registers = iter(arch_of(prog).calls.parameters)
    for parameter in function.parameters:
        kind = parameter.type.unaliased_kind()
        if kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION, drgn.TypeKind.FLOAT):
            break  # passed in a way that shifts the registers
        register = next(registers, None)
        if register is None:
            break
        pointer = _pointer(parameter.type, parameter.name or "?")
        if pointer is not None:
            state[register] = pointer
    return state


def _function_type(prog: drgn.Program, name: str) -> drgn.Type | None:
    try:
        found = prog.function(name).type_
    except damage():
        return None
    return found if found.kind == drgn.TypeKind.FUNCTION else None


def _pointer(type_: drgn.Type, expression: str) -> Pointer | None:
    resolved = type_.unaliased()
    if resolved.kind != drgn.TypeKind.POINTER:
        return None
    target = resolved.type.unaliased()
    if target.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) or not target.is_complete():
        return None
    return Pointer(target, 0, expression)


def _agreed(one: State, other: State) -> State:
    return {
        register: pointer
        for register, pointer in one.items()
        if register in other
        and other[register].offset == pointer.offset
        and other[register].struct.type_name() == pointer.struct.type_name()
    }


def _loop_writes(code: FunctionCode, arch: Arch) -> dict[int, set[str]]:
    """For each loop's first instruction the registers that the loop writes.

    What they hold there depends on code that has not been followed yet.
    """
    position = {instruction.address: n for n, instruction in enumerate(code.instructions)}
    result: dict[int, set[str]] = {}
    for number, instruction in enumerate(code.instructions):
        target = instruction.target if instruction.is_jump else None
        first = position.get(target) if target is not None else None
        if target is None or first is None or first > number:
            continue
        writes = result.setdefault(target, set())
        for inside in code.instructions[first : number + 1]:
            writes.update(inside.writes)
            if inside.is_call:
                writes.update(arch.calls.clobbered)
    return result


def _step(prog: drgn.Program, arch: Arch, instruction: Instruction, state: State) -> State:
    after = dict(state)
    for register in instruction.writes:
        after.pop(register, None)
    if instruction.is_call:
        for register in arch.calls.clobbered:
            after.pop(register, None)
        result = _call_result(prog, instruction)
        if result is not None:
            after[arch.calls.result] = result
        return after
    operands = instruction.operand_registers
    destination = operands[0] if operands else None
    if destination is None:
        return after
    value = _value(prog, arch, instruction, state, destination)
    if value is not None:
        after[destination] = value
    return after


def _value(
    prog: drgn.Program, arch: Arch, instruction: Instruction, state: State, destination: str
) -> Pointer | None:
    """What the instruction puts into its destination register."""
    mnemonic = instruction.mnemonic
    memory = instruction.memory
    if mnemonic in arch.code.copies:
        if memory is not None:
            return _loaded(prog, arch, memory, state)
        source = (
            instruction.operand_registers[1] if len(instruction.operand_registers) > 1 else None
        )
        return state.get(source) if source else None
    if mnemonic.startswith(arch.code.address_of) and memory is not None and memory.index is None:
        base = state.get(memory.base or "")
        return replace(base, offset=base.offset + memory.displacement) if base else None
    if mnemonic.startswith(("add", "sub")) and instruction.immediate is not None:
        base = state.get(destination)
        if base is None:
            return None
        change = instruction.immediate
        if mnemonic.startswith("sub"):
            change = -change
        return replace(base, offset=base.offset + change)
    return None


def _loaded(prog: drgn.Program, arch: Arch, memory: MemoryOperand, state: State) -> Pointer | None:
    if memory.segment == arch.code.per_cpu:
        return _current(prog, memory.displacement)
    if memory.base is None or memory.index is not None or memory.base not in state:
        return None
    pointer = state[memory.base]
    offset = pointer.offset + memory.displacement
    if offset < 0:
        return None
    found = type_at(pointer.struct, offset)
    expression = pointer.member_expression(memory.displacement)
    return _pointer(found, expression) if found is not None and expression else None


def _current(prog: drgn.Program, displacement: int) -> Pointer | None:
    """``mov %gs:current_task, %reg``: per-CPU variables are read through GS."""
    # pcpu_hot (v6.2, d7b6d709a76a) begins with current_task; before and after it is on its own.
    for name in ("current_task", "pcpu_hot"):
        try:
            if prog.symbol(name).address == displacement & (1 << 64) - 1:
                return Pointer(prog.type("struct task_struct"), 0, "current")
        except LookupError:
            continue
    return None


def _call_result(prog: drgn.Program, instruction: Instruction) -> Pointer | None:
    if instruction.target is None:
        return None
    symbol = Symbolizer.of(prog).symbol(instruction.target)
    if symbol is None or symbol.offset:
        return None
    function = _function_type(prog, symbol.function)
    return _pointer(function.type, f"{symbol.function}()") if function is not None else None
