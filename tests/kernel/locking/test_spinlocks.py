"""The bits of a qspinlock, and which locks a function has taken at a place."""

from __future__ import annotations

from collections.abc import Iterable

import drgn
import pytest

from postmortem.kernel.locking import spinlocks
from postmortem.kernel.locking.spinlocks import QSpinlock, _give_back, _Taken


@pytest.mark.parametrize(
    "value, locked, pending, tail",
    [
        (0x00000000, False, False, None),
        (0x00000001, True, False, None),
        (0x00000101, True, True, None),
        # include/asm-generic/qspinlock_types.h: bits 16-17 the level, from 18 on CPU + 1.
        (0x00040001, True, False, (0, 0)),
        (0x000C0001, True, False, (2, 0)),
        (0x00090101, True, True, (1, 1)),
    ],
)
def test_bits(value: int, locked: bool, pending: bool, tail: tuple[int, int] | None) -> None:
    lock = QSpinlock(value)
    assert (lock.locked, lock.pending, lock.tail) == (locked, pending, tail)
    assert lock.waited_for is (pending or tail is not None)


def nodes(monkeypatch: pytest.MonkeyPatch, *links: tuple[int, int, int]) -> None:
    """MCS nodes as ``(address, CPU, next)``, all of the first level."""
    table = {address: (cpu, 0, nxt) for address, cpu, nxt in links}
    monkeypatch.setattr(spinlocks, "_nodes", lambda prog: table)


def queue(value: int) -> Iterable[int]:
    return spinlocks._queue(None, QSpinlock(value))  # type: ignore[arg-type]


def test_queue_is_walked_back_from_its_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, (0x10, 0, 0), (0x20, 1, 0x30), (0x30, 2, 0x40), (0x40, 3, 0))
    assert queue((3 + 1) << 18 | 1) == [1, 2, 3]


def test_circle_in_the_queue_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, (0x20, 1, 0x30), (0x30, 2, 0x20))
    assert sorted(queue((2 + 1) << 18 | 1)) == [1, 2]


def test_tail_of_a_cpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, (0x20, 1, 0))
    assert queue(4000 << 18 | 1) == []


def test_release_takes_back_the_last_acquire_of_that_lock() -> None:
    taken = [_Taken(0xA, 1), _Taken(0xB, 2), _Taken(0xA, 3)]
    _give_back(taken, 0xA)
    assert [item.at for item in taken] == [1, 2]
    _give_back(taken, 0xC)
    assert [item.at for item in taken] == [1, 2]
    _give_back(taken, None)
    assert [item.at for item in taken] == [1]


# movl $0xffffffff81234560,%edi would not be sign-extended: the kernel's lock addresses are
# put into RDI by movq with an immediate of 32 bits.
TAKE_A = bytes.fromhex("48c7c760452381")  # movq $0xffffffff81234560,%rdi
LOCK, UNLOCK = 0xFFFFFFFF82000000, 0xFFFFFFFF82000100
START = 0xFFFFFFFF81000000


def call(at: int, target: int) -> bytes:
    return b"\xe8" + ((target - (at + 5)) & 0xFFFFFFFF).to_bytes(4, "little")


class Code:
    """Stands for a Program that has one function and the two of the lock."""

    def __init__(self, *parts: int | bytes) -> None:
        data = b""
        for part in parts:
            data += part if isinstance(part, bytes) else call(START + len(data), part)
        self.data = data
        self.cache: dict[str, object] = {}
        self.platform = drgn.Platform(drgn.Architecture.X86_64)

    def read(self, address: int, size: int) -> bytes:
        return self.data[address - START : address - START + size]


def taken(code: Code, monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    from postmortem.kernel.tasks.stacks import Symbol, Symbolizer
    from postmortem.model.frame import Frame

    def symbol(self: Symbolizer, address: int) -> Symbol | None:
        known = {LOCK: "_raw_spin_lock", UNLOCK: "_raw_spin_unlock"}
        if address in known:
            return Symbol(known[address], 0, 0x40, None)
        return Symbol("holder", address - START, len(code.data), None)

    monkeypatch.setattr(Symbolizer, "symbol", symbol)
    end = START + len(code.data)
    frame = Frame("holder", len(code.data), address=end)
    return [item.lock for item in spinlocks.taken_locks(code, frame)]  # type: ignore[arg-type]


INNER = 0xFFFFFFFF82000200
"""What the function calls with the lock in its hands: the stack goes on there."""


def test_lock_is_held_where_the_stack_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(Code(TAKE_A, LOCK, INNER), monkeypatch) == [0xFFFFFFFF81234560]


def test_lock_that_was_given_back_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(Code(TAKE_A, LOCK, TAKE_A, UNLOCK, INNER), monkeypatch) == []


def test_lock_through_another_register(monkeypatch: pytest.MonkeyPatch) -> None:
    to_rbp = bytes.fromhex("48c7c560452381")  # movq $0xffffffff81234560,%rbp
    from_rbp = bytes.fromhex("4889ef")  # movq %rbp,%rdi
    assert taken(Code(to_rbp, from_rbp, LOCK, INNER), monkeypatch) == [0xFFFFFFFF81234560]


def test_lock_that_is_no_constant_is_some_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    from_rbx = bytes.fromhex("4889df")  # movq %rbx,%rdi
    assert taken(Code(from_rbx, LOCK, INNER), monkeypatch) == [None]
