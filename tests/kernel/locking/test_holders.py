"""Which lock a function has taken, from its code: a function that every kernel has.

cpu_hotplug_disable() (kernel/cpu.c) takes cpu_add_remove_lock, counts, and gives it back.
"""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.arch import arch_of
from postmortem.kernel.code.disassembly import decode
from postmortem.kernel.locking.holders import Holders
from postmortem.model.frame import Frame
from postmortem.rules.waits import WaitKind
from tests.conftest import Machine

FUNCTION = "cpu_hotplug_disable"


def place(prog: Any, after_call: int) -> Frame:
    """A frame of the function, ``after_call`` instructions behind its first locking call."""
    symbol = prog.symbol(FUNCTION)
    code = list(decode(prog.read(symbol.address, 64), symbol.address, arch_of(prog)))
    lock = prog.symbol("mutex_lock").address
    call = next(n for n, item in enumerate(code) if item.is_call and item.target == lock)
    pc = code[call + after_call].address + code[call + after_call].size
    return Frame(FUNCTION, pc - symbol.address, address=pc)


@pytest.fixture
def lock(machine: Machine) -> int:
    return int(machine.prog.symbol("cpu_add_remove_lock").address)


def test_function_has_the_lock_once_the_call_came_back(machine: Machine, lock: int) -> None:
    holders = Holders(machine.prog)
    frame = place(machine.prog, 1)
    assert holders.acquirer([frame], WaitKind.MUTEX, lock) == (0, True)


def test_function_that_is_still_in_the_call_has_it_not(machine: Machine, lock: int) -> None:
    holders = Holders(machine.prog)
    frame = place(machine.prog, 0)
    assert holders.acquirer([frame], WaitKind.MUTEX, lock) is None


def test_another_lock_of_the_same_kind_is_not_taken_for_it(machine: Machine, lock: int) -> None:
    holders = Holders(machine.prog)
    frame = place(machine.prog, 1)
    assert holders.acquirer([frame], WaitKind.MUTEX, lock + 64) is None


def test_a_mutex_is_no_semaphore(machine: Machine, lock: int) -> None:
    holders = Holders(machine.prog)
    assert holders.acquirer([place(machine.prog, 1)], WaitKind.SEMAPHORE, lock) is None


def test_code_that_is_not_in_the_dump(machine: Machine, lock: int) -> None:
    holders = Holders(machine.prog)
    frame = Frame("gone", 0x40, address=0xFFFF_F123_0000_0040)
    assert holders.acquirer([frame], WaitKind.MUTEX, lock) is None
