"""What each CPU was doing, of a kernel whose types are not known.

The registers are those that the CPUs saved into the dump's notes as they stopped
(``crash_save_cpu()`` in kernel/crash_core.c; a hypervisor writes the same notes). With
symbols and ORC, or the frame pointers of kernels without it, that is a stack.
"""

from __future__ import annotations

from collections.abc import Sequence

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.tasks.stacks import describe_trace
from postmortem.model.findings import TaskRef
from postmortem.model.result import TaskStack

_REGISTERS = 112
"""offsetof(struct elf_prstatus, pr_reg) where long has 64 bits (include/linux/elfcore.h)."""
_NOBODY_KNOWS = TaskRef(-1, "task not known")
"""The note's ``pr_pid`` is the task's only where the kernel wrote it: QEMU counts CPUs there."""
_WORD = 8
_MEMBERS = (
    *("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx"),
    *("si", "di", "orig_ax", "ip", "cs", "flags", "sp", "ss"),
)
"""struct pt_regs of x86-64, with which struct user_regs_struct begins."""


def saved_stacks(prog: drgn.Program, notes: Sequence[bytes]) -> tuple[TaskStack, ...]:
    """The stack of each CPU with registers; of those in user space none.

    :param notes: ``struct elf_prstatus`` of each CPU.
    """
    if prog.platform is None or prog.platform.arch != drgn.Architecture.X86_64:
        return ()
    kind = _pt_regs(prog)
    found = (_stack(prog, kind, number, note) for number, note in enumerate(notes))
    return tuple(stack for stack in found if stack is not None)


def _stack(prog: drgn.Program, kind: drgn.Type, number: int, note: bytes) -> TaskStack | None:
    data = note[_REGISTERS : _REGISTERS + len(_MEMBERS) * _WORD]
    if len(data) < len(_MEMBERS) * _WORD or not any(data):
        return None
    why = ""
    try:
        trace = prog.stack_trace(drgn.Object.from_bytes_(prog, kind, data))
        frames = describe_trace(prog, trace)
    except damage() as exc:
        frames, why = (), f"its stack can't be read: {exc}"
    return TaskStack(_NOBODY_KNOWS, "-", number, frames, why)


def _pt_regs(prog: drgn.Program) -> drgn.Type:
    word = prog.int_type("unsigned long", _WORD, False)
    members = [
        drgn.TypeMember(word, name, bit_offset=number * _WORD * 8)
        for number, name in enumerate(_MEMBERS)
    ]
    return prog.struct_type("pt_regs", len(_MEMBERS) * _WORD, members)
