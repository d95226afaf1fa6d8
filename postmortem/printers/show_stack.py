"""``show_stack()`` and ``__show_regs()``: a call trace and the registers in it.

Source: arch/x86/kernel/dumpstack.c, arch/x86/kernel/process_64.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.code.references import refers
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.trace import Item, Names, Registers

_PROLOGUE, _OPCODES = 42, 64
"""PROLOGUE_SIZE and OPCODE_BUFSIZE of arch/x86/kernel/dumpstack.c."""
_NO_SYSCALL = (1 << 64) - 1


class StackPrinter:
    """Call traces of one kernel; equal ones are made once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self.names = Names(prog)
        self._marked = names_task_stacks(prog)
        self._made: dict[tuple[Item, ...], list[str]] = {}

    def trace(self, items: Sequence[Item]) -> list[str]:
        """The lines of a call trace, ``Call Trace:`` included."""
        key = tuple(items)
        found = self._made.get(key)
        if found is None:
            found = list(self._lines(key))
            if len(self._made) < 1 << 14:
                self._made[key] = found
        return found

    def _lines(self, items: Sequence[Item]) -> Iterator[str]:
        yield "Call Trace:"
        if self._marked:
            yield " <TASK>"
        backtrace = self.names.backtrace
        for item in items:
            if isinstance(item, Registers):
                yield from self.registers(item)
            else:
                address, sure = item
                yield f" {backtrace(address)}" if sure else f" ? {backtrace(address)}"
        if self._marked:
            yield " </TASK>"

    def registers(self, saved: Registers) -> Iterator[str]:
        """``__show_regs()`` in its short form."""
        r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di = saved.words[:15]
        orig_ax, ip, cs, flags, sp, ss = saved.words[15:21]
        yield f"RIP: {cs & 0xFFFF:04x}:{self.names.symbol(ip)}"
        if not saved.user:
            yield self.code(ip)
        call = "" if orig_ax == _NO_SYSCALL else f" ORIG_RAX: {orig_ax:016x}"
        yield f"RSP: {ss & 0xFFFF:04x}:{sp:016x} EFLAGS: {flags:08x}{call}"
        yield f"RAX: {ax:016x} RBX: {bx:016x} RCX: {cx:016x}"
        yield f"RDX: {dx:016x} RSI: {si:016x} RDI: {di:016x}"
        yield f"RBP: {bp:016x} R08: {r8:016x} R09: {r9:016x}"
        yield f"R10: {r10:016x} R11: {r11:016x} R12: {r12:016x}"
        yield f"R13: {r13:016x} R14: {r14:016x} R15: {r15:016x}"

    def code(self, ip: int) -> str:
        """``show_opcodes()``: the bytes around an instruction of the kernel."""
        start = ip - _PROLOGUE
        try:
            code = self._prog.read(start, _OPCODES)
        except damage():
            return f"Code: Unable to access opcode bytes at {start:#x}."
        before, at, behind = code[:_PROLOGUE], code[_PROLOGUE], code[_PROLOGUE + 1 :]
        return f"Code: {before.hex(' ')} <{at:02x}> {behind.hex(' ')}"


@fact
def names_task_stacks(prog: drgn.Program) -> bool:
    """Whether the stack of a task is named as others are: ``<TASK>``, since v5.16."""
    return refers(prog, "stack_type_name", "TASK")


Trace = Callable[[Sequence[Item]], list[str]]
