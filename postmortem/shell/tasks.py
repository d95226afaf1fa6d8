"""Tasks as crash's arguments name them."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import drgn

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash

if TYPE_CHECKING:
    from postmortem.shell.session import Session


def task_of(session: Session, word: str = "") -> drgn.Object:
    """``struct task_struct *`` of a decimal pid, a hexadecimal address, or of the context.

    :raises UsageError: there is no such task.
    """
    from drgn.helpers.linux.pid import find_task

    if not word:
        return crash.run(session.prog, "set", "", io.StringIO())
    if word.isdecimal():
        found = find_task(session.prog, int(word[:10]))
        if found:
            return found
    with contextlib.suppress(ValueError):
        address = int(word, 16)
        tasks = session.case.tasks
        known = tasks is not None and address in tasks.by_address
        if known or address in _idle(session.prog):
            return drgn.Object(session.prog, "struct task_struct *", address)
    raise UsageError(f"no task {word!r}: a decimal pid or a hexadecimal task_struct is wanted")


def _idle(prog: drgn.Program) -> frozenset[int]:
    """Addresses of the CPUs' idle tasks, which are on no list."""
    from drgn.helpers.linux.sched import idle_task

    from postmortem.dump.damage import damage
    from postmortem.kernel.system import present_cpus

    try:
        return frozenset(int(idle_task(prog, cpu).value_()) for cpu in present_cpus(prog))
    except damage():
        return frozenset()


def header(task: drgn.Object) -> str:
    """The line that crash writes above what belongs to a task."""
    from drgn.helpers.linux.sched import task_cpu

    comm = task.comm.string_().decode(errors="replace")
    return clean(
        f"PID: {int(task.pid):<8} TASK: {int(task.value_()):x}  CPU: {task_cpu(task)}"
        f'  COMMAND: "{comm}"'
    )
