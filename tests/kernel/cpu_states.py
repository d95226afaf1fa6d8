"""CPUs made by hand, for tests that judge them."""

from __future__ import annotations

from typing import Any

from postmortem.kernel.cpu.clock import NSEC, Clock
from postmortem.kernel.cpu.cpus import Cpu
from postmortem.kernel.cpu.lockups import CpuState, Lockups, Waiting
from postmortem.kernel.tasks.tasks import Task
from postmortem.model.findings import TaskRef
from postmortem.model.frame import Frame


def frames(*names: str, segment: str = "task") -> tuple[Frame, ...]:
    return tuple(
        Frame(name, 4, address=0xFFFFFFFF81000000 + 16 * n, segment=segment)
        for n, name in enumerate(names)
    )


def task(pid: int, cpu: int, comm: str = "worker") -> Task:
    return Task(0x1000 + pid, pid, pid, comm, "R", cpu, False, True, 0, 0)


def waiting(seconds: float, policy: str = "SCHED_NORMAL", cpu: int = 0) -> Waiting:
    return Waiting(task(50, cpu), int(seconds * NSEC), policy)


def state(number: int = 0, pid: int = 7, **changes: Any) -> CpuState:
    """A CPU that runs a loop in the kernel, takes its interrupts and keeps nobody waiting."""
    stack = changes.pop("frames", frames("busy_loop", "kthread"))
    members: dict[str, Any] = {
        "cpu": Cpu(number, TaskRef(pid, "hog" if pid else "swapper"), 0x1000 + pid, "R", stack,
                   None),
        "frames": stack,
        "registers": {},
        "observed": None,
        "in_user": False,
        "interrupts_on": True,
        "preempt_count": None,
        "running_ns": 0,
        "silent_ns": 0,
        "policy": "SCHED_NORMAL",
        "runnable": 1,
    }  # fmt: skip
    return CpuState(**{**members, **changes})


def facts(*states: CpuState, watchdog_on: bool = False) -> Lockups:
    return Lockups(states, Clock(100 * NSEC, 250, 0), 10, watchdog_on)
