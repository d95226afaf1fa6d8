"""The locks that lockdep has written down for each task: ``task_struct.held_locks[]``.

Only kernels with CONFIG_LOCKDEP keep it. A lock is listed from when a task begins to wait
for it. Source: kernel/locking/lockdep.c, include/linux/lockdep_types.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.rows import Row, task_rows
from postmortem.kernel.tasks.trace import Names

_MAX_CLASSES = 1 << 13
"""MAX_LOCKDEP_KEYS: ``held_lock.class_idx`` has 13 bits."""
_DIRECTION = 2
"""LOCK_USAGE_DIR_MASK: from "used in that context" to "taken with it enabled"."""
_USAGES = (0, 1, 4, 5)
"""LOCK_USED_IN_HARDIRQ, the same for reading, then SOFTIRQ: ``enum lock_usage_bit``."""


@dataclass(frozen=True)
class LockClass:
    """All locks that are initialised at one place. ``struct lock_class``"""

    name: str
    """With ``#2`` for another class of the same name, ``/1`` for a subclass."""
    usage: str
    """A character each for hard interrupts, the same for reading, and soft interrupts."""
    outer: int
    """Wait types: what may be waited for around it, and within."""
    inner: int


@dataclass(frozen=True)
class HeldLock:
    """``struct held_lock``"""

    instance: int
    """Address of the ``struct lockdep_map`` in the lock."""
    kind: LockClass | None
    """``None``: the class was given back."""
    taken_at: int
    """Return address of who asked for it."""


@dataclass(frozen=True)
class Holder:
    """A task with locks."""

    row: Row
    depth: int
    """How many the task says that it has."""
    locks: tuple[HeldLock, ...]
    """The oldest first."""
    unreadable: str = ""
    """Why they are not all of them."""


def lockdep_state(prog: drgn.Program) -> bool | None:
    """Whether lockdep is on; it turns itself off at its first report. ``None``: not built in.

    :raises LookupError: its switch can't be read.
    """
    if readable(lambda: prog.symbol("lock_classes")) is None:
        return None
    return bool(prog.read_u32(prog.symbol("debug_locks").address))


@fact
def lock_holders(prog: drgn.Program) -> tuple[Holder, ...]:
    """Every task with a lock on its list, in the order of the kernel's list of tasks.

    :raises LookupError: the kernel was built without lockdep.
    """
    kind = prog.type("struct task_struct")
    if not kind.has_member("held_locks"):
        raise LookupError("this kernel was built without lockdep")
    classes = _Classes(prog)
    found = []
    for row in task_rows(prog).rows:
        task = drgn.Object(prog, kind, address=row.task.address)
        depth = readable(lambda task=task: int(task.lockdep_depth.value_()))  # type: ignore[misc]
        if depth:
            found.append(_holder(row, task, depth, classes))
    return tuple(found)


def _holder(row: Row, task: drgn.Object, depth: int, classes: _Classes) -> Holder:
    locks: list[HeldLock] = []
    why = ""
    room = task.held_locks.type_.length or 0
    try:
        for lock in _held(task, min(depth, room), classes):
            locks.append(lock)
        if not 0 <= depth <= room:
            why = f"{depth} locks on a list of {room}"
    except damage() as exc:
        why = str(exc)
    return Holder(row, depth, tuple(locks), why)


def _held(task: drgn.Object, depth: int, classes: _Classes) -> Iterator[HeldLock]:
    for index in range(depth):
        lock = task.held_locks[index].read_()
        yield HeldLock(
            instance=int(lock.instance.value_()),
            kind=classes.at(int(lock.class_idx.value_())),
            taken_at=int(lock.acquire_ip.value_()),
        )


class _Classes:
    """``lock_classes[]``, each read once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._kind = prog.type("struct lock_class")
        self._size = int(drgn.sizeof(self._kind))
        self._first = prog.symbol("lock_classes").address
        self._used = prog.symbol("lock_classes_in_use").address
        self._names = Names(prog)
        self._known: dict[int, LockClass | None] = {}

    def at(self, index: int) -> LockClass | None:
        """
        :raises drgn.FaultError: it is not in the dump.
        """
        if index not in self._known:
            self._known[index] = self._read(index)
        return self._known[index]

    def _read(self, index: int) -> LockClass | None:
        word = self._prog.read_u64(self._used + index // 64 * 8)
        if index >= _MAX_CLASSES or not word >> index % 64 & 1:
            return None
        address = self._first + index * self._size
        kind = drgn.Object(self._prog, self._kind, address=address)
        mask = integer(kind.usage_mask)
        inner = int(kind.wait_type_inner.value_())
        return LockClass(
            name=self._name(kind),
            usage="".join(_usage(mask, bit) for bit in _USAGES),
            outer=int(kind.wait_type_outer.value_()) or inner,
            inner=inner,
        )

    def _name(self, kind: drgn.Object) -> str:
        """``__print_lock_name()``; a class without a name has that of its key."""
        if not kind.name:
            return self._names.symbol(int(kind.key.value_()), offset=False)
        name: str = kind.name.string_().decode("utf-8", "replace")
        version = int(kind.name_version.value_())
        subclass = int(kind.subclass.value_())
        return name + (f"#{version}" if version > 1 else "") + (f"/{subclass}" if subclass else "")


def _usage(mask: int, bit: int) -> str:
    """``get_usage_char()``"""
    used, enabled = mask >> bit & 1, mask >> (bit + _DIRECTION) & 1
    if enabled:
        return "?" if used else "+"
    return "-" if used else "."
