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
    if not word:
        return crash.run(session.prog, "set", "", io.StringIO())
    if word.isdecimal():
        found = by_pid(session, int(word[:10]))
        if found is not None:
            return found
    with contextlib.suppress(ValueError):
        address = int(word, 16)
        tasks = session.case.tasks
        known = tasks is not None and address in tasks.by_address
        if known or address in _idle(session.prog):
            return drgn.Object(session.prog, "struct task_struct *", address)
    raise UsageError(f"no task {word!r}: a decimal pid or a hexadecimal task_struct is wanted")


def by_pid(session: Session, pid: int) -> drgn.Object | None:
    """The ``struct task_struct *`` of a pid: of the tasks that were read, so that it ends."""
    tasks = session.case.tasks
    found = next((task for task in tasks.tasks if task.pid == pid), None) if tasks else None
    if found is None:
        return None
    return drgn.Object(session.prog, "struct task_struct *", found.address)


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
