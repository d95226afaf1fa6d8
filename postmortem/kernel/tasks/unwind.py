"""The stacks of all sleeping tasks at once.

A machine has thousands of tasks and a few dozen different stacks. Where a task
sleeps, its return addresses lie at the same distances from its saved stack
pointer as those of every other task that came the same way, because each
function's frame has a fixed size (what the ORC tables say). So drgn unwinds one
task of a kind; the others are recognised by their return addresses, which costs
one read and a few comparisons instead of a hundred microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.ret_stack import restore_returns
from postmortem.kernel.tasks.stacks import describe_trace
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.model.findings import Problem
from postmortem.model.frame import Frame

_MAX_STACK = 1 << 16
_ABOVE_REGISTERS = 64
"""What lies above the registers with which a task came into the kernel, and a little more."""
_WORD = struct.Struct("<Q")


@dataclass(frozen=True, eq=False)
class Shape:
    """A way to sleep: the same functions, called from the same places. One object each."""

    frames: tuple[Frame, ...]
    """Innermost first."""
    offsets: tuple[int, ...]
    """Stack pointer of each frame in bytes from the task's saved stack pointer."""

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the frames' functions, ``?`` where there is none."""
        return tuple(frame.function or "?" for frame in self.frames)

    def find(self, *functions: str) -> int | None:
        """Index of the innermost frame in one of these functions."""
        for number, frame in enumerate(self.frames):
            if frame.function in functions:
                return number
        return None


