"""How deep each task's kernel stack is now, and how deep it ever was.

A stack is zeroed when its task is made (v4.18, e01e80634ecd), so the lowest word that is not zero
tells the deepest point that was written: ``stack_not_used()``. Below it stands STACK_END_MAGIC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.cpus import all_cpus
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.kernel.tasks.unwind import sleeping_stacks

_MAGIC = 0x57AC6E9D
"""``STACK_END_MAGIC``"""
_MAX_STACK = 1 << 17
_PAGE = 4096


@dataclass(frozen=True)
class Depth:
    """The stack of one task."""

    task: Task
    size: int
    """Bytes that there are."""
    now: int | None
    """Bytes in use; ``None`` where the stack pointer is not known or lies on another stack."""
    deepest: int | None
    """Bytes that were ever written to; ``None`` if pages of it are not in the dump."""
    whole: bool | None
    """STACK_END_MAGIC stands at its end; ``None`` if that can't be read."""

    @property
    def left(self) -> int | None:
        """Bytes that were never used."""
        return None if self.deepest is None else self.size - self.deepest


def depths(prog: drgn.Program) -> Iterator[Depth]:
    """Of every task that has a stack, in the order of the kernel's list.

    :raises LookupError: types are missing.
    """
    size = int(prog["THREAD_SIZE"])
    if size > _MAX_STACK:
        raise LookupError(f"stacks of {size} bytes are none")
    stacks = sleeping_stacks(prog)
    pointers = _running(prog)
    for task in all_tasks(prog).tasks:
        base = stacks.bases.get(task.address, (0, 0))[0]
        if not base:
            continue
        sleeping = stacks.by_task.get(task.address)
        sp = sleeping.sp if sleeping is not None else pointers.get(task.address)
        now = base + size - sp if sp is not None and base <= sp < base + size else None
        deepest = readable(lambda base=base: _deepest(prog, base, size))  # type: ignore[misc]
        whole = readable(lambda base=base: prog.read_u64(base) == _MAGIC)  # type: ignore[misc]
        yield Depth(task, size, now, deepest, whole)


def _running(prog: drgn.Program) -> dict[int, int]:
    """Stack pointers of the tasks that are on a CPU."""
    found = {}
    for cpu in all_cpus(prog).cpus:
        try:
            if cpu.trace is not None and len(cpu.trace):
                found[cpu.address] = int(cpu.trace[0].sp)
        except damage():
            continue
    return found


def _deepest(prog: drgn.Program, base: int, size: int) -> int:
    """Bytes from the end of the stack down to the lowest word that is not zero."""
    for at in range(0, size, _PAGE):
        data = prog.read(base + at, min(_PAGE, size - at))
        words = struct.unpack(f"<{len(data) // 8}Q", data)
        for number, word in enumerate(words):
            if word and (at or number):
                return size - at - number * 8
    return 0
