"""Locks as they lie in memory: who owns them, as far as the kernel writes it down."""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, member
from postmortem.rules.waits import WaitKind

_FLAGS = 7
"""Low bits of ``mutex.owner`` (v4.10, 3ca0ff571b09) and ``rw_semaphore.owner`` (v5.3,
94a9717b3c40); both point to a task_struct, which is aligned to more."""
_READER_OWNED = 1
_WRITER_LOCKED = 1
_READER_BIAS = 8
"""Bits of flags in ``rw_semaphore.count`` below the number of readers (v5.3, 64489e78004c)."""
_BLOCKER_TYPES = (
    WaitKind.MUTEX,
    WaitKind.SEMAPHORE,
    WaitKind.RWSEM_READ,
    WaitKind.RWSEM_WRITE,
)
"""Low bits of ``task_struct.blocker`` (include/linux/hung_task.h, since v6.16)."""

_HAS_WAITERS = 1
"""MUTEX_FLAG_WAITERS (kernel/locking/mutex.h), RT_MUTEX_HAS_WAITERS."""
_RWSEM_WAITERS = 2
"""RWSEM_FLAG_WAITERS of ``count`` (kernel/locking/rwsem.c)."""

TYPES = {
    WaitKind.MUTEX: "struct mutex",
    WaitKind.RWSEM_READ: "struct rw_semaphore",
    WaitKind.RWSEM_WRITE: "struct rw_semaphore",
    WaitKind.SEMAPHORE: "struct semaphore",
    WaitKind.RT_MUTEX: "struct rt_mutex_base",
    WaitKind.PERCPU_READ: "struct percpu_rw_semaphore",
    WaitKind.PERCPU_WRITE: "struct percpu_rw_semaphore",
}


@dataclass(frozen=True)
class Owner:
    """Who has a lock, by the lock's own word."""

    task: int
    """``struct task_struct *``, 0 if nobody is written down."""
    certain: bool
    """``False`` for a hint: one of several readers, the last that took a semaphore."""
    state: str
    """The lock in words: ``held for writing``, ``held by 2 readers`` ..."""
    member: str
    """Where it was read: ``mutex.owner = 0xff..1``"""
    awaited: bool = True
    """The word says that somebody is in the lock's list; where somebody is, it must."""


def owner(prog: drgn.Program, kind: WaitKind, address: int) -> Owner | None:
    """The owner of the lock at ``address``; ``None`` for what has none.

    :raises drgn.FaultError: the lock is not in the dump.
    :raises LookupError: its type is not known.
    """
    if kind is WaitKind.MUTEX:
        return _mutex(prog, address)
    if kind in (WaitKind.RWSEM_READ, WaitKind.RWSEM_WRITE):
        return _rwsem(prog, address)
    if kind is WaitKind.RT_MUTEX:
        return _rt_mutex(prog, address)
    if kind is WaitKind.SEMAPHORE:
        return _semaphore(prog, address)
    if kind in (WaitKind.PERCPU_READ, WaitKind.PERCPU_WRITE):
        return _percpu(prog, address)
    return None


def _rt_mutex(prog: drgn.Program, address: int) -> Owner:
    try:
        # Split off struct rt_mutex in v5.15 (830e6acc8a1c).
        lock = drgn.Object(prog, "struct rt_mutex_base", address=address)
    except LookupError:
        lock = drgn.Object(prog, "struct rt_mutex", address=address)
    word = lock.owner.value_()
    task = word & ~1
    member = f"rt_mutex.owner = {word:#x}"
    return Owner(task, True, "held" if task else "free", member, bool(word & _HAS_WAITERS))


def _mutex(prog: drgn.Program, address: int) -> Owner:
    lock = drgn.Object(prog, "struct mutex", address=address)
    # PREEMPT_RT: the mutex is an rt_mutex.
    word = member(lock, "owner.counter", "rtmutex.owner").value_()
    word &= (1 << 64) - 1
    task = word & ~_FLAGS
    where = f"mutex.owner = {word:#x}"
    return Owner(task, True, "held" if task else "free", where, bool(word & _HAS_WAITERS))


def _rwsem(prog: drgn.Program, address: int) -> Owner:
    lock = drgn.Object(prog, "struct rw_semaphore", address=address)
    count = lock.count.counter.value_()
    word = lock.owner.counter.value_() & (1 << 64) - 1
    task = word & ~_FLAGS
    member = f"rw_semaphore.count = {count & (1 << 64) - 1:#x}, .owner = {word:#x}"
    awaited = bool(count & _RWSEM_WAITERS)
    if count & _WRITER_LOCKED:
        return Owner(task, not word & _READER_OWNED, "held for writing", member, awaited)
    readers = (count & (1 << 63) - 1) >> _READER_BIAS
    if readers:
        number = f"{readers} readers" if readers > 1 else "one reader"
        hint = task if word & _READER_OWNED else 0
        return Owner(hint, False, f"held by {number}", member, awaited)
    return Owner(0, True, "free", member, awaited)


def _semaphore(prog: drgn.Program, address: int) -> Owner:
    lock = drgn.Object(prog, "struct semaphore", address=address)
    count = lock.count.value_()
    state = "used up" if not count else f"{count} left"
    try:
        # Since v6.16 (CONFIG_DETECT_HUNG_TASK_BLOCKER).
        task = lock.last_holder.value_() & ~_FLAGS
    except damage():
        return Owner(0, False, state, f"semaphore.count = {count}")
    return Owner(task, False, state, f"semaphore.last_holder = {task:#x}")


def _percpu(prog: drgn.Program, address: int) -> Owner:
    lock = drgn.Object(prog, "struct percpu_rw_semaphore", address=address)
    # Since v5.7 (7f26482a872c) readers look at block only.
    blocked = lock.block.counter.value_()
    writer = lock.writer.task.value_()
    state = "held for writing" if blocked else "open to readers"
    return Owner(writer, False, state, f"percpu_rw_semaphore.block = {blocked}")


def blocker(prog: drgn.Program, task: int) -> tuple[WaitKind, int] | None:
    """What the task itself says it waits for: ``task_struct.blocker`` and ``.blocked_on``.

    Both are kept since v6.16 by some configurations only.

    :param task: ``struct task_struct *``
    """
    kind = prog.type("struct task_struct")
    is_kernel = arch_of(prog).is_kernel
    try:
        if kind.has_member("blocker"):
            word = prog.read_u64(task + drgn.offsetof(kind, "blocker"))
            if is_kernel(word):
                return _BLOCKER_TYPES[word & 3], word & ~3
        if kind.has_member("blocker_mutex"):
            word = prog.read_u64(task + drgn.offsetof(kind, "blocker_mutex"))
            if is_kernel(word):
                return WaitKind.MUTEX, word
        if kind.has_member("blocked_on"):
            word = prog.read_u64(task + drgn.offsetof(kind, "blocked_on"))
            if is_kernel(word) and not word & _FLAGS:
                return WaitKind.MUTEX, word
    except damage():
        return None
    return None


def rt_mutex_waited_for(prog: drgn.Program, task: int) -> int | None:
    """``struct rt_mutex_base *`` that a task is blocked on, by ``task->pi_blocked_on``.

    :param task: ``struct task_struct *``
    """
    try:
        kind = prog.type("struct task_struct")
        waiter = prog.read_u64(task + drgn.offsetof(kind, "pi_blocked_on"))
        if not arch_of(prog).is_kernel(waiter):
            return None
        found = drgn.Object(prog, "struct rt_mutex_waiter", address=waiter)
        if found.task.value_() != task:
            return None
        return int(found.lock.value_()) or None
    except damage():
        return None
