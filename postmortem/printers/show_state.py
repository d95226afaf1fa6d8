"""``show_state()``: tasks with their stacks, as sysrq t and w print them.

Source: kernel/sched/core.c (``sched_show_task()``, ``show_state_filter()``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.rodata import rodata
from postmortem.kernel.tasks.kthreads import kthread_of
from postmortem.kernel.tasks.rows import PF_WQ_WORKER, Row, Rows, task_rows
from postmortem.kernel.tasks.trace import Item, KernelText, Names, cpu_trace, trace
from postmortem.kernel.tasks.unwind import SleepingStacks, sleeping_stacks
from postmortem.printers.cformat import Field, Value, filled, printf
from postmortem.printers.lines import INFO, Line, note
from postmortem.printers.show_stack import StackPrinter

_UNINTERRUPTIBLE = 0x2
_NOLOAD = 0x400
_IDLE = _UNINTERRUPTIBLE | _NOLOAD


def show_state(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq t prints after its header: all tasks, then run queues and workqueues.

    :raises LookupError: the types are missing.
    """
    from postmortem.printers.held_locks import show_all_locks
    from postmortem.printers.sched_debug import sched_debug
    from postmortem.printers.workqueues import show_workqueues

    found = task_rows(prog)
    yield from _tasks(prog, found, lambda row: True)
    yield from _part("run queues", partial(sched_debug, prog))
    yield from _part("locks", partial(show_all_locks, prog))
    yield from _part("workqueues", partial(show_workqueues, prog))


def show_blocked(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq w prints after its header: the tasks that sleep and can't be interrupted.

    :raises LookupError: the types are missing.
    """
    found = task_rows(prog)
    # Compared as a whole before v5.14, when the member was renamed as well.
    exact = prog.type("struct task_struct").has_member("state")
    yield from _tasks(prog, found, partial(_is_blocked, exact))


def _is_blocked(exact: bool, row: Row) -> bool:
    """``state_filter_match()``; idle kernel threads don't count."""
    if row.state is None or not row.state & _UNINTERRUPTIBLE:
        return False
    return row.state != _IDLE if exact else not row.state & _NOLOAD


def _part(what: str, read: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """A part that may be missing without the others being so."""
    try:
        yield from read()
    except damage() as exc:
        yield note(f"{what} break off: {exc}")


def _tasks(prog: drgn.Program, found: Rows, wanted: Callable[[Row], bool]) -> Iterator[Line]:
    printer = TaskPrinter(prog)
    for row in found.rows:
        if wanted(row) and not row.gone:
            yield from printer.lines(row)
    for problem in found.problems:
        yield note(problem)
    lost = {**found.unreadable, **printer.unreadable}
    if lost:
        pid, why = next(iter(lost.items()))
        yield note(f"{len(lost)} tasks unreadable or without a stack: the first is {pid}: {why}")


class TaskPrinter:
    """``sched_show_task()``"""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._stacks: SleepingStacks = sleeping_stacks(prog)
        self._text = KernelText.of(prog)
        self._printer = StackPrinter(prog)
        strings = rodata(prog)
        head = strings.format("task:%-15.15s state:%c")
        rest = strings.format(" stack:%", "pid:%", "ppid:%", "flags:0x%")
        if head is None or rest is None:
            raise LookupError("this kernel has no line for tasks that is known")
        self._head, self._rest = head.text, rest.text.rstrip("\n")
        self._running = strings.format("  running task    ")
        self._kthreads = KthreadPrinter(prog)
        self._stack_usage = strings.format("used greatest stack depth: ") is not None
        self.unreadable: dict[int, str] = {}

    def lines(self, row: Row) -> Iterator[Line]:
        """All lines of a task."""
        yield Line(self.head(row), INFO)
        for text in self._kthreads.lines(row):
            yield Line(text, INFO)
        for text in self._trace(row):
            yield Line(text, INFO)

    def head(self, row: Row) -> str:
        """The line that names the task."""
        head = printf(self._head, row.task.comm, row.letter)
        if row.state == 0 and self._running is not None:
            head += self._running.text
        return head + filled(self._rest, partial(self._value, row))

    def _value(self, row: Row, field: Field) -> Value:
        if field.label == "stack":
            return None if self._stack_usage else 0
        if field.label == "pid":
            return row.task.pid
        if field.label == "tgid":
            return row.task.tgid
        if field.label == "ppid":
            return row.ppid
        if field.label == "task_flags:0x":
            return row.members.get("flags")
        return row.members.get("info_flags")

    # --- its stack --------------------------------------------------------------------

    def _trace(self, row: Row) -> list[str]:
        stack = self._stacks.by_task.get(row.task.address)
        if stack is not None:
            return self._printer.trace(trace(self._text, stack))
        return self._printer.trace(self._on_cpu(row))

    def _on_cpu(self, row: Row) -> list[Item]:
        """A task on a CPU: what its registers lead to, where the kernel shows what is left
        of the last time that it slept."""
        from postmortem.kernel.cpu.cpus import cpus

        known = readable(lambda: cpus(self._prog)) or ()
        for cpu in known:
            if cpu.address == row.task.address:
                return cpu_trace(self._prog, cpu)
        why = self._stacks.unreadable.get(row.task.address, "it was on a CPU that is not known")
        self.unreadable[row.task.pid] = why
        return []


class KthreadPrinter:
    """``print_worker_info()`` and ``print_stop_info()``: what a kernel thread is busy with."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._names = Names(prog)
        self._stopper = rodata(prog).format("Stopper: %pS <- %pS")

    def lines(self, row: Row) -> Iterator[str]:
        """A line for a worker or a stopper, none for others."""
        if row.members.get("flags", 0) & PF_WQ_WORKER:
            found = readable(lambda: self._worker(row))
            if found:
                yield found
        if self._stopper is not None and row.task.comm.startswith("migration/"):
            found = readable(lambda: self._stop(row))
            if found:
                yield found

    def _worker(self, row: Row) -> str | None:
        """``print_worker_info()``"""
        address = kthread_of(self._prog, row.task)
        if address is None:
            return None
        data = drgn.Object(self._prog, "struct kthread *", address).data
        worker = drgn.cast("struct worker *", data)
        function = worker.current_func.value_()
        queue = worker.current_pwq
        name = readable(lambda: queue.wq.name.string_()) or b"" if queue else b""
        desc = worker.desc.string_()
        if not (function or name or desc):
            return None
        text = f"Workqueue: {_text(name)} {self._names.symbol(function, offset=False)}"
        return text + (f" ({_text(desc)})" if name != desc else "")

    def _stop(self, row: Row) -> str | None:
        """``print_stop_info()``, since v5.11 (a8b62fd08505)."""
        stopper = variable(self._prog, "cpu_stopper", row.task.cpu, "struct cpu_stopper")
        if stopper.thread.value_() != row.task.address:
            return None
        names = self._names
        function, caller = stopper.fn.value_(), stopper.caller.value_()
        return f"Stopper: {names.symbol(function)} <- {names.symbol(caller)}"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
