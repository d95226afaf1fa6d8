"""What ``waits`` lists: on the committed machines, and of a crowd made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from postmortem_plugins.locks import _each, _grouped, waits

from postmortem.model.findings import Table
from postmortem.rules.waits import WaitKind
from tests.conftest import Machine


def wait(pid: int, state: str, seconds: float, kind: WaitKind, name: str, address: int) -> Any:
    return SimpleNamespace(
        task=SimpleNamespace(pid=pid, comm=f"zorb{pid}", state=state),
        since=SimpleNamespace(longest=seconds),
        kind=kind,
        name=name,
        address=address,
        frame=SimpleNamespace(function="zorb_take"),
        detail="",
        proof=f"its waiter at {pid:#x}",
    )


CROWD = [
    wait(1, "S", 900.0, WaitKind.EVENT, "", 0x100),
    wait(2, "S", 800.0, WaitKind.EVENT, "", 0x200),
    wait(3, "D", 5.0, WaitKind.MUTEX, "zorb_mutex", 0x300),
    wait(4, "D", 9.0, WaitKind.MUTEX, "zorb_mutex", 0x300),
    wait(5, "D", 1.0, WaitKind.MUTEX, "", 0x400),
]


def cells(table: Table, *names: str) -> list[tuple[Any, ...]]:
    places = [[column.name for column in table.columns].index(name) for name in names]
    return [tuple(row[place] for place in places) for row in table.rows]


def test_waiters_of_one_lock_are_one_row_and_uninterruptible_ones_come_first() -> None:
    assert cells(_grouped(CROWD), "tasks", "state", "longest", "who", "address", "proof") == [
        (2, "D", 9.0, "zorb4 (4), zorb3 (3)", 0x300, None),
        (1, "D", 1.0, "zorb5 (5)", 0x400, "its waiter at 0x5"),
        (2, "S", 900.0, "zorb1 (1), zorb2 (2)", None, None),
    ]


def test_many_waiters_are_counted() -> None:
    many = [wait(n, "D", 1.0, WaitKind.MUTEX, "m", 0x300) for n in range(30)]
    assert cells(_grouped(many), "who") == [("zorb0 (0), zorb1 (1), zorb2 (2) and 27 more",)]


def test_each_lists_every_task() -> None:
    assert cells(_each(CROWD), "pid") == [(4,), (3,), (5,), (1,), (2,)]


def test_a_machine_s_waits_are_counted_alike_both_ways(machine: Machine) -> None:
    (grouped,) = waits(machine.context(named=True))
    (every,) = waits(machine.context(named=True), each=True)
    assert sum(row[0] for row in grouped.rows) == len(every.rows)
    assert len(grouped.rows) < len(every.rows)
    for table in (grouped, every):
        states = [state for (state,) in cells(table, "state")]
        assert states == sorted(states, key=lambda state: state != "D")
