"""Locks and tasks that wait for them, laid out by hand in the memory of a committed dump.

The types are those of the dump's kernel; the memory is our own, in a range that no
kernel maps. So both layouts of the waiter lists can be tested, whole and damaged.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import drgn

from postmortem.kernel.tasks.tasks import Task
from postmortem.kernel.tasks.unwind import Shape, SleepingStack, SleepingStacks
from postmortem.model.frame import Frame

BASE = 0xFFFF_F000_0000_0000
"""Far from everything that x86-64 maps, with four and with five levels."""
_SIZE = 1 << 22
_STACK = 1 << 14


@dataclass
class Memory:
    """Memory to write into; what was not written reads as zeroes, a hole can't be read."""

    prog: Any
    data: bytearray = field(default_factory=lambda: bytearray(_SIZE))
    holes: set[int] = field(default_factory=set)
    _next: int = BASE + 0x1000

    def __post_init__(self) -> None:
        self.prog.add_memory_segment(BASE, _SIZE, self._read)

    def _read(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        if any(address <= hole < address + count for hole in self.holes):
            raise drgn.FaultError("page is not in the dump", address)
        start = address - BASE
        return bytes(self.data[start : start + count])

    def allocate(self, size: int) -> int:
        """Zeroed memory."""
        address = self._next
        self._next += (size + 63) & ~63
        return address

    def write(self, address: int, value: int) -> None:
        """A 64-bit word."""
        struct.pack_into("<Q", self.data, address - BASE, value)

    def link(self, nodes: list[int]) -> None:
        """Make these list heads a ring."""
        for here, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            self.write(here, following)
            self.write(following + 8, here)


class Machine:
    """Tasks with stacks of one shape."""

    def __init__(self, prog: Any) -> None:
        self.prog = prog
        self.memory = Memory(prog)
        self.stacks = SleepingStacks()
        self.shape = Shape((Frame("__schedule", address=1), Frame("f", address=2)), (56, 512))

    def offset(self, kind: str, member: str) -> int:
        return int(drgn.offsetof(self.prog.type(kind), member))

    def task(self, pid: int) -> Task:
        """A sleeping task with an empty stack."""
        address = self.memory.allocate(64)
        base = (self.memory.allocate(2 * _STACK) + _STACK - 1) & -_STACK
        task = Task(address, pid, pid, f"task{pid}", "D", 0, False, True, 0, 0)
        self.stacks.bases[address] = (base, base + _STACK)
        sp = base + _STACK - 1024
        self.stacks.by_task[address] = SleepingStack(task, sp, self.shape, bytes(1024))
        return task

    def refresh(self) -> None:
        """Take over into the stacks what was written to memory."""
        for address, stack in self.stacks.by_task.items():
            start = stack.sp - BASE
            data = bytes(self.memory.data[start : start + 1024])
            self.stacks.by_task[address] = SleepingStack(stack.task, stack.sp, stack.shape, data)

    def lock(self, kind: str, waiter: str, tasks: list[Task]) -> tuple[int, list[int]]:
        """A lock for which these tasks wait; its address and those of the waiters."""
        lock = self.memory.allocate(drgn.sizeof(self.prog.type(kind)))
        links = self.offset(waiter, "list")
        waiters = []
        for task in tasks:
            stack = self.stacks.by_task[task.address]
            place = stack.sp + 128
            self.memory.write(place + self.offset(waiter, "task"), task.address)
            # The slow path keeps the lock in a register that is saved.
            self.memory.write(stack.sp + 64, lock)
            waiters.append(place)
        nodes = [place + links for place in waiters]
        if self.prog.type(kind).has_member("first_waiter"):
            first = waiters[0] if waiters else 0
            self.memory.write(lock + self.offset(kind, "first_waiter"), first)
            if nodes:
                self.memory.link(nodes)
        else:
            self.memory.link([lock + self.offset(kind, "wait_list"), *nodes])
        self.refresh()
        return lock, waiters
