"""RCU: the grace period in progress, its age, and who holds it up.

Source: kernel/rcu/tree.c, tree.h, tree_stall.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.clock import NSEC, Clock
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.masks import for_each_possible_cpu
from postmortem.kernel.tasks.tasks import Task, all_tasks

_SEQ_STATE_MASK = 3
"""RCU_SEQ_STATE_MASK: nonzero while a grace period is in progress."""
_MAX_NODES = 4096
_MAX_TASKS = 1000
_MAX_CPUS = 8192
_WORDS = (1 << 64) - 1
_DELTA = 6.0
"""Seconds: RCU_STALL_DELAY_DELTA, which a kernel that proves RCU adds, and rounding."""


@dataclass(frozen=True)
class GracePeriod:
    """The grace period that was in progress."""

    sequence: int
    """``rcu_state.gp_seq``"""
    age_seconds: float
    cpus: tuple[int, ...]
    """CPUs that have not passed a quiescent state (``rcu_node.qsmask``)."""
    tasks: tuple[Task, ...]
    """Tasks that left a CPU inside a read-side section (``rcu_node.gp_tasks``)."""
    thread: Task | None
    """``rcu_state.gp_kthread``, which drives grace periods."""
    thread_seconds: float
    """Since that thread was last active (``gp_activity``)."""
    timeout_seconds: int
    """``rcu_cpu_stall_timeout``: after this the kernel calls it a stall."""
    callbacks: int | None
    """Callbacks that wait for it on all CPUs."""


def grace_period(prog: drgn.Program, clock: Clock) -> GracePeriod | None:
    """The grace period in progress, ``None`` if there is none.

    :raises LookupError: this kernel has no ``rcu_state`` (Tiny RCU), or no types.
    """
    state = prog["rcu_state"]
    sequence = state.gp_seq.value_()
    if not sequence & _SEQ_STATE_MASK:
        return None
    thread = state.gp_kthread.value_()
    cpus, tasks = _who(prog, state)
    return GracePeriod(
        sequence=sequence,
        age_seconds=_age(state, clock, _timeout(prog)),
        cpus=tuple(cpus),
        tasks=tuple(tasks),
        thread=all_tasks(prog).by_address.get(thread),
        thread_seconds=clock.jiffies_ago(state.gp_activity.value_()),
        timeout_seconds=_timeout(prog),
        callbacks=_callbacks(prog),
    )


def _age(state: drgn.Object, clock: Clock, timeout: int) -> float:
    """Seconds since the grace period began, if another word bears its start out.

    record_gp_stall_check_time() notes with the start when to call it a stall, and when to
    send for the CPUs. The former is moved on when it was called one. If neither fits the
    start, the less of what they say.
    """
    start = int(state.gp_start.value_())
    age = clock.jiffies_ago(start)
    due = readable(lambda: int(state.jiffies_stall.value_()))
    half = readable(lambda: int(state.jiffies_resched.value_()))
    for then, after in ((due, timeout), (half, timeout / 2)):
        if then is not None and abs(_signed(then - start) / clock.hz - after) <= _DELTA:
            return age
    if due is None:
        return age
    waited = timeout + clock.late_ns / NSEC - _signed(due - clock.jiffies) / clock.hz
    return min(age, max(0.0, waited))


def _signed(words: int) -> int:
    words &= _WORDS
    return words - (_WORDS + 1) if words >> 63 else words


def _timeout(prog: drgn.Program) -> int:
    try:
        value = int(prog["rcu_cpu_stall_timeout"].value_())
    except damage():
        return 21
    return value if 0 < value < 10_000 else 21


def _who(prog: drgn.Program, state: drgn.Object) -> tuple[list[int], list[Task]]:
    cpus: list[int] = []
    tasks: list[Task] = []
    for number in range(min(len(state.node), _MAX_NODES)):
        node = state.node[number].read_()
        low, high = node.grplo.value_(), node.grphi.value_()
        # Only the first nodes of the array are in use: those of the machine's CPUs.
        if not node.grpmask.value_() and number:
            break
        if not _is_leaf(prog, node) or not 0 <= low <= high < _MAX_CPUS:
            continue
        mask = node.qsmask.value_()
        cpus += [low + bit for bit in range(high - low + 1) if mask >> bit & 1]
        tasks += _blocked(prog, state.node[number])
    return cpus, tasks


def _is_leaf(prog: drgn.Program, node: drgn.Object) -> bool:
    """Leaves have one bit a CPU; inner nodes have one a child: wider than their mask."""
    try:
        first = variable(prog, "rcu_data", node.grplo.value_(), "struct rcu_data")
        return bool(first.mynode.level.value_() == node.level.value_())
    except damage():
        return True


def _blocked(prog: drgn.Program, node: drgn.Object) -> list[Task]:
    """Tasks from ``gp_tasks`` on in ``blkd_tasks``: these the grace period waits for."""
    try:
        at = node.gp_tasks.value_()
        head = node.blkd_tasks.address_of_().value_()
        offset = drgn.offsetof(prog.type("struct task_struct"), "rcu_node_entry")
    except damage():
        return []
    found: list[Task] = []
    known = all_tasks(prog).by_address
    seen: set[int] = set()
    while at and at != head and at not in seen and len(seen) < _MAX_TASKS:
        seen.add(at)
        task = known.get(at - offset)
        if task is not None:
            found.append(task)
        try:
            at = prog.read_u64(at)
        except damage():
            break
    return found


def _callbacks(prog: drgn.Program) -> int | None:
    total = 0
    try:
        for cpu in for_each_possible_cpu(prog):
            length = variable(prog, "rcu_data", cpu, "struct rcu_data").cblist.len
            if length.type_.unaliased().kind == drgn.TypeKind.STRUCT:
                length = length.counter
            total += length.value_()
    except damage():
        return None
    return total