@dataclass(frozen=True)
class SleepingStack:
    """The stack of one task that is not running."""

    task: Task
    sp: int
    """``task->thread.sp``"""
    shape: Shape
    data: bytes = field(repr=False)
    """The stack from ``sp`` up to its base."""

    @property
    def unread(self) -> int:
        """Bytes of the stack above its outermost frame."""
        return len(self.data) - (self.shape.offsets[-1] if self.shape.offsets else 0)

    def word(self, offset: int) -> int | None:
        """The eight bytes ``offset`` bytes above the saved stack pointer."""
        if not 0 <= offset <= len(self.data) - 8:
            return None
        return int(_WORD.unpack_from(self.data, offset)[0])

    def words(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """``(offset, value)`` of the aligned words in ``[start, end)``."""
        start, end = max(0, start & ~7), min(end, len(self.data)) & ~7
        for number, (value,) in enumerate(_WORD.iter_unpack(self.data[start:end])):
            yield start + number * 8, value


@dataclass
class SleepingStacks:
    """All that could be unwound."""

    by_task: dict[int, SleepingStack] = field(default_factory=dict)
    """By address of ``struct task_struct``."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Why a task has no stack here, by address of ``struct task_struct``."""
    problems: list[Problem] = field(default_factory=list)
    bases: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Lowest byte and end of the stack of each task, also of those that run."""

    def holds(self, task: int, address: int) -> bool:
        """Whether ``address`` lies on the stack of this ``struct task_struct``."""
        low, end = self.bases.get(task, (0, 0))
        return low <= address < end

    def groups(self) -> dict[Shape, list[SleepingStack]]:
        """Tasks that sleep in the same way; the most numerous first."""
        found: dict[int, list[SleepingStack]] = {}
        for stack in self.by_task.values():
            found.setdefault(id(stack.shape), []).append(stack)
        ordered = sorted(found.values(), key=len, reverse=True)
        return {stacks[0].shape: stacks for stacks in ordered}


@fact
def sleeping_stacks(prog: drgn.Program) -> SleepingStacks:
    """Stacks of all tasks that are on no CPU.

    :raises LookupError: types are missing.
    """
    readable(lambda: restore_returns(prog))
    found = SleepingStacks()
    unwinder = Unwinder(prog)
    for task in all_tasks(prog).tasks:
        try:
            base = found.bases[task.address] = unwinder.bounds(task)
            if task.on_cpu or not base[0]:
                continue
            found.by_task[task.address] = unwinder.unwind(task, base)
        except damage() as exc:
            found.unreadable[task.address] = str(exc)
    entered = drgn.sizeof(prog.type("struct pt_regs")) + _ABOVE_REGISTERS
    short = sum(stack.unread > entered for stack in found.by_task.values())
    if short:
        why = "the unwind tables or the stacks are damaged"
        found.problems.append(Problem("stacks", f"{short} break off before their end: {why}"))
    if found.unreadable:
        why = next(iter(found.unreadable.values()))
        count = len(found.unreadable)
        found.problems.append(Problem("stacks", f"{count} can't be read: {why}"))
    return found


class _Node:
    """A return address in the tree of all known shapes."""

    __slots__ = ("next", "shape")

    def __init__(self) -> None:
        self.next: list[tuple[int, dict[int, _Node]]] = []
        """Where the following return address lies, and what it may be."""
        self.shape: Shape | None = None
        """The stack may end here."""

    def child(self, offset: int, address: int) -> _Node:
        for known, children in self.next:
            if known == offset:
                return children.setdefault(address, _Node())
        node = _Node()
        self.next.append((offset, {address: node}))
        return node


class Unwinder:
    """Unwinds tasks; what it has seen once it recognises."""

    def __init__(self, prog: drgn.Program) -> None:
        """
        :raises LookupError: types are missing.
        """
        self._prog = prog
        self._type = prog.type("struct task_struct *")
        task = self._type.type
        self._sp = int(drgn.offsetof(task, "thread.sp"))
        self._stack = int(drgn.offsetof(task, "stack"))
        self._size = int(prog["THREAD_SIZE"])
        # A task that left the CPU begins with struct inactive_task_frame (x86, v4.9,
        # 0100301bfdf5); its last member is the return address.
        self._first = int(drgn.sizeof(prog.type("struct inactive_task_frame"))) - 8
        self._root = _Node()
        self._shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], Shape] = {}

    def bounds(self, task: Task) -> tuple[int, int]:
        """Lowest byte and end of a task's stack, zero for a task that has none any more.

        :raises drgn.FaultError: the task is not in the dump.
        """
        base = self._prog.read_u64(task.address + self._stack)
        return base, base + self._size if base else 0

    def unwind(self, task: Task, bounds: tuple[int, int]) -> SleepingStack:
        """The stack of a task that is on no CPU.

        :raises drgn.FaultError: it is not in the dump.
        :param bounds: Lowest byte and end of its stack.
        :raises LookupError: the stack pointer lies outside it.
        """
        base, end = bounds
        sp = self._prog.read_u64(task.address + self._sp)
        if not base <= sp < end or end - base > _MAX_STACK:
            raise LookupError(f"the saved stack pointer {sp:#x} lies outside the stack")
        data = self._prog.read(sp, end - sp)
        shape = self._recognise(data)
        if shape is None:
            shape = self._unwind(task, sp, data)
        return SleepingStack(task, sp, shape, data)

    def _recognise(self, data: bytes) -> Shape | None:
        """The shape with these return addresses, the longest if there are several."""
        node, limit = self._root, len(data) - 8
        found: Shape | None = None
        while True:
            following: _Node | None = None
            for offset, children in node.next:
                if offset <= limit:
                    following = children.get(_WORD.unpack_from(data, offset)[0])
                    if following is not None:
                        break
            if following is None:
                return found
            node, found = following, following.shape

    def _unwind(self, task: Task, sp: int, data: bytes) -> Shape:
        trace = self._prog.stack_trace(drgn.Object(self._prog, self._type, task.address))
        frames = describe_trace(self._prog, trace)
        offsets = tuple(self._offsets(trace, sp, len(frames)))
        frames = frames[: len(offsets)]
        key = (tuple(frame.pc for frame in frames), offsets)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = Shape(frames, offsets)
        self._learn(shape, data)
        return shape

    def _offsets(self, trace: drgn.StackTrace, sp: int, count: int) -> Iterator[int]:
        for frame in trace:
            if frame.is_inline:
                continue
            if not count:
                return
            count -= 1
            try:
                yield frame.sp - sp
            except LookupError:
                return

    def _learn(self, shape: Shape, data: bytes) -> None:
        """Remember a shape if its return addresses alone tell it."""
        node = self._root
        path = []
        for frame, offset in zip(shape.frames, shape.offsets, strict=True):
            at = offset - 8
            if not 0 <= at <= len(data) - 8 or _WORD.unpack_from(data, at)[0] != frame.pc:
                return  # the frame was interrupted: its address was not pushed by a call
            path.append((at, frame.pc))
        if not path or path[0][0] != self._first:
            return
        for at, pc in path:
            node = node.child(at, pc)
        node.shape = shape
