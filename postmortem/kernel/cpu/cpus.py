"""What each CPU was doing when the dump was taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.ret_stack import restore_returns
from postmortem.kernel.tasks.stacks import describe_trace
from postmortem.kernel.tasks.tasks import Task, TaskReader
from postmortem.model.findings import Problem, TaskRef
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


@dataclass(frozen=True)
class Cpus:
    """All CPUs that could be read, and which could not."""

    cpus: tuple[Cpu, ...]
    problems: tuple[Problem, ...] = ()


def cpus(prog: drgn.Program) -> tuple[Cpu, ...]:
    """Every CPU that can be read.

    :raises LookupError: the CPU mask or the types are missing.
    :raises drgn.FaultError: the CPU mask is not in the dump.
    """
    return all_cpus(prog).cpus


@fact
def all_cpus(prog: drgn.Program) -> Cpus:
    """Every CPU, and which can't be read.

    :raises LookupError: the CPU mask or the types are missing.
    :raises drgn.FaultError: the CPU mask is not in the dump.
    """
    from postmortem.kernel.system import present_cpus

    readable(lambda: restore_returns(prog))
    reader = TaskReader(prog)
    found: list[Cpu] = []
    lost: dict[int, str] = {}
    for number in present_cpus(prog):
        try:
            found.append(_cpu(prog, reader, number))
        except damage() as exc:
            lost[number] = str(exc).partition("\n")[0]
    unread = [cpu.number for cpu in found if cpu.note]
    if len(unread) == len(found):
        unread = []  # the dump has no registers at all: its file says so
    problems = []
    if not found and not lost:
        problems.append(Problem("CPUs", "the mask of those that there are is empty"))
    for numbers, what in ((list(lost), "what it ran"), (unread, "its registers")):
        if numbers:
            why = lost.get(numbers[0]) or next(c.note for c in found if c.number == numbers[0])
            problems.append(Problem(_names(numbers), f"{what} can't be read: {why}"))
    return Cpus(tuple(found), tuple(problems))


def _current(prog: drgn.Program, reader: TaskReader, number: int) -> Task:
    """What the scheduler says runs on a CPU, or if that is damaged what the CPU itself says.

    ``pcpu_hot`` held ``current_task`` between v6.2 and v6.14 (e57ef2ed97c1, a1e4cc0155ad).

    :raises LookupError: nothing that is said is a task of this CPU.
    """
    first: BaseException | None = None
    ways: tuple[Callable[[], drgn.Object], ...] = (
        lambda: variable(prog, "runqueues", number, "struct rq").curr,
        lambda: variable(prog, "pcpu_hot", number, "struct pcpu_hot").current_task,
        lambda: variable(prog, "current_task", number, "struct task_struct *"),
    )
    for read in ways:
        try:
            task, _raw = reader.read(integer(read()))
            if task.cpu == number:
                return task
            raise LookupError(f"its run queue leads to a task of CPU {task.cpu}")
        except damage() as exc:
            first = first or exc
    raise LookupError(str(first))


_MAX_NAMED = 8


def _names(numbers: Sequence[int]) -> str:
    more = len(numbers) - _MAX_NAMED
    text = "CPU " + ", ".join(map(str, numbers[:_MAX_NAMED]))
    return f"{text} and {more} more" if more > 0 else text


def _cpu(prog: drgn.Program, reader: TaskReader, number: int) -> Cpu:
    """
    :raises LookupError: what should be its task is none.
    """
    task = _current(prog, reader, number)
    current = drgn.Object(prog, "struct task_struct *", task.address)
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


def panic_task(prog: drgn.Program) -> int | None:
    """Address of the task on the CPU that ran panic(), ``None`` if none did."""
    number = panic_cpu(prog)
    return next((cpu.address for cpu in cpus(prog) if cpu.number == number), None)
