"""Return addresses that a tracer has replaced, put into stacks of committed machines by hand."""

from __future__ import annotations

import struct
from typing import Any

import drgn
import pytest

from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.tasks.ret_stack import restore_returns
from postmortem.kernel.tasks.trace import KernelText, trace
from postmortem.kernel.tasks.unwind import SleepingStack, sleeping_stacks
from tests.conftest import machine_named
from tests.kernel.fabricated import Memory
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_circles import bend

MACHINES = ("5.10-sysrq-crash", "6.1-use-after-free", "6.12-null-chain", "7.2-healthy-idle")


def word(prog: Any, address: int, value: int) -> None:
    bend(drgn.Object(prog, "unsigned long", address=address), value)


def sleeper(name: str) -> SleepingStack:
    """A task with some calls on its stack."""
    stacks = sleeping_stacks(machine_named(name).prog).by_task.values()
    return next(stack for stack in stacks if len(stack.shape.frames) > 5)


class Traced:
    """The same machine, with calls of one task that the function graph tracer follows."""

    def __init__(self, name: str) -> None:
        self.before = sleeper(name)
        self.prog = fresh(name)
        self.trampoline = self.prog.symbol("return_to_handler").address
        self.memory = Memory(self.prog)
        self.stack = self.memory.allocate(4096)
        self.task = drgn.Object(self.prog, "struct task_struct *", self.before.task.address)
        self.kind = self.prog.type("struct ftrace_ret_stack")
        word(self.prog, variable(self.prog, "idle_ret_stack", 0, "unsigned long").address_, 1)
        word(self.prog, self.task.ret_stack.address_, self.stack)

    def slot(self, frame: int) -> int:
        """Where the return address into this frame lies."""
        return self.before.sp + self.before.shape.offsets[frame - 1] - 8 + self._gap(frame)

    def _gap(self, frame: int) -> int:
        pc = self.before.shape.frames[frame].pc
        at = self.before.shape.offsets[frame] - 8
        assert self.before.word(at) == pc
        return at - (self.before.shape.offsets[frame - 1] - 8)

    def follow(self, frames: list[int]) -> None:
        """Let these frames' return addresses be replaced; outermost first."""
        size = drgn.sizeof(self.kind)
        words = isinstance(self.task.ret_stack[0].value_(), int)
        at = self.stack
        for number in frames:
            slot = self.slot(number)
            values = {"ret": self.before.shape.frames[number].pc, "func": slot, "retp": slot}
            for member, value in values.items():
                self.memory.write(at + drgn.offsetof(self.kind, member), value)
            at += size
            if words:
                self.memory.write(at, 1 << 10 | size // 8)
                at += 8
            word(self.prog, slot, self.trampoline)
        top = (at - self.stack) // 8 if words else len(frames) - 1
        data = struct.pack("<i", top)
        self.prog.add_memory_segment(
            self.task.curr_ret_stack.address_, 4, lambda _at, count, off, _phys: data[off:][:count]
        )


@pytest.mark.parametrize("name", MACHINES)
def test_a_stack_is_unwound_to_its_end(name: str) -> None:
    traced = Traced(name)
    outer = len(traced.before.shape.frames) - 2
    traced.follow([outer, 3, 2])
    found = sleeping_stacks(traced.prog).by_task[traced.before.task.address]
    assert found.shape.frames == traced.before.shape.frames
    calls = restore_returns(traced.prog).by_task[traced.before.task.address]
    assert [call.slot for call in calls] == [traced.slot(n) for n in (outer, 3, 2)]
    # The kernel prints the trampoline, too, and does not vouch for it.
    items = trace(KernelText.of(traced.prog), found)
    assert items.count((traced.trampoline, False)) == 3
    rest = [item for item in items if item != (traced.trampoline, False)]
    assert rest == trace(KernelText.of(machine_named(name).prog), traced.before)


def test_what_returned_long_ago_changes_nothing() -> None:
    traced = Traced("6.12-null-chain")
    traced.follow([2])
    word(traced.prog, traced.slot(2), traced.before.shape.frames[2].pc + 1)
    assert restore_returns(traced.prog).slots == {}


def test_a_machine_without_tracers_has_none() -> None:
    assert restore_returns(machine_named("6.12-null-chain").prog).by_task == {}
