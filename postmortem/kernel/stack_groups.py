"""The stacks of all tasks, equal ones together.

A machine that hangs has thousands of tasks and a handful of stacks.
:func:`all_stacks` unwinds every task once and is cached in the program, so that
every plugin shares it.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter

import drgn

from postmortem.findings import Problem, TaskRef
from postmortem.kernel.orc import Kind, Orc
from postmortem.kernel.stacks import Symbolizer, describe_trace, segmented
from postmortem.kernel.tasks import Task, all_tasks
from postmortem.result import StackFrame

_MAX_FRAMES = 256
_MAX_KEPT_BYTES = 256 << 20
"""Of raw stacks; what is beyond is not kept."""
_CHECKED_GROUPS = 64
"""So many groups are unwound by drgn too, to see whether both agree."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The kernel stack of one task."""

    task: Task
    pcs: tuple[int, ...]
    """Innermost first, up to user space. Return addresses, except where interrupted."""
    sp: int
    """``thread.sp`` of a sleeping task: where its saved registers lie (``struct
    inactive_task_frame``); the stack pointer of a running one; 0 if not known."""
    offsets: tuple[int, ...]
    """Of each frame: its stack pointer, in bytes from ``sp``. What a frame keeps lies between
    its own and the next one's; the last entry, one more than frames, is the end of the last
    frame. Empty for a task that was on a CPU."""
    raw: bytes = b""
    """The stack from ``sp`` to the end of the last frame; empty for a task that was on a CPU."""
    note: str = ""
    """Why there are no frames."""

    def words(self) -> tuple[int, ...]:
        """The 64-bit words from ``sp`` on."""
        size = len(self.raw) & ~7
        return struct.unpack(f"<{size // 8}Q", self.raw[:size])


@dataclass(frozen=True)
class StackGroup:
    """Tasks whose stacks are equal, call by call."""

    frames: tuple[StackFrame, ...]
    stacks: tuple[Stack, ...]
    note: str = ""
    """Why there are no frames."""

    @property
    def count(self) -> int:
        """How many tasks."""
        return len(self.stacks)

    @property
    def states(self) -> dict[str, int]:
        """How many of them are in each state."""
        return dict(Counter(stack.task.state for stack in self.stacks).most_common())

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the frames, innermost first; ``?`` for what has none."""
        return tuple(frame.function or "?" for frame in self.frames)

    def has(self, function: str) -> bool:
        """Whether it is called anywhere on this stack."""
        return any(frame.function == function for frame in self.frames)


@dataclass
class Stacks:
    """Every task's stack, and the groups, the largest first."""

    stacks: list[Stack] = field(default_factory=list)
    groups: list[StackGroup] = field(default_factory=list)
    by_task: dict[int, Stack] = field(default_factory=dict)
    """By ``struct task_struct *``"""
    group_of: dict[int, StackGroup] = field(default_factory=dict)
    """By ``struct task_struct *``"""
    problems: list[Problem] = field(default_factory=list)

    def frames(self, task_address: int) -> tuple[StackFrame, ...]:
        """The frames of a task, empty if it is not known."""
        group = self.group_of.get(task_address)
        return group.frames if group is not None else ()


def all_stacks(prog: drgn.Program) -> Stacks:
    """Unwind and group all tasks' kernel stacks, idle tasks of idle CPUs included; cached.

    :raises LookupError: the dump has no types.
    """
    cached = prog.cache.get("postmortem stacks")
    if not isinstance(cached, Stacks):
        cached = _Collector(prog).run()
        prog.cache["postmortem stacks"] = cached
    return cached


