"""preempt_count, and what a CPU was at before it was observed or stopped."""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.kernel.cpu.clock import Clock
from postmortem.kernel.cpu.cpus import Cpu
from postmortem.kernel.cpu.lockups import PreemptCount, lockups, what_it_was_at
from postmortem.model.findings import TaskRef
from postmortem.model.frame import Frame
from tests.kernel.locking.test_waiters import fresh


@pytest.mark.parametrize(
    "value, parts, text",
    [
        # include/linux/preempt.h: 8 bits each for preempt and softirq, 4 each for hardirq and NMI.
        (0x80000000, (0, 0, 0, 0), "0"),
        (0x00000002, (2, 0, 0, 0), "preempt 2"),
        (0x80000101, (1, 1, 0, 0), "preempt 1, softirq 1"),
        (0x80110001, (1, 0, 1, 1), "preempt 1, hardirq 1, nmi 1"),
    ],
)
def test_preempt_count(value: int, parts: tuple[int, ...], text: str) -> None:
    count = PreemptCount(value)
    assert (count.preempt, count.softirq, count.hardirq, count.nmi) == parts
    assert str(count) == text


class DrgnFrame:
    """As much of a drgn frame as is looked at."""

    is_inline = False

    def __init__(self, interrupted: bool = False, user: bool = False) -> None:
        self.interrupted = interrupted
        self.user = user

    def registers(self) -> dict[str, int]:
        return {"cs": 0x33 if self.user else 0x10, "rflags": 0x202}


def cpu(*names: str, user: bool = False) -> Cpu:
    """A CPU with these frames; ``!name`` is one that was interrupted there."""
    stack = tuple(
        Frame(name.lstrip("!"), address=0x1000 + n, interrupted=name.startswith("!"))
        for n, name in enumerate(names)
    )
    trace: Any = [DrgnFrame(frame.interrupted) for frame in stack]
    if user:
        trace.append(DrgnFrame(True, True))
    return Cpu(0, TaskRef(7, "hog"), 0x2000, "R", stack, trace)


def test_stopping_interrupt_is_not_what_the_cpu_was_at() -> None:
    stopped = cpu("!stop_this_cpu", "asm_sysvec_reboot", "!busy_loop", "kthread")
    frames, registers, observed = what_it_was_at(stopped)
    assert [frame.function for frame in frames] == ["busy_loop", "kthread"]
    assert observed == "stop_this_cpu"
    assert registers["rflags"] == 0x202


def test_interrupt_that_belongs_to_the_work_stays() -> None:
    frames, _registers, observed = what_it_was_at(cpu("!spin_in_handler", "asm_irq", "!reader"))
    assert frames[0].function == "spin_in_handler"
    assert observed is None


def test_observer_of_a_cpu_in_an_interrupt() -> None:
    watched = cpu("!panic", "watchdog_timer_fn", "asm_sysvec", "!net_rx", "asm_irq", "!reader")
    assert [f.function for f in what_it_was_at(watched)[0]] == ["net_rx", "asm_irq", "reader"]


def test_program_in_user_space_that_was_stopped() -> None:
    frames, registers, observed = what_it_was_at(cpu("!stop_this_cpu", "asm_nmi", user=True))
    assert frames == ()
    assert registers["cs"] & 3
    assert observed == "stop_this_cpu"


def test_panic_of_its_own_is_no_observation() -> None:
    frames, _registers, observed = what_it_was_at(cpu("!panic", "my_driver", "kthread"))
    assert [frame.function for frame in frames] == ["panic", "my_driver", "kthread"]
    assert observed is None


def test_jiffies_that_stood_still_are_made_up_for() -> None:
    clock = Clock(0, hz=250, jiffies=5000, late_ns=2_000_000_000)
    assert clock.jiffies_ago(4000) == 4 + 2
    assert clock.jiffies_ago(6000) == 0.0


def test_a_threshold_that_no_sysctl_takes_is_damage() -> None:
    prog = fresh("7.2-healthy-idle")
    prog.add_memory_segment(
        prog["watchdog_thresh"].address_, 4, lambda _at, count, _offset, _physical: b"\xff" * count
    )
    assert lockups(prog).watchdog_thresh is None
