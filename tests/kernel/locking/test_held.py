"""What lockdep lists of a task; whole lists are compared by tests/corpus/test_sysrq_oracle.py."""

from __future__ import annotations

import pytest

import postmortem
from corpus.publish import ORACLE
from postmortem.kernel.locking.held import _usage, lock_holders, lockdep_state
from tests.conftest import Machine


@pytest.mark.parametrize(
    ("mask", "shown"),
    [
        (0, "."),
        (1 << 0, "-"),  # LOCK_USED_IN_HARDIRQ
        (1 << 2, "+"),  # LOCK_ENABLED_HARDIRQ
        (1 << 0 | 1 << 2, "?"),
        (1 << 4 | 1 << 6, "."),  # of soft interrupts only
    ],
)
def test_a_character_tells_where_a_lock_is_taken(mask: int, shown: str) -> None:
    assert _usage(mask, 0) == shown


def test_a_kernel_without_lockdep_lists_none(machine: Machine) -> None:
    assert lockdep_state(machine.prog) is None
    with pytest.raises(LookupError, match="without lockdep"):
        lock_holders(machine.prog)


def test_threads_of_a_chain_hold_what_their_source_says() -> None:
    """corpus/faults/locks.c: the drainer has the queue's mutex, the resizer waits for it with
    the semaphore of the table in its hands, all others wait for that."""
    path = next(ORACLE.glob("6.12own-sysrq-locks.vmcore*"))
    with postmortem.open(path, debuginfod=False) as case:
        assert lockdep_state(case.prog) is True
        listed = {
            holder.row.task.comm: [lock.kind.name for lock in holder.locks if lock.kind]
            for holder in lock_holders(case.prog)
        }
    queue, table = "&pm_queue->lock", "pm_table_sem"
    assert listed["pm_drainer"] == [queue]
    assert listed["pm_resizer"] == [table, queue]
    for waiter in ("pm_query_1", "pm_query_2", "pm_updater"):
        assert listed[waiter] == [table]