class _Collector:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._result = Stacks()
        self._running: dict[int, tuple[StackFrame, ...]] = {}
        """Frames of what was on a CPU, by task: they have interrupts and exceptions in them."""
        self._kept_bytes = 0
        self._pointer_type = prog.type("struct task_struct *")
        task = prog.type("struct task_struct")
        self._stack_at = int(drgn.offsetof(task, "stack"))
        self._unwind: _Sleeping | None = None
        # Without it drgn alone will do, more slowly.
        with suppress(LookupError, drgn.FaultError, AttributeError):
            self._unwind = _Sleeping(prog)

    def run(self) -> Stacks:
        stacks = [*self._on_cpus(), *self._others()]
        self._result.stacks = stacks
        self._result.by_task = {stack.task.address: stack for stack in stacks}
        groups: dict[tuple[int, ...] | str, list[Stack]] = {}
        for stack in stacks:
            groups.setdefault(stack.pcs or stack.note, []).append(stack)
        if not self._agrees(list(groups.values())):
            # Our reading of the tables is wrong for this kernel: drgn's holds.
            self._unwind = None
            return self.run()
        for members in groups.values():
            self._add(tuple(members))
        self._result.groups.sort(key=lambda group: -group.count)
        return self._result

    def _on_cpus(self) -> list[Stack]:
        from postmortem.kernel.cpus import cpus

        found = []
        try:
            known = all_tasks(self._prog).by_address
            for cpu in cpus(self._prog):
                task = known.get(cpu.address) or _idle_task(cpu.address, cpu.task, cpu.number)
                self._running[cpu.address] = cpu.stack
                pcs = tuple(frame.pc for frame in cpu.stack)
                sp = 0
                if cpu.trace is not None and len(cpu.trace):
                    sp = cpu.trace[0].sp
                found.append(Stack(task, pcs, sp, (), b"", cpu.note if not pcs else ""))
        except (LookupError, drgn.FaultError) as exc:
            self._result.problems.append(Problem("stacks of the CPUs", str(exc)))
        return found

    def _others(self) -> list[Stack]:
        found = []
        for task in all_tasks(self._prog).tasks:
            if task.address in self._running:
                continue
            stack = self._unwind.stack(task) if self._unwind is not None else None
            if stack is None:
                stack = self._by_drgn(task)
            elif stack.raw:
                self._kept_bytes += len(stack.raw)
                if self._kept_bytes > _MAX_KEPT_BYTES:
                    stack = Stack(task, stack.pcs, stack.sp, stack.offsets)
            found.append(stack)
        return found

    def _by_drgn(self, task: Task) -> Stack:
        try:
            pointer = drgn.Object(self._prog, self._pointer_type, task.address)
            if task.state in "XZ" and not self._prog.read_u64(task.address + self._stack_at):
                return Stack(task, (), 0, (), b"", "the task has exited: its stack is freed")
            trace = self._prog.stack_trace(pointer)
        except (drgn.FaultError, LookupError, ValueError) as exc:
            return Stack(task, (), 0, (), b"", str(exc).partition("\n")[0])
        frames = describe_trace(self._prog, trace)
        self._running[task.address] = frames
        return Stack(task, tuple(frame.pc for frame in frames), 0, ())

    def _agrees(self, groups: list[list[Stack]]) -> bool:
        """Whether drgn finds the same calls on one stack of each group."""
        if self._unwind is None:
            return True
        for members in groups[:_CHECKED_GROUPS]:
            stack = members[0]
            if not stack.raw:
                continue
            try:
                trace = self._prog.stack_trace(
                    drgn.Object(self._prog, self._pointer_type, stack.task.address)
                )
            except (drgn.FaultError, LookupError, ValueError):
                continue
            theirs = [frame.pc for frame in trace if not frame.is_inline]
            if tuple(theirs[: len(stack.pcs)]) != stack.pcs:
                return False
        return True

    def _add(self, members: tuple[Stack, ...]) -> None:
        first = members[0]
        frames = self._running.get(first.task.address)
        if frames is None:
            frames = _named(self._prog, first.pcs)
        group = StackGroup(frames, members, first.note)
        self._result.groups.append(group)
        for stack in members:
            self._result.group_of[stack.task.address] = group


def _idle_task(address: int, ref: TaskRef, cpu: int) -> Task:
    return Task(address, ref.pid, ref.pid, ref.comm, "R", cpu, True, True, 0, 0)


def _named(prog: drgn.Program, pcs: tuple[int, ...]) -> tuple[StackFrame, ...]:
    symbolizer = Symbolizer.of(prog)
    frames = []
    for pc in pcs:
        found = symbolizer.caller(pc)
        if found is None:
            frames.append(StackFrame(None, pc))
        else:
            frames.append(StackFrame(found.function, pc, found.offset, found.module))
    return segmented(frames)


