"""The stacks of all tasks, sleeping or on a CPU, equal ones together.

A machine that hangs has thousands of tasks and a handful of stacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.kernel.tasks.unwind import sleeping_stacks
from postmortem.model.findings import Problem, TaskRef
from postmortem.model.frame import Frame


@dataclass(frozen=True, slots=True)
class TaskFrames:
    """One task and the frames of its kernel stack."""

    task: Task
    frames: tuple[Frame, ...]
    """Innermost first, up to user space; the same object for tasks that sleep alike."""
    on_cpu: bool
    """It was on a CPU when the dump was taken."""
    note: str = ""
    """Why there are no frames."""

    @property
    def idle(self) -> bool:
        """Whether it is the idle task of a CPU that had nothing to do."""
        return self.task.pid == 0


@dataclass(frozen=True)
class StackGroup:
    """Tasks whose stacks are equal, call by call."""

    frames: tuple[Frame, ...]
    members: tuple[TaskFrames, ...]
    note: str = ""
    """Why there are no frames."""

    @property
    def count(self) -> int:
        """How many tasks."""
        return len(self.members)

    @cached_property
    def states(self) -> dict[str, int]:
        """How many of them are in each state, the most frequent first."""
        return dict(Counter(member.task.state for member in self.members).most_common())

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """Names of the frames, innermost first; ``?`` for what has none."""
        return tuple(frame.function or "?" for frame in self.frames)

    def lines(self) -> Iterator[str]:
        """A line for each frame, innermost first."""
        for number, frame in enumerate(self.frames):
            offset = f"+{frame.offset:#x}" if frame.offset is not None else ""
            module = f" [{frame.module}]" if frame.module else ""
            name = f"{frame.function}{offset}{module}" if frame.function else f"{frame.pc:#x}"
            yield f"#{number:<3}{name}"


@dataclass
class Stacks:
    """Every task's stack, and the groups, the largest first."""

    tasks: list[TaskFrames] = field(default_factory=list)
    groups: list[StackGroup] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@fact
def all_stacks(prog: drgn.Program) -> Stacks:
    """Unwind and group all tasks' kernel stacks, idle tasks of idle CPUs included.

    :raises LookupError: the dump has no types.
    """
    found = Stacks()
    sleeping = sleeping_stacks(prog)
    running = list(_on_cpus(prog, found))
    seen = {item.task.address for item in running}
    found.tasks = running
    for task in all_tasks(prog).tasks:
        if task.address in seen:
            continue
        stack = sleeping.by_task.get(task.address)
        if stack is not None:
            found.tasks.append(TaskFrames(task, stack.shape.frames, False))
        else:
            note = sleeping.unreadable.get(task.address, "it was on a CPU that is not known")
            found.tasks.append(TaskFrames(task, (), False, note))
    found.problems += sleeping.problems
    found.groups = grouped(found.tasks)
    return found


def _on_cpus(prog: drgn.Program, found: Stacks) -> Iterator[TaskFrames]:
    from postmortem.kernel.cpu.cpus import cpus

    try:
        known = all_tasks(prog).by_address
        for cpu in cpus(prog):
            task = known.get(cpu.address) or _idle_task(cpu.address, cpu.task, cpu.number)
            yield TaskFrames(task, cpu.stack, True, "" if cpu.stack else cpu.note)
    except damage() as exc:
        found.problems.append(Problem("stacks of the CPUs", str(exc)))


def _idle_task(address: int, ref: TaskRef, cpu: int) -> Task:
    """An idle task: it is on no list."""
    return Task(
        address=address,
        pid=ref.pid,
        tgid=ref.pid,
        comm=ref.comm,
        state="R",
        cpu=cpu,
        on_cpu=True,
        kthread=True,
        parent=0,
        mm=0,
    )


def grouped(tasks: list[TaskFrames]) -> list[StackGroup]:
    """Put equal stacks together, the largest group first.

    Tasks that sleep alike share their frames, so most are told by identity.
    """
    same: dict[int | str, list[TaskFrames]] = {}
    for item in tasks:
        same.setdefault(id(item.frames) if item.frames else item.note, []).append(item)
    equal: dict[tuple[int, ...] | str, list[TaskFrames]] = {}
    for members in same.values():
        first = members[0]
        calls = tuple(frame.pc for frame in first.frames)
        equal.setdefault(calls or first.note, []).extend(members)
    groups = [
        StackGroup(members[0].frames, tuple(members), members[0].note) for members in equal.values()
    ]
    return sorted(groups, key=lambda group: -group.count)
