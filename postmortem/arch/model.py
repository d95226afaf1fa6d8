"""What there is to know of an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from postmortem.model.findings import Kind

Registers = Mapping[str, int]
"""Values by the architecture's own names of whole registers, in lower case."""


@dataclass(frozen=True)
class CallConvention:
    """Which register has what when a C function is called."""

    parameters: tuple[str, ...]
    """Integers and pointers, the first first."""
    result: str
    clobbered: tuple[str, ...]
    """Hold nothing of the caller's after a call."""


@dataclass(frozen=True)
class Code:
    """How machine code is read."""

    capstone: tuple[str, str, str | None]
    """Names of capstone's constants: architecture, mode, syntax."""
    jumps: frozenset[str]
    """Jumps that are always taken."""
    traps: frozenset[str]
    """Instructions that end the flow because they trap."""
    bug: frozenset[str]
    """The instruction that BUG() and WARN() trap with."""
    divides: tuple[str, ...]
    """How instructions begin that divide."""
    copies: frozenset[str]
    """Move a whole register, an address or a word of memory, and nothing else."""
    address_of: str
    """How instructions begin that compute an address without reading it."""
    per_cpu: str
    """The segment through which per-CPU variables are read."""


@dataclass(frozen=True, eq=False)
class Arch:
    """One architecture, one object. Names of registers are those of whole ones, in lower case."""

    name: str
    pc: str
    sp: str
    flags: str
    general: tuple[str, ...]
    """Hold what the program wants, in the order in which they are shown."""
    preserved: tuple[str, ...]
    """Keep their value across a call."""
    whole: Mapping[str, str]
    """The whole register that a part belongs to: ``eax`` is in ``rax``."""
    pt_regs: Mapping[str, str]
    """Member of ``struct pt_regs`` of each register, where it is called otherwise."""
    calls: CallConvention
    code: Code
    exceptions: Mapping[str, Kind]
    """What the entry code of an exception says about the fault."""
    entry_kind: Callable[[str], str]
    """The context that a function of the entry code opens: nmi, irq or exception."""
    syscall_entry: str
    """How the function begins that a system call enters by."""
    interrupt_flag: int
    """Bit of the flags: interrupts are taken."""
    in_user: Callable[[Registers], bool | None]
    """Whether these registers are those of a program in user space; ``None`` if not known."""
    kernel_segment: Mapping[str, int]
    """Members of ``struct pt_regs`` that say that it is the kernel's."""
    is_kernel: Callable[[int], bool]
    """Whether a value lies in the kernel's half of the address space."""
    is_canonical: Callable[[int], bool]
    """Whether the processor accepts a value as an address at all."""
    return_on_stack: bool = False
    """A call pushes its return address; elsewhere a register has it."""
    kgdb_registers: tuple[tuple[str, int], ...] = ()
    """``dbg_reg_def[]``: KDB's names of registers, in its order, with the digits of each."""
    page_bits: tuple[tuple[int, str], ...] = ()
    """Bits of a page table entry and their names; empty where they are not known here."""
    page_frame: int = 0
    """The bits of a page table entry that hold the physical address."""

    def is_pointer(self, value: int, alignment: int = 1) -> bool:
        """Whether ``value`` may point to something of the kernel's."""
        return self.is_kernel(value) and self.is_canonical(value) and not value % alignment

    def whole_register(self, name: str) -> str:
        """The whole register that ``name`` is a part of."""
        return self.whole.get(name, name)

    def interrupts_on(self, registers: Registers) -> bool | None:
        """Whether interrupts were taken; ``None`` where the flags were not saved."""
        flags = registers.get(self.flags)
        return None if flags is None else bool(flags & self.interrupt_flag)

    def register_name(self, printed: str) -> str:
        """The register that the kernel prints under this name: ``r08`` is ``r8``."""
        head = printed.rstrip("0123456789")
        digits = printed[len(head) :]
        return head + (digits.lstrip("0") or "0") if digits else printed

    def saved_as(self, registers: Registers) -> dict[str, int]:
        """Registers as members of ``struct pt_regs``, for a stack of the kernel's."""
        known = {*self.general, self.pc, self.sp, self.flags}
        found = {
            self.pt_regs.get(name, name): value
            for name, value in registers.items()
            if name in known
        }
        return {**found, **self.kernel_segment}


def engine(code: Code) -> Any:
    """A disassembler that gives operands too."""
    import capstone

    architecture, mode, syntax = code.capstone
    made = capstone.Cs(getattr(capstone, architecture), getattr(capstone, mode))
    if syntax is not None:
        made.syntax = getattr(capstone, syntax)
    made.detail = True
    return made
