"""Owner words as kernel/locking/mutex.c and rwsem.c define them."""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.kernel.locking.locks import owner
from postmortem.rules.waits import WaitKind
from tests.kernel.fabricated import Machine
from tests.kernel.locking.test_waiters import fresh

TASK = 0xFFFF_8880_0123_4500


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(fresh("6.12-null-chain"))


def lock_with(machine: Machine, kind: str, **members: int) -> int:
    address, _ = machine.lock(kind, "struct mutex_waiter", [])
    for member, value in members.items():
        machine.memory.write(address + machine.offset(kind, member), value & (1 << 64) - 1)
    return address


@pytest.mark.parametrize("flags", range(8))
def test_mutex_owner_without_its_flags(machine: Machine, flags: int) -> None:
    lock = lock_with(machine, "struct mutex", owner=TASK | flags)
    found = owner(machine.prog, WaitKind.MUTEX, lock)
    assert found is not None
    assert (found.task, found.certain) == (TASK, True)


def test_free_mutex(machine: Machine) -> None:
    found = owner(machine.prog, WaitKind.MUTEX, lock_with(machine, "struct mutex"))
    assert found is not None
    assert (found.task, found.state) == (0, "free")


@pytest.mark.parametrize(
    ("count", "word", "task", "certain", "state"),
    [
        (0x1, TASK, TASK, True, "held for writing"),
        (0x3, TASK, TASK, True, "held for writing"),  # and somebody waits
        (0x100, TASK | 3, TASK, False, "held by one reader"),
        (0x302, TASK | 3, TASK, False, "held by 3 readers"),
        (0x102, 0, 0, False, "held by one reader"),  # nobody is written down
        (0, TASK | 3, 0, True, "free"),  # the owner word outlives the reader
    ],
)
def test_rwsem(
    machine: Machine, count: int, word: int, task: int, certain: bool, state: str
) -> None:
    lock = lock_with(machine, "struct rw_semaphore", count=count, owner=word)
    found = owner(machine.prog, WaitKind.RWSEM_READ, lock)
    assert found is not None
    assert (found.task, found.certain, found.state) == (task, certain, state)


def test_unreadable_lock_is_a_fault(machine: Machine) -> None:
    import drgn

    with pytest.raises(drgn.FaultError):
        owner(machine.prog, WaitKind.MUTEX, 0xFFFF_F100_0000_0000)


def test_lists_of_any_prog_have_layouts(machine: Machine) -> None:
    from postmortem.kernel.locking.waiters import layouts

    found: dict[str, Any] = layouts(machine.prog)
    assert {"struct mutex", "struct rw_semaphore", "struct semaphore"} <= set(found)
