"""Workqueues and worker pools that have something to do, as ``show_all_workqueues()`` sees them.

Source: kernel/workqueue.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.dump.damage import damage, integer, member, readable
from postmortem.dump.xarray import idr_entries
from postmortem.kernel.masks import for_each_cpu
from postmortem.kernel.memo import fact

_MAX_QUEUES = 1 << 14
_MAX_WORKS = 1 << 14
_HIGHPRI = -20


@dataclass(frozen=True)
class Work:
    """A work item that waits or runs."""

    function: int
    barrier: int | None
    """It only tells this task that those before it are done."""
    linked: bool
    """The next one belongs to it."""


@dataclass(frozen=True)
class Executing:
    """A worker and what it has in hand."""

    who: str
    """Its pid, or ``bh``."""
    function: int
    started: int | None
    """``current_start``, jiffies, where the kernel notes it."""
    scheduled: tuple[Work, ...]


@dataclass(frozen=True)
class PoolState:
    """``struct worker_pool``"""

    id: int
    cpus: tuple[int, ...]
    node: int
    flags: int
    nice: int
    bottom_half: bool
    has_work: bool
    watchdog: int
    """Jiffies when it last took up work."""
    workers: int
    idle_count: int
    idle: tuple[str, ...]
    manager: int | None


@dataclass(frozen=True)
class QueuePool:
    """What of a workqueue is on one pool: ``struct pool_workqueue``."""

    pool: PoolState
    active: int
    most_active: int | None
    references: int
    mayday: bool
    executing: tuple[Executing, ...]
    pending: tuple[Work, ...]
    inactive: tuple[Work, ...]


@dataclass(frozen=True)
class BusyQueue:
    """A workqueue with work that waits or runs."""

    name: str
    flags: int
    pools: tuple[QueuePool, ...]


@dataclass(frozen=True)
class BusyWorkqueues:
    """All that is busy."""

    queues: tuple[BusyQueue, ...]
    pools: tuple[PoolState, ...]
    """Pools with a worker that is not idle."""
    unreadable: tuple[str, ...]


@fact
def busy_workqueues(prog: drgn.Program) -> BusyWorkqueues:
    """Read them.

    :raises LookupError: the types or ``workqueues`` are missing.
    """
    reader = _Reader(prog)
    return BusyWorkqueues(tuple(reader.queues()), tuple(reader.busy_pools()), tuple(reader.lost))


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self.lost: list[str] = []
        self._linked = 1 << self._bit("WORK_STRUCT_LINKED_BIT", 3)
        self._pwq = 1 << self._bit("WORK_STRUCT_PWQ_BIT", 2)
        shift = readable(lambda: prog.constant("WORK_STRUCT_PWQ_SHIFT").value_())
        if shift is None:  # before v6.9 (e9a8e01f9b13)
            shift = readable(lambda: prog.constant("WORK_STRUCT_FLAG_BITS").value_())
        self._mask = ~((1 << (8 if shift is None else min(int(shift), 16))) - 1)
        barrier = readable(lambda: prog.symbol("wq_barrier_func"))
        self._barrier = barrier.address if barrier is not None else 0
        self._pools: dict[int, PoolState] = {}

    def _bit(self, name: str, otherwise: int) -> int:
        found = readable(lambda: self._prog.constant(name).value_())
        return otherwise if found is None else int(found)

    def queues(self) -> Iterator[BusyQueue]:
        """``workqueues``, in its order."""
        for address in self._list(self._prog["workqueues"], "struct workqueue_struct", "list"):
            try:
                queue = drgn.Object(self._prog, "struct workqueue_struct *", address)
                pools = tuple(self._queue_pools(queue))
                if pools:
                    name = queue.name.string_().decode("utf-8", "replace")
                    yield BusyQueue(name, int(queue.flags.value_()), pools)
            except damage() as exc:
                self.lost.append(f"workqueue {address:#x}: {exc}")

    def _queue_pools(self, queue: drgn.Object) -> Iterator[QueuePool]:
        for address in self._list(queue.pwqs, "struct pool_workqueue", "pwqs_node"):
            pwq = drgn.Object(self._prog, "struct pool_workqueue *", address)
            # Renamed in v5.15 (f97a4a1a3f87).
            waiting = member(pwq, "inactive_works", "delayed_works")
            if pwq.nr_active.value_() or not _empty(waiting):
                yield self._queue_pool(pwq, waiting)

    def _queue_pool(self, pwq: drgn.Object, waiting: drgn.Object) -> QueuePool:
        pool = pwq.pool.read_()
        own = pwq.value_()
        return QueuePool(
            pool=self._pool(pool),
            active=int(pwq.nr_active.value_()),
            most_active=readable(lambda: int(pwq.max_active.value_())),
            references=int(pwq.refcnt.value_()),
            mayday=not _empty(pwq.mayday_node),
            executing=tuple(self._executing(pool, own)),
            pending=tuple(w for w, of in self._works(pool.worklist) if of == own),
            inactive=tuple(w for w, _of in self._works(waiting)),
        )

    def _executing(self, pool: drgn.Object, pwq: int) -> Iterator[Executing]:
        heads = pool.busy_hash
        kind = self._prog.type("struct worker")
        for index in range(min(heads.type_.length or 0, 256)):
            node = heads[index].first.read_()
            for _ in range(_MAX_WORKS):
                if not node:
                    break
                worker = drgn.container_of(node, kind, "hentry")
                node = node.next.read_()
                if worker.current_pwq.value_() != pwq:
                    continue
                yield Executing(
                    self._who(pool, worker),
                    int(worker.current_func.value_()),
                    readable(lambda worker=worker: int(worker.current_start.value_())),  # type: ignore[misc]
                    tuple(w for w, _of in self._works(worker.scheduled)),
                )

    def _who(self, pool: drgn.Object, worker: drgn.Object) -> str:
        """``pr_cont_worker_id()``"""
        if self._is_bh(pool):
            return "bh-hi" if pool.attrs.nice.value_() == _HIGHPRI else "bh"
        rescuer = "(RESCUER)" if worker.rescue_wq else ""
        return f"{worker.task.pid.value_()}{rescuer}"

    def _is_bh(self, pool: drgn.Object) -> bool:
        """No threads, but softirqs (since v6.9, 4cb1ef64609f)."""
        known = readable(lambda: self._prog.constant("POOL_BH").value_())
        return bool(known is not None and pool.flags.value_() & int(known))

    def _works(self, head: drgn.Object) -> Iterator[tuple[Work, int]]:
        """Items of a list, and which ``pool_workqueue`` each is of."""
        kind = self._prog.type("struct work_struct")
        for address in self._list(head, "struct work_struct", "entry"):
            work = drgn.Object(self._prog, kind, address=address)
            data = integer(work.data) & ((1 << 64) - 1)
            function = int(work.func.value_())
            waiter = None
            if function == self._barrier:
                waiter = self._waiter(address)
            owner = data & self._mask & ((1 << 64) - 1) if data & self._pwq else 0
            yield Work(function, waiter, bool(data & self._linked)), owner

    def _waiter(self, address: int) -> int:
        kind = self._prog.type("struct wq_barrier")
        start = address - int(drgn.offsetof(kind, "work"))
        task = drgn.Object(self._prog, kind, address=start).task
        return int(task.pid.value_())

    def _list(self, head: drgn.Object, kind: str, link: str) -> Iterator[int]:
        offset = int(drgn.offsetof(self._prog.type(kind), link))
        start = head.address_of_().value_()
        node = self._prog.read_u64(start)
        seen: set[int] = set()
        while node != start:
            if node in seen or len(seen) >= _MAX_WORKS:
                self.lost.append(f"a list of {kind} runs in a circle")
                return
            seen.add(node)
            try:
                following = self._prog.read_u64(node)
            except damage() as exc:
                self.lost.append(f"a list of {kind} breaks off: {exc}")
                return
            yield node - offset
            node = following

    # --- pools ------------------------------------------------------------------------

    def busy_pools(self) -> Iterator[PoolState]:
        """Those with a worker that is not idle, by their number."""
        entries = idr_entries(self._prog["worker_pool_idr"])
        for number, address in islice(entries, _MAX_QUEUES):
            try:
                pool = drgn.Object(self._prog, "struct worker_pool *", address)
                if pool.nr_workers.value_() != pool.nr_idle.value_():
                    yield self._pool(pool)
            except damage() as exc:
                self.lost.append(f"pool {number}: {exc}")

    def _pool(self, pool: drgn.Object) -> PoolState:
        address = pool.value_()
        if address not in self._pools:
            self._pools[address] = self._read_pool(pool)
        return self._pools[address]

    def _read_pool(self, pool: drgn.Object) -> PoolState:
        workers = self._list(pool.idle_list, "struct worker", "entry")
        idle = (drgn.Object(self._prog, "struct worker *", address) for address in workers)
        return PoolState(
            id=int(pool.id.value_()),
            cpus=tuple(cpus_of(pool.attrs.cpumask)),
            node=int(pool.node.value_()),
            flags=int(pool.flags.value_()),
            nice=int(pool.attrs.nice.value_()),
            bottom_half=self._is_bh(pool),
            has_work=not _empty(pool.worklist),
            # Renamed in newer kernels.
            watchdog=int(member(pool, "last_progress_ts", "watchdog_ts").value_()),
            workers=int(pool.nr_workers.value_()),
            idle_count=int(pool.nr_idle.value_()),
            idle=tuple(self._who(pool, worker) for worker in idle),
            manager=readable(lambda: int(pool.manager.task.pid.value_())) if pool.manager else None,
        )


def _empty(head: drgn.Object) -> bool:
    """``list_empty()``"""
    return bool(head.next.value_() == head.address_of_().value_())


def cpus_of(mask: drgn.Object) -> Iterator[int]:
    """CPUs of a ``cpumask_var_t``, which is a pointer with CONFIG_CPUMASK_OFFSTACK."""
    if mask.type_.unaliased_kind() in (drgn.TypeKind.ARRAY, drgn.TypeKind.POINTER):
        mask = mask[0]
    yield from (int(cpu) for cpu in for_each_cpu(mask))
