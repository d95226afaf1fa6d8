"""Tasks: every ``struct task_struct`` that can be reached, also in a damaged dump."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, readable
from postmortem.dump.xarray import idr_entries
from postmortem.kernel.masks import for_each_online_cpu
from postmortem.kernel.memo import fact
from postmortem.model.findings import Problem, TaskRef

_MAX_TASKS = 1 << 22
_LETTERS = "RSDTtXZPI"
"""Letter of each bit of TASK_REPORT (include/linux/sched.h, since v4.14, 8ef9925b02c2)."""
_REPORT = 0x7F
_IDLE_STATE = 0x402
"""TASK_UNINTERRUPTIBLE | TASK_NOLOAD: a kernel thread with nothing to do."""
_RTLOCK_WAIT = 0x1000
"""Asleep on a PREEMPT_RT spinlock (v5.15, 43b1ba3a8d6b): shown as D."""
_STATES = 0x3FFFF
"""All that ``__state`` may hold: up to TASK_FROZEN and what came with v6.1 (f5d39b020809)."""
_EXIT_STATES = frozenset({0, 0x10, 0x20, 0x30})
"""EXIT_DEAD, EXIT_ZOMBIE, EXIT_TRACE."""
_PF_KTHREAD = 0x00200000


@dataclass(frozen=True)
class Task:
    """One task, as plain values."""

    address: int
    """``struct task_struct *``"""
    pid: int
    tgid: int
    comm: str
    state: str
    """One letter as in ps: R S D T t X Z P I."""
    cpu: int
    on_cpu: bool
    kthread: bool
    parent: int
    """``struct task_struct *`` of the real parent."""
    mm: int
    """``struct mm_struct *``, 0 for kernel threads and dead tasks."""

    @property
    def ref(self) -> TaskRef:
        """pid and comm."""
        return TaskRef(self.pid, self.comm)


@dataclass
class TaskList:
    """All tasks that were found, in the order of the kernel's list."""

    tasks: list[Task] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True
    by_address: dict[int, Task] = field(default_factory=dict)

    def add(self, task: Task) -> bool:
        """Take a task once."""
        if task.address in self.by_address:
            return False
        self.by_address[task.address] = task
        self.tasks.append(task)
        return True

    def by_pid(self, pid: int) -> Task | None:
        """The task with this pid in the first pid namespace."""
        return next((task for task in self.tasks if task.pid == pid), None)


@fact
def all_tasks(prog: drgn.Program) -> TaskList:
    """Every task: by ``init_task.tasks``, by the pid tree if that breaks, by run queue at last."""
    found = TaskList()
    reader = TaskReader(prog)
    _take(found, "task list (init_task.tasks)", reader.by_list(found))
    expected = _expected(prog, len(found.tasks))
    if expected is not None and len(found.tasks) < expected:
        # The list misses tasks: it is broken, or a page of it is not in the dump.
        _take(found, "pid tree", reader.by_pid_tree())
    if not found.complete:
        _take(found, "run queues", reader.by_run_queue())
    if expected is None:
        found.problems.append(Problem("tasks", "how many there should be can't be read"))
    elif len(found.tasks) < expected - (_BETWEEN if found.complete else 0):
        found.complete = False
        found.problems.append(Problem("tasks", f"{len(found.tasks)} of {expected} could be read"))
    return found


_BETWEEN = 4
"""So many may just then be between being counted and being listed."""


def _expected(prog: drgn.Program, listed: int) -> int | None:
    """How many tasks there should be: by ``nr_threads``, and if that disagrees by the pid tree.

    Each task has its number in the tree; numbers of dead leaders of groups may be there too.
    """
    counted = _nr_threads(prog)
    if counted == listed:
        return counted
    numbers = readable(lambda: _pid_numbers(prog))
    if numbers is None or (counted is not None and listed <= counted <= numbers + _BETWEEN):
        return counted
    return max(listed, numbers)


def _pid_numbers(prog: drgn.Program) -> int:
    """How many pids the first pid namespace has given out."""
    entries = idr_entries(prog["init_pid_ns"].member_("idr"))
    return sum(1 for _entry in islice(entries, _MAX_TASKS))


def _take(found: TaskList, road: str, tasks: Iterator[Task]) -> None:
    try:
        for task in tasks:
            found.add(task)
            if len(found.tasks) >= _MAX_TASKS:
                raise LookupError("more tasks than there can be")
    except damage() as exc:
        found.complete = False
        found.problems.append(Problem(road, f"breaks off after {len(found.tasks)} tasks: {exc}"))


def _nr_threads(prog: drgn.Program) -> int | None:
    try:
        value = int(prog["nr_threads"].value_())
    except damage():
        return None
    return value if 0 < value < _MAX_TASKS else None


