"""Every task with what ``sched_show_task()`` and the scheduler's debug output show of it.

Source: kernel/sched/core.c, kernel/sched/debug.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.layout import Layout
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.tasks import Task, TaskReader, all_tasks

PF_WQ_WORKER = 0x20
PF_KTHREAD = 0x00200000

_MEMBERS = {
    "state": "__state|state",
    "exit_state": "exit_state",
    "flags": "flags",
    "info_flags": "thread_info.flags",
    "stack": "stack",
    "thread_pid": "thread_pid",
    "on_rq": "on_rq",
    "prio": "prio",
    "nvcsw": "nvcsw",
    "nivcsw": "nivcsw",
    "vruntime": "se.vruntime",
    "vlag": "se.vlag",
    "deadline": "se.deadline",
    "slice": "se.slice",
    "custom_slice": "se.custom_slice",
    "sum_exec_runtime": "se.sum_exec_runtime",
    "wait_sum": "stats.wait_sum|se.statistics.wait_sum",
    "sum_sleep_runtime": "stats.sum_sleep_runtime|se.statistics.sum_sleep_runtime",
    "sum_block_runtime": "stats.sum_block_runtime|se.statistics.sum_block_runtime",
    "cfs_rq": "se.cfs_rq",
    "group": "sched_task_group",
    "numa_group": "numa_group",
}


class Row(NamedTuple):
    """One task; times are nanoseconds. ``members`` has what could be read of the rest."""

    task: Task
    ppid: int
    """pid of the real parent, 0 for a task that has no pid any more."""
    members: dict[str, int]

    @property
    def state(self) -> int | None:
        """Bits of ``__state``."""
        return self.members.get("state")

    @property
    def letter(self) -> str:
        """As :class:`~postmortem.kernel.tasks.tasks.Task` has it."""
        return self.task.state

    @property
    def gone(self) -> bool:
        """Its stack was given back: it is dead, and not shown."""
        return self.members.get("stack") == 0


@dataclass(frozen=True)
class Rows:
    """All tasks, idle ones left out, in the order of the kernel's list."""

    rows: tuple[Row, ...]
    unreadable: Mapping[int, str]
    """Why a task could be read in part only, by its pid."""
    problems: tuple[str, ...]
    """Why tasks may be missing."""
    has: frozenset[str]
    """Members that this kernel has."""


@fact
def task_rows(prog: drgn.Program) -> Rows:
    """Read them.

    :raises LookupError: the types are missing.
    """
    kind = prog.type("struct task_struct")
    # A bit-field in some kernels, which no struct can take out.
    layout = Layout(kind, _MEMBERS)
    listed = all_tasks(prog)
    pids = {task.address: task.pid for task in listed.tasks}
    idle = prog["init_task"].address_of_().value_()
    pids[idle] = 0
    rows = []
    lost: dict[int, str] = {}
    for task in listed.tasks:
        try:
            members = layout.read(prog, task.address)
        except damage() as exc:
            lost[task.pid] = str(exc)
            members = layout.readable(prog, task.address)
        alive = members.get("thread_pid", 1)
        ppid = pids.get(task.parent) if alive else 0
        rows.append(Row(task, _pid(prog, kind, task.parent) if ppid is None else ppid, members))
    problems = tuple(f"{problem.what}: {problem.why}" for problem in listed.problems)
    return Rows(tuple(rows), lost, problems, frozenset(m for m in _MEMBERS if layout.has(m)))


def _pid(prog: drgn.Program, kind: drgn.Type, address: int) -> int:
    try:
        return int(drgn.Object(prog, kind, address=address).pid.value_())
    except damage():
        return 0


def task_row(prog: drgn.Program, address: int) -> Row:
    """One task, also an idle one. ``struct task_struct *``

    :raises LookupError: the types are missing, or there is no task.
    """
    kind = prog.type("struct task_struct")
    task, _raw = TaskReader(prog).read(address)
    return Row(task, _pid(prog, kind, task.parent), Layout(kind, _MEMBERS).readable(prog, address))
