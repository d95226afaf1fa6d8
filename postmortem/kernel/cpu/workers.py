"""Workers and the work they do: which task executes which item of which queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, tolerated
from postmortem.dump.lists import list_entries
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.kthreads import kthread_of
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.tasks import Task, all_tasks

_MAX_QUEUES = 1 << 14
_MAX_SCHEDULED = 1 << 12


@dataclass(frozen=True)
class Worker:
    """A kworker that is executing something."""

    task: Task
    address: int
    """``struct worker *``"""
    work: int
    """``struct work_struct *`` that it executes."""
    function: str | None
    module: str | None
    pwq: int
    """``struct pool_workqueue *``"""
    queue: int
    """``struct workqueue_struct *``"""
    queue_name: str
    scheduled: int
    """Address of the head of its list of linked work."""


@dataclass(frozen=True)
class Flusher:
    """What a task that waits for a whole queue waits for."""

    queue: int
    name: str


@fact
def busy_workers(prog: drgn.Program) -> list[Worker]:
    """Every worker that executes work."""
    found: list[Worker] = []
    try:
        kthread_data = drgn.offsetof(prog.type("struct kthread"), "data")
        worker_type = prog.type("struct worker *")
        scheduled = drgn.offsetof(worker_type.type, "scheduled")
    except LookupError:
        return found
    for task in all_tasks(prog).tasks:
        if not task.comm.startswith("kworker/"):
            continue
        try:
            kthread = kthread_of(prog, task)
            if kthread is None:
                continue
            address = prog.read_u64(kthread + kthread_data)
            worker = drgn.Object(prog, worker_type, address)
            if worker.task.value_() != task.address or not worker.current_work:
                continue
            found.append(_worker(prog, task, worker, address + scheduled))
        except damage():
            continue
    return found


def _worker(prog: drgn.Program, task: Task, worker: drgn.Object, scheduled: int) -> Worker:
    symbol = Symbolizer.of(prog).symbol(worker.current_func.value_())
    queue, name = 0, "?"
    try:
        queue = worker.current_pwq.wq.value_()
        name = worker.current_pwq.wq.name.string_().decode("utf-8", "replace")
    except damage():
        pass
    return Worker(
        task,
        worker.value_(),
        worker.current_work.value_(),
        symbol.function if symbol else None,
        symbol.module if symbol else None,
        worker.current_pwq.value_(),
        queue,
        name,
        scheduled,
    )


def flushed_by(prog: drgn.Program, barrier: int) -> Worker | None:
    """The worker after whose work a ``struct wq_barrier`` on somebody's stack comes.

    insert_wq_barrier() links the barrier behind the work: into the list of the
    worker that executes it.
    """
    heads = {worker.scheduled: worker for worker in busy_workers(prog)}
    try:
        entry = barrier + drgn.offsetof(prog.type("struct wq_barrier"), "work.entry")
    except LookupError:
        return None
    seen: set[int] = set()
    node = entry
    while node not in seen and len(seen) < _MAX_SCHEDULED:
        if node in heads:
            return heads[node]
        seen.add(node)
        try:
            node = prog.read_u64(node)
        except damage():
            return None
    return None


def queue_flushed_by(prog: drgn.Program, flusher: int) -> Flusher | None:
    """The workqueue that has this ``struct wq_flusher`` on its lists."""
    return _all_flushers(prog).get(flusher)


@fact
def _all_flushers(prog: drgn.Program) -> dict[int, Flusher]:
    found: dict[int, Flusher] = {}
    with tolerated():  # what was read before the list broke off is kept
        for address, known in _flushers(prog):
            found.setdefault(address, known)
    return found


def _flushers(prog: drgn.Program) -> Iterator[tuple[int, Flusher]]:
    queues = list_entries(prog["workqueues"], "struct workqueue_struct", "list")
    for number, queue in enumerate(queues):
        if number > _MAX_QUEUES:
            return
        first = queue.first_flusher.value_()
        entries = {first} - {0}
        for member in ("flusher_queue", "flusher_overflow"):
            head = queue.member_(member)
            node, seen = head.next.value_(), {head.address_of_().value_()}
            while node not in seen and len(seen) < _MAX_SCHEDULED:
                seen.add(node)
                entries.add(node)
                node = prog.read_u64(node)
        if entries:
            name = queue.name.string_().decode("utf-8", "replace")
            for entry in entries:
                yield entry, Flusher(queue.value_(), name)