class TaskReader:
    """Reads ``struct task_struct`` in one piece each and picks the members out of the bytes."""

    def __init__(self, prog: drgn.Program) -> None:
        """
        :raises LookupError: there are no types.
        """
        self._prog = prog
        self._is_pointer = arch_of(prog).is_pointer
        task = prog.type("struct task_struct")

        def at(member: str) -> int:
            return int(drgn.offsetof(task, member))

        # Renamed in v5.14 (2f064a59a11f, "sched: Change task_struct::state").
        state = "__state" if task.has_member("__state") else "state"
        # In thread_info when CONFIG_THREAD_INFO_IN_TASK is on since v5.16 (bcf9033e5449).
        try:
            cpu = at("thread_info.cpu")
        except LookupError:
            cpu = at("cpu")
        self._at = {
            "state": at(state),
            "flags": at("flags"),
            "cpu": cpu,
            "on_cpu": at("on_cpu"),
            "mm": at("mm"),
            "exit_state": at("exit_state"),
            "pid": at("pid"),
            "parent": at("real_parent"),
            "comm": at("comm"),
            "tasks": at("tasks"),
            "thread_node": at("thread_node"),
            "signal": at("signal"),
        }
        # An int once, a byte among others since v7.2.
        self._on_cpu_size = drgn.sizeof(task.member("on_cpu").type)
        self._comm_size = drgn.sizeof(task.member("comm").type)
        self._start = min(self._at.values()) & ~7
        self._size = max(self._at.values()) + max(16, self._comm_size) - self._start
        self._thread_head = int(drgn.offsetof(prog.type("struct signal_struct"), "thread_head"))

    def read(self, address: int) -> tuple[Task, bytes]:
        """The task at ``address`` and the bytes that it was read from.

        :raises drgn.FaultError: it is not in the dump.
        """
        if not self._is_pointer(address):
            raise LookupError(f"{address:#x} is no address of a task")
        raw = self._prog.read(address + self._start, self._size)
        state = self._u32(raw, "state")
        on_cpu = self._at["on_cpu"] - self._start
        exit_state = self._u32(raw, "exit_state")
        if state & ~_STATES or exit_state not in _EXIT_STATES:
            raise LookupError(f"the task at {address:#x} is damaged: no task has such a state")
        comm = raw[self._at["comm"] - self._start :][: self._comm_size]
        pid, tgid = struct.unpack_from("<ii", raw, self._at["pid"] - self._start)
        return (
            Task(
                address=address,
                pid=pid,
                tgid=tgid,
                comm=comm.split(b"\0", 1)[0].decode("utf-8", "replace"),
                state=state_letter(state, exit_state),
                cpu=self._u32(raw, "cpu"),
                on_cpu=any(raw[on_cpu : on_cpu + self._on_cpu_size]),
                kthread=bool(self._u32(raw, "flags") & _PF_KTHREAD),
                parent=self._u64(raw, "parent"),
                mm=self._u64(raw, "mm"),
            ),
            raw,
        )

    def _listed(self, address: int) -> tuple[Task, bytes]:
        """A task that a list or a tree leads to; a page that was lost often reads as zeroes.

        :raises LookupError: what is there can't be one.
        """
        task, raw = self.read(address)
        if task.pid <= 0 or task.tgid <= 0 or not self._is_pointer(task.parent):
            raise LookupError(f"what lies at {address:#x} is no task")
        if task.mm and not self._is_pointer(task.mm):
            raise LookupError(f"the task at {address:#x} is damaged")
        return task, raw

    def _u32(self, raw: bytes, member: str) -> int:
        return int(struct.unpack_from("<I", raw, self._at[member] - self._start)[0])

    def _u64(self, raw: bytes, member: str, offset: int = 0) -> int:
        return int(struct.unpack_from("<Q", raw, self._at[member] - self._start + offset)[0])

    def by_list(self, found: TaskList) -> Iterator[Task]:
        """Follow ``init_task.tasks`` and each leader's threads; idle tasks are left out."""
        tasks_at, node_at = self._at["tasks"], self._at["thread_node"]
        head = self._prog["init_task"].address_of_().value_() + tasks_at
        node = self._prog.read_u64(head)
        while node != head:
            address = node - tasks_at
            if address in found.by_address:
                raise LookupError(f"the list runs in a circle at {address:#x}")
            leader, raw = self._listed(address)
            yield leader
            threads = self._u64(raw, "signal") + self._thread_head
            thread_node = self._u64(raw, "thread_node")
            if thread_node != threads or self._u64(raw, "thread_node", 8) != threads:
                yield from self._threads(leader, threads, node_at, found)
            node = self._u64(raw, "tasks")

    def _threads(self, leader: Task, head: int, node_at: int, found: TaskList) -> Iterator[Task]:
        node = self._prog.read_u64(head)
        seen: set[int] = set()
        while node != head:
            address = node - node_at
            if address in seen:
                raise LookupError(f"threads of {leader.pid} run in a circle")
            seen.add(address)
            thread, raw = self._listed(address)
            if address != leader.address:
                if address in found.by_address:
                    raise LookupError(f"threads of {leader.pid} run in a circle")
                yield thread
            node = self._u64(raw, "thread_node")

    def by_pid_tree(self) -> Iterator[Task]:
        """Every task that has a pid (``init_pid_ns.idr``)."""
        from drgn.helpers.linux.pid import pid_task

        kind = self._prog["PIDTYPE_PID"].value_()
        for number, address in idr_entries(self._prog["init_pid_ns"].member_("idr")):
            try:
                pid = drgn.Object(self._prog, "struct pid *", address)
                leader = pid_task(pid, kind).value_()
                task = self._listed(leader)[0] if leader else None
            except damage():
                continue
            # The tree and the task must agree: a page that was lost reads as zeroes.
            if task is not None and task.pid == number:
                yield task

    def by_run_queue(self) -> Iterator[Task]:
        """What runs on each CPU."""
        from drgn.helpers.linux.sched import cpu_curr

        for cpu in for_each_online_cpu(self._prog):
            task = self.read(cpu_curr(self._prog, cpu).value_())[0]
            if task.pid:  # idle tasks are on no list either
                yield task


def state_letter(state: int, exit_state: int) -> str:
    """The letter that ps shows: ``task_state_index()`` in include/linux/sched.h."""
    if state & _IDLE_STATE == _IDLE_STATE:
        return "I"
    if state & _RTLOCK_WAIT:
        return "D"
    report = (state | exit_state) & _REPORT
    return _LETTERS[report.bit_length()]
