"""Frames that a tail call hides, put back from what the dispatcher noted."""

from __future__ import annotations

from typing import Any

import drgn
import pytest

from postmortem.kernel.tasks.hidden import with_hidden
from postmortem.kernel.tasks.kthreads import kthread_of
from postmortem.kernel.tasks.stack_groups import TaskFrames, all_stacks
from postmortem.model.frame import Frame
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.test_damage import overlay

DUMP = "6.12-null-chain"


def sleeping_worker(prog: Any) -> TaskFrames:
    return next(
        item
        for item in all_stacks(prog).tasks
        if any(frame.function == "worker_thread" for frame in item.frames)
    )


def names(frames: tuple[Frame, ...]) -> list[str | None]:
    return [frame.function for frame in frames]


def test_whole_stacks_stay_as_they_are() -> None:
    prog = machine_named(DUMP).prog
    for item in all_stacks(prog).tasks:
        assert with_hidden(prog, item.task, item.frames) == item.frames


def test_function_of_a_kernel_thread() -> None:
    prog = machine_named(DUMP).prog
    worker = sleeping_worker(prog)
    hidden = tuple(frame for frame in worker.frames if frame.function != "worker_thread")
    found = with_hidden(prog, worker.task, hidden)
    assert names(found) == names(worker.frames)
    frame = found[names(found).index("worker_thread")]
    assert frame.offset == frame.size
    assert frame.pc == prog.symbol("worker_thread").address + (frame.size or 0)


@pytest.mark.parametrize("function", ["vmstat_update", None])
def test_function_of_a_work_item(function: str | None) -> None:
    prog = fresh(DUMP)
    worker = sleeping_worker(prog)
    kthread = kthread_of(prog, worker.task)
    assert kthread is not None
    address = drgn.Object(prog, "struct kthread *", kthread).data.value_()
    member = address + drgn.offsetof(prog.type("struct worker"), "current_func")
    overlay(prog, member, prog.symbol(function).address if function else 0)
    frames = (Frame("helper", 4, address=1), Frame("process_one_work", 8, address=2))
    found = with_hidden(prog, worker.task, frames)
    assert names(found) == ["helper", *([function] if function else []), "process_one_work"]


def test_innermost_dispatcher_hides_nothing() -> None:
    prog = machine_named(DUMP).prog
    worker = sleeping_worker(prog)
    frames = tuple(frame for frame in worker.frames if frame.function == "kthread")
    assert with_hidden(prog, worker.task, frames) == frames
