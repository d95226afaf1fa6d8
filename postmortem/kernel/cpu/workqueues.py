"""PoolWorker pools: which make no progress, what their workers do, and what waits behind them.

Source: kernel/workqueue.c, workqueue_internal.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.dump.damage import damage, integer, member, tolerated
from postmortem.dump.xarray import idr_entries
from postmortem.kernel.cpu.clock import Clock
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.tasks import Task, all_tasks

_MAX_POOLS = 20_000
_MAX_WORKERS = 5_000
_MAX_WORK = 10_000
_NOT_RUNNING = 0x8 | 0x40 | 0x80 | 0x100
"""WORKER_NOT_RUNNING: PREP, CPU_INTENSIVE, UNBOUND, REBOUND."""


@dataclass(frozen=True)
class PoolWorker:
    """A worker with work in hand."""

    task: Task | None
    function: str | None
    """Name of the work function, ``None`` if it is no kernel code."""
    module: str | None
    work: int
    """``struct work_struct *``"""
    workqueue: str | None
    counts: bool
    """It counts against its pool's concurrency: while it runs no other worker is started."""
    seconds: float | None
    """Since it took up the work, where the kernel notes it."""


@dataclass(frozen=True)
class Pool:
    """A worker pool with work that waits."""

    id: int
    cpu: int | None
    """``None`` for an unbound pool."""
    nice: int | None
    stalled_seconds: float
    """Since it last took up work or had none (``last_progress_ts``)."""
    pending: int
    """Work items that wait."""
    waiting: tuple[str, ...]
    """Their functions, each once, the first ones."""
    busy: tuple[PoolWorker, ...]
    workers: int
    idle: int
    running: int
    """``nr_running``: workers that count as running."""


@dataclass(frozen=True)
class Pools:
    """All pools that have work waiting."""

    pools: tuple[Pool, ...]
    thresh_seconds: int
    """``wq_watchdog_thresh``: after this the kernel calls a pool stalled; 30 where it is off."""


def waiting_pools(prog: drgn.Program, clock: Clock) -> Pools:
    """Every pool that has work waiting, the longest stalled first.

    :raises LookupError: the types or ``worker_pool_idr`` are missing.
    """
    found = []
    entries = idr_entries(prog["worker_pool_idr"])
    for _number, address in islice(entries, _MAX_POOLS):
        try:
            pool = drgn.Object(prog, "struct worker_pool *", address)
            read = _pool(prog, pool, clock)
        except damage():
            continue
        if read is not None:
            found.append(read)
    found.sort(key=lambda pool: -pool.stalled_seconds)
    return Pools(tuple(found), _thresh(prog))


def _thresh(prog: drgn.Program) -> int:
    try:
        symbol = prog.symbol("wq_watchdog_thresh")
        value = prog.read_u64(symbol.address)
    except damage():
        return 30
    return value if 0 < value < 100_000 else 30


def _pool(prog: drgn.Program, pool: drgn.Object, clock: Clock) -> Pool | None:
    """:param pool: ``struct worker_pool *``"""
    head = pool.worklist.address_of_().value_()
    if pool.worklist.next.value_() == head:
        return None
    pending, functions = _pending(prog, head)
    cpu = pool.cpu.value_()
    nice = None
    with tolerated():
        nice = pool.attrs.nice.value_()
    return Pool(
        id=pool.id.value_(),
        cpu=cpu if cpu >= 0 else None,
        nice=nice,
        stalled_seconds=clock.jiffies_ago(_progress(pool)),
        pending=pending,
        waiting=functions,
        busy=tuple(_busy(prog, pool, clock)),
        workers=pool.nr_workers.value_(),
        idle=pool.nr_idle.value_(),
        running=integer(pool.nr_running),  # atomic_t before bc35f7ef9628 (early 2022)
    )


def _progress(pool: drgn.Object) -> int:
    """Jiffies when a pool last took up work: ``last_progress_ts``, older ``watchdog_ts``."""
    return int(member(pool, "last_progress_ts", "watchdog_ts").value_())


def _function(prog: drgn.Program, address: int) -> tuple[str | None, str | None]:
    found = Symbolizer.of(prog).symbol(address)
    return (None, None) if found is None else (found.function, found.module)


def _pending(prog: drgn.Program, head: int) -> tuple[int, tuple[str, ...]]:
    """How many work items are on a list, and their functions."""
    work = prog.type("struct work_struct")
    entry, func = drgn.offsetof(work, "entry"), drgn.offsetof(work, "func")
    names: dict[str, None] = {}
    count = 0
    seen: set[int] = set()
    node = head
    try:
        node = prog.read_u64(head)
        while node != head and node not in seen and count < _MAX_WORK:
            seen.add(node)
            count += 1
            if len(names) < 8:
                name, _module = _function(prog, prog.read_u64(node - entry + func))
                if name is not None and name != "wq_barrier_func":
                    names[name] = None
            node = prog.read_u64(node)
    except damage():
        pass
    return count, tuple(names)


def _busy(prog: drgn.Program, pool: drgn.Object, clock: Clock) -> Iterator[PoolWorker]:
    """Workers of a pool that have work in hand, by its ``workers`` list."""
    worker_type = prog.type("struct worker")
    known = all_tasks(prog).by_address
    head = pool.workers.address_of_().value_()
    offset = drgn.offsetof(worker_type, "node")
    node = prog.read_u64(head)
    seen: set[int] = set()
    while node != head and node not in seen and len(seen) < _MAX_WORKERS:
        seen.add(node)
        worker = drgn.Object(prog, worker_type, address=node - offset).read_()
        node = worker.node.next.value_()
        work = worker.current_work.value_()
        if not work:
            continue
        name, module = _function(prog, worker.current_func.value_())
        yield PoolWorker(
            task=known.get(worker.task.value_()),
            function=name,
            module=module,
            work=work,
            workqueue=_workqueue(worker),
            counts=not worker.flags.value_() & _NOT_RUNNING,
            seconds=_seconds(worker, clock),
        )


def _workqueue(worker: drgn.Object) -> str | None:
    try:
        name: bytes = worker.current_pwq.wq.name.string_()
    except damage():
        return None
    return name.decode("ascii", "replace") or None


def _seconds(worker: drgn.Object, clock: Clock) -> float | None:
    """``current_at`` since v6.5 (616db8779b1e) is run time of the task, ``last_active`` is set
    when a worker goes idle: neither says when work began. Newer kernels do (``current_start``)."""
    try:
        start = worker.current_start.value_()
    except damage():
        return None
    return clock.jiffies_ago(start) if start else None
