"""The structures by which a sleeping task hangs on what it waits for.

A task that waits for a lock has put a structure on its own stack and linked it
into a list whose head lies in the lock. From the structure the list leads to
the head, and so to the lock. That is proof, not a guess: the lock's own list
contains the task.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.unwind import SleepingStack, SleepingStacks

_MAX_WAITERS = 1 << 18
_PAIR = struct.Struct("<QQ")


@dataclass(frozen=True)
class Layout:
    """Where the links of a waiting structure lie, in bytes."""

    waiter: str
    """C type on the stack."""
    links: int
    """Its ``struct list_head``."""
    task: int
    """Its pointer to the task."""
    lock: str
    """C type of what it hangs on."""
    head: int | None
    """``struct list_head`` in the lock."""
    first: int | None
    """Pointer to the first waiter, where the lock has no list head (since v7.1)."""
    function: int | None = None
    """Pointer to the wake function, which an entry has and a head has not."""


@dataclass
class Ring:
    """A list of waiters, walked once for all that are in it."""

    waiters: dict[int, int] = field(default_factory=dict)
    """Task by address of its structure, in the order of the list."""
    others: list[int] = field(default_factory=list)
    """Links that belong to no task's stack: the head, normally."""
    broken: str = ""
    """Why the walk ended early."""


@fact
def layouts(prog: drgn.Program) -> dict[str, Layout]:
    """Layouts of the kernel's waiting structures by C type of the lock."""
    found: dict[str, Layout] = {}
    for waiter, links, task, lock, head in (
        ("struct mutex_waiter", "list", "task", "struct mutex", "wait_list"),
        ("struct rwsem_waiter", "list", "task", "struct rw_semaphore", "wait_list"),
        ("struct semaphore_waiter", "list", "task", "struct semaphore", "wait_list"),
        ("struct swait_queue", "task_list", "task", "struct swait_queue_head", "task_list"),
        ("struct wait_queue_entry", "entry", "private", "struct wait_queue_head", "head"),
    ):
        layout = _layout(prog, waiter, links, task, lock, head)
        if layout is not None:
            found[lock] = layout
    return found


def _layout(
    prog: drgn.Program, waiter: str, links: str, task: str, lock: str, head: str
) -> Layout | None:
    try:
        waiter_type, lock_type = prog.type(waiter), prog.type(lock)
        # The heads of mutex, rwsem and semaphore became pointers to the first waiter in v7.1.
        first = "first_waiter" if lock_type.has_member("first_waiter") else None
        return Layout(
            waiter,
            drgn.offsetof(waiter_type, links),
            drgn.offsetof(waiter_type, task),
            lock,
            None if first else drgn.offsetof(lock_type, head),
            drgn.offsetof(lock_type, first) if first else None,
            drgn.offsetof(waiter_type, "func") if task == "private" else None,
        )
    except LookupError:
        return None


class Waiters:
    """Finds waiting structures on stacks and what they hang on."""

    def __init__(self, prog: drgn.Program, stacks: SleepingStacks) -> None:
        self._prog = prog
        self._arch = arch_of(prog)
        self._stacks = stacks
        self._rings: dict[int, Ring] = {}
        self._offsets: dict[tuple[int, str], int] = {}
        self.layouts = layouts(prog)

    # --- the structure on the stack

    def on_stack(self, stack: SleepingStack, layout: Layout, end: int) -> int | None:
        """Address of the task's structure on its stack, below ``end`` bytes from its pointer.

        Accepted only when its neighbours in the list point back at it.
        """
        key = (id(stack.shape), layout.waiter)
        known = self._offsets.get(key)
        if known is not None and stack.word(known + layout.task) == stack.task.address:
            address = stack.sp + known
            if self._linked(stack, known, layout) is not None:
                return address
        for offset, value in stack.words(0, end):
            start = offset - layout.task
            if value != stack.task.address or start < 0:
                continue
            if self._linked(stack, start, layout) is not None:
                self._offsets[key] = start
                return stack.sp + start
        return None

    def _linked(self, stack: SleepingStack, start: int, layout: Layout) -> tuple[int, int] | None:
        """The neighbours, if both point back."""
        following = stack.word(start + layout.links)
        previous = stack.word(start + layout.links + 8)
        if not following or not previous:
            return None
        here = stack.sp + start + layout.links
        if here in self._rings:
            return following, previous
        if layout.function is not None and not self._is_text(stack.word(start + layout.function)):
            return None
        try:
            if layout.first is not None:
                here = stack.sp + start + layout.links
            if self._prog.read_u64(following + 8) != here:
                return None
            if self._prog.read_u64(previous) != here:
                return None
        except damage():
            return None
        return following, previous

    def _is_text(self, address: int | None) -> bool:
        if address is None or not self._arch.is_kernel(address):
            return False
        found = Symbolizer.of(self._prog).symbol(address)
        return found is not None and found.offset == 0

    # --- the list

    def ring(self, waiter: int, layout: Layout) -> Ring:
        """The list that ``waiter`` is in."""
        start = waiter + layout.links
        known = self._rings.get(start)
        if known is not None:
            return known
        ring = Ring()
        links = list(self._walk(start, ring))
        for link in links:
            task = self._waiting_task(link, layout)
            if task is None:
                ring.others.append(link)
            else:
                ring.waiters[link - layout.links] = task
                self._rings[link] = ring
        return ring

    def _walk(self, start: int, ring: Ring) -> Iterator[int]:
        """Every link of the list, from ``start`` on; backwards too, if it breaks off."""
        seen = {start}
        yield start
        for direction in (0, 1):
            link = start
            while True:
                try:
                    link = self._prog.read_u64(link + 8 * direction)
                except damage() as exc:
                    ring.broken = ring.broken or f"the waiter list breaks off at {link:#x}: {exc}"
                    break
                if link in seen:
                    if link == start:
                        return
                    # Backwards it has met the place where it broke forwards.
                    circle = f"the waiter list runs in a circle at {link:#x}"
                    ring.broken = ring.broken or circle
                    break
                if len(seen) >= _MAX_WAITERS:
                    ring.broken = "the waiter list has no end"
                    return
                seen.add(link)
                yield link

    def _waiting_task(self, link: int, layout: Layout) -> int | None:
        """The task on whose stack the structure with these links lies."""
        waiter = link - layout.links
        try:
            if layout.function is not None:
                function = self._prog.read_u64(waiter + layout.function)
                if not self._is_text(function):
                    return None
            task = self._prog.read_u64(waiter + layout.task)
        except damage():
            return None
        stack = self._stacks.by_task.get(task)
        if stack is not None:
            return task if stack.sp <= waiter < stack.sp + len(stack.data) else None
        return task if self._stacks.holds(task, waiter) else None

    # --- the lock

    def lock_of(self, stack: SleepingStack, ring: Ring, layout: Layout) -> int | None:
        """Address of the lock whose list this is.

        With a list head in the lock it is the one link that is on no stack.
        Otherwise a word of the stack is the lock if it points to the first waiter.
        """
        if layout.head is not None:
            heads = [link - layout.head for link in ring.others]
            if len(heads) == 1:
                return heads[0]
            words = {value for _offset, value in stack.words(0, len(stack.data))}
            known = [head for head in heads if head in words]
            return known[0] if len(known) == 1 else None
        assert layout.first is not None
        for _offset, value in stack.words(0, len(stack.data)):
            if not self._arch.is_pointer(value, 8):
                continue
            try:
                if self._prog.read_u64(value + layout.first) in ring.waiters:
                    return value
            except damage():
                continue
        return None
