"""The place of a fault: the instruction, its operands' values, and what these are.

Works from a function name with offset and a set of registers, so it serves a
fault read from the log (the machine may have gone on) and one found on a stack.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.arch import arch_of
from postmortem.kernel.code.disassembly import (
    FunctionCode,
    Instruction,
    function_code,
    listing,
    mark_of,
)
from postmortem.kernel.code.typed_registers import Pointer, typed_registers
from postmortem.kernel.identify import SlabObject, slab_object
from postmortem.rules.poison import Poison, poison


@dataclass(frozen=True)
class Fault:
    """What is known about a faulting instruction."""

    code: FunctionCode
    registers: dict[str, int]
    address: int | None
    """What it accessed, computed from its memory operand; ``None`` if it has none."""
    base: str | None
    """The register that the address comes from."""
    pointer: Pointer | None
    """What the base register points to by type."""
    base_poison: Poison | None
    """The poison in the base register."""
    pointers: dict[str, Pointer]
    """All registers whose type is known."""
    objects: dict[str, SlabObject]
    """Registers that point into slab objects."""

    @property
    def instruction(self) -> Instruction:
        return self.code.instruction

    @property
    def displacement(self) -> int:
        """Constant part of the memory operand."""
        return self.instruction.memory.displacement if self.instruction.memory else 0

    @property
    def base_value(self) -> int | None:
        """Content of the base register."""
        return self.registers.get(self.base) if self.base else None

    @property
    def member(self) -> str | None:
        """C for what was accessed: ``session->peer``."""
        return self.pointer.member_expression(self.displacement) if self.pointer else None


def text_address(
    prog: drgn.Program, function: str, offset: int, size: int | None, module: str | None
) -> int | None:
    """Address of ``function+offset``; ``None`` if the name is not there or stands for several.

    :param size: The function's size as the kernel printed it, to tell equal names apart.
    """
    try:
        found = [symbol for symbol in prog.symbols(function) if symbol.name == function]
    except LookupError:
        return None
    if size is not None and len(found) > 1:
        found = [symbol for symbol in found if symbol.size == size] or found
    is_kernel = arch_of(prog).is_kernel
    addresses = {symbol.address for symbol in found if is_kernel(symbol.address)}
    return addresses.pop() + offset if len(addresses) == 1 else None


def fault_at(prog: drgn.Program, pc: int, registers: dict[str, int]) -> Fault | None:
    """Explain the instruction at ``pc``; ``None`` if its code is not in the dump.

    :param registers: By their 64-bit names in lower case.
    """
    code = function_code(prog, pc)
    if code is None:
        return None
    instruction = code.instruction
    memory = instruction.memory
    base = memory.base if memory is not None else None
    pointers = typed_registers(prog, code)
    value = registers.get(base) if base else None
    objects = {}
    arch = arch_of(prog)
    for name in arch.general:
        content = registers.get(name)
        if content is not None and arch.is_kernel(content):
            found = slab_object(prog, content)
            if found is not None:
                objects[name] = found
    return Fault(
        code=code,
        registers=registers,
        address=memory.address(registers)
        if memory is not None and memory.segment is None
        else None,
        base=base,
        pointer=pointers.get(base) if base else None,
        base_poison=poison(value) if value is not None else None,
        pointers=pointers,
        objects=objects,
    )


def fault_listing(prog: drgn.Program, fault: Fault) -> tuple[tuple[str, ...], int]:
    """Disassembly around the fault, and which line of it is the instruction."""
    return tuple(listing(prog, fault.code)), mark_of(fault.code)
