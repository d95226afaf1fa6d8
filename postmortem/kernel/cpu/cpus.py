"""What each CPU was doing when the dump was taken."""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import describe_trace
from postmortem.kernel.tasks.tasks import TaskReader
from postmortem.model.findings import TaskRef
from postmortem.model.frame import Frame
from postmortem.model.result import TaskStack

_NOBODY = -1  # PANIC_CPU_INVALID


@dataclass(frozen=True)
class Cpu:
    """One CPU: its current task and the stack it was on."""

    number: int
    task: TaskRef
    address: int
    """``struct task_struct *`` of the current task."""
    state: str
    stack: tuple[Frame, ...]
    trace: drgn.StackTrace | None
    """For registers and locals; ``None`` where no registers were saved."""
    note: str = ""

    @property
    def idle(self) -> bool:
        """Whether its idle task was running."""
        return self.task.pid == 0

    def as_task_stack(self) -> TaskStack:
        """For the renderers."""
        return TaskStack(self.task, self.state, self.number, self.stack, self.note)


@fact
def cpus(prog: drgn.Program) -> tuple[Cpu, ...]:
    """Every CPU.

    :raises LookupError: the CPU mask or the types are missing.
    :raises drgn.FaultError: the CPU mask is not in the dump.
    """
    from postmortem.kernel.system import present_cpus

    reader = TaskReader(prog)
    found = (_cpu(prog, reader, number) for number in present_cpus(prog))
    return tuple(cpu for cpu in found if cpu is not None)


def _cpu(prog: drgn.Program, reader: TaskReader, number: int) -> Cpu | None:
    try:
        current = variable(prog, "runqueues", number, "struct rq").curr.read_()
        task, _raw = reader.read(current.value_())
    except damage():
        return None
    trace: drgn.StackTrace | None = None
    note = ""
    try:
        trace = prog.stack_trace(current)
    except damage() as exc:
        note = f"no registers: {exc}"
    stack = describe_trace(prog, trace) if trace is not None else ()
    return Cpu(number, task.ref, task.address, task.state, stack, trace, note)


def panic_cpu(prog: drgn.Program) -> int | None:
    """Number of the CPU that ran panic(), ``None`` if none did.

    ``panic_cpu`` (kernel/panic.c) is -1 until panic() or a crash kexec takes it;
    ``crashing_cpu`` (arch/x86/kernel/reboot.c) is set on the way into the crash kernel.
    """
    for name in ("panic_cpu", "crashing_cpu"):
        try:
            value = prog[name]
            number = value.counter.value_() if name == "panic_cpu" else value.value_()
        except damage():
            continue
        if number != _NOBODY and 0 <= number < 1 << 16:
            return int(number)
    return None
