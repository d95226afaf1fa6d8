"""What was read of a dump, as facts that can be held against a ledger: which are unknown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from postmortem.judge.reports import index_of
from postmortem.kernel.cpu.cpus import panic_cpu
from postmortem.kernel.cpu.interrupts import interrupts
from postmortem.kernel.cpu.lockups import lockups
from postmortem.kernel.cpu.rcu import grace_period
from postmortem.kernel.cpu.workers import busy_workers
from postmortem.kernel.cpu.workqueues import waiting_pools
from postmortem.kernel.devices import devices
from postmortem.kernel.locking.waits import waits
from postmortem.kernel.memory import largest_tasks, memory, slab_caches
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.waits import WaitKind
from tests.conftest import Machine

FACTS: dict[str, Callable[[Machine], Any]] = {
    "input": lambda machine: machine.case.input,
    "system": lambda machine: machine.case.system,
    "task": lambda machine: machine.case.tasks.tasks,  # type: ignore[union-attr]
    "cpu": lambda machine: machine.case.cpus,
    "panic_cpu": lambda machine: [panic_cpu(machine.prog)],
    "report": lambda machine: machine.case.reports,
    "panic": lambda machine: index_of(machine.context()).panics,
    "memory": lambda machine: memory(machine.prog),
    "cache": lambda machine: slab_caches(machine.prog),
    "memory_of_task": lambda machine: largest_tasks(machine.prog),
    "interrupt": lambda machine: interrupts(machine.prog, 1),
    "lockups": lambda machine: lockups(machine.prog),
    "grace_period": lambda machine: [grace_period(machine.prog, lockups(machine.prog).clock)],
    "pool": lambda machine: waiting_pools(machine.prog, lockups(machine.prog).clock).pools,
    "worker": lambda machine: busy_workers(machine.prog),
    "wait": lambda machine: waits(machine.prog).waits,
    "device": lambda machine: list(devices(machine.prog, None).values()),
}
"""By the name that a ledger calls them by; several of them in a sequence."""

LOCKS = frozenset(
    {
        WaitKind.MUTEX,
        WaitKind.RWSEM_READ,
        WaitKind.RWSEM_WRITE,
        WaitKind.SEMAPHORE,
        WaitKind.RT_MUTEX,
    }
)
"""What has an owner: somebody made each of these tasks wait."""

OPAQUE = (Frame, Report)
"""Not looked into: what a frame or a report lacks, nobody printed."""


def unknown(fact: Any, name: str) -> Iterator[str]:
    """``name.member`` of every member, however deep, that is ``None``."""
    if fact is None:
        yield name
    elif isinstance(fact, OPAQUE):
        return
    elif dataclasses.is_dataclass(fact):
        for field in dataclasses.fields(fact):
            yield from unknown(getattr(fact, field.name), f"{name}.{field.name}")
    elif isinstance(fact, (list, tuple)):
        for item in fact:
            yield from unknown(item, name)