@dataclass(frozen=True, slots=True)
class _Path:
    """A way through a stack that a task took. Where every return address is the same, and every
    BP that a step started from, another task's way is the same."""

    returns: Callable[[memoryview], tuple[int, ...]]
    """Picks the return addresses out of the words of a stack."""
    pointers: tuple[tuple[int, int], ...]
    """Words with a BP that was used, and how many bytes above ``sp`` it points."""
    pcs: tuple[int, ...]
    offsets: tuple[int, ...]


_KNOWN_PATHS = 4
"""Of one size: looking through more costs as much as a walk."""


class _Sleeping:
    """Unwinds tasks that are not running: from the registers that ``__switch_to_asm`` saved."""

    def __init__(self, prog: drgn.Program) -> None:
        """
        :raises LookupError: not an x86-64 kernel with ORC.
        """
        self._prog = prog
        self._orc = Orc(prog)
        task = prog.type("struct task_struct")
        saved = prog.type("struct inactive_task_frame")
        self._sp_at = int(drgn.offsetof(task, "thread.sp"))
        self._stack_at = int(drgn.offsetof(task, "stack"))
        self._bp_at = int(drgn.offsetof(saved, "bp"))
        self._return_at = int(drgn.offsetof(saved, "ret_addr"))
        self._saved_bytes = int(drgn.sizeof(saved))
        self._cs_at = int(drgn.offsetof(prog.type("struct pt_regs"), "cs"))
        self._stack_bytes = int(prog["THREAD_SIZE"])
        self._known: dict[int, list[_Path]] = {}
        """By size: the same path takes the same room."""

    def stack(self, task: Task) -> Stack | None:
        """The stack of a task, ``None`` where only drgn can tell."""
        read = self._prog.read_u64
        try:
            sp = read(task.address + self._sp_at)
            size = read(task.address + self._stack_at) + self._stack_bytes - sp
            if not self._saved_bytes <= size <= self._stack_bytes or sp & 7:
                return None
            raw = self._prog.read(sp, size)
        except drgn.FaultError:
            return None
        # In the byte order of this machine: on a big-endian one drgn does it all.
        words = memoryview(raw).cast("Q")
        path = self._known_path(words, sp, size) or self._walk(words, sp, size)
        if path is None:
            return None
        end = path.offsets[-1]
        return Stack(task, path.pcs, sp, path.offsets, raw if end == size else raw[:end])

    def _known_path(self, words: memoryview, sp: int, size: int) -> _Path | None:
        for path in self._known.get(size, ()):
            if path.returns(words) == path.pcs:
                for place, offset in path.pointers:
                    if words[place] - sp != offset:
                        break
                else:
                    return path
        return None

    def _walk(self, words: memoryview, sp: int, size: int) -> _Path | None:
        bp = self._bp_at // 8
        places = [self._return_at // 8]
        at = self._saved_bytes
        offsets = [at]
        pointers = []
        for _ in range(_MAX_FRAMES):
            step = self._orc.step(words[places[-1]])
            if step is None:
                return None
            if step.kind is Kind.END:
                at = size
                break
            start = at
            if step.from_bp:
                start = words[bp] - sp
                pointers.append((bp, start))
            cfa = start + step.cfa_offset
            if not at <= cfa <= size or cfa & 7:
                return None
            if step.kind is Kind.REGISTERS:
                cs = (cfa + self._cs_at) // 8
                if cs >= len(words) or not words[cs] & 3:
                    return None
                at = cfa  # user space begins here
                break
            if cfa == at:
                return None
            if step.bp_offset is not None:
                saved = cfa + step.bp_offset
                if not 0 <= saved < size or saved & 7:
                    return None
                bp = saved // 8
            places.append(cfa // 8 - 1)
            at = cfa
            offsets.append(at)
        else:
            return None
        offsets.append(at)
        pcs = tuple(words[place] for place in places)
        path = _Path(itemgetter(*places), tuple(pointers), pcs, tuple(offsets))
        if len(places) > 1:
            known = self._known.setdefault(size, [])
            known.insert(0, path)
            del known[_KNOWN_PATHS:]
        return path
