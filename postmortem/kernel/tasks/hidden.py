"""Functions that must be on a stack and are not: the compiler made their last call a jump.

``f()`` that ends in ``return g();`` jumps to ``g``, and no return address of ``f`` is
pushed: the stack goes from ``g`` to whoever called ``f``. A dispatcher notes whom it
called, so where the function above a dispatcher is another one, the noted one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.irqs import irq_descs
from postmortem.kernel.tasks.kthreads import kthread_of
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.tasks import Task
from postmortem.model.frame import Frame
from postmortem.rules.blame import plain

_MAX_BASES = 16
_MAX_IRQS = 1 << 12
_IN_PROGRESS = 1 << 18
"""IRQD_IRQ_INPROGRESS of ``irq_common_data.state_use_accessors`` (include/linux/irq.h)."""


def with_hidden(prog: drgn.Program, task: Task, frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """A task's frames, with those that a tail call hides.

    Such a frame stands behind the last instruction of its function, which has run.

    :param frames: Innermost first.
    """
    result = list(frames)
    for index in range(len(frames) - 1, 0, -1):
        way = _DISPATCHERS.get(plain(frames[index].function or ""))
        function = readable(lambda: way(prog, task)) if way is not None else None  # noqa: B023
        found = Symbolizer.of(prog).symbol(function) if function else None
        if found is None or found.offset:
            continue
        name = plain(found.function)
        if any(plain(frame.function or "") == name for frame in frames[:index]):
            continue
        assert function is not None
        result.insert(
            index,
            Frame(
                found.function,
                offset=found.size,
                size=found.size,
                module=found.module,
                address=function + found.size,
                segment=frames[index].segment,
            ),
        )
    return tuple(result)


def _thread(prog: drgn.Program, task: Task) -> int | None:
    """``kthread.threadfn`` (since v5.8, 52782c92ac85)."""
    address = kthread_of(prog, task)
    if address is None:
        return None
    return integer(drgn.Object(prog, "struct kthread *", address).threadfn)


def _work(prog: drgn.Program, task: Task) -> int | None:
    """``worker.current_func``; a worker is the data of its kernel thread."""
    address = kthread_of(prog, task)
    if address is None:
        return None
    data = drgn.Object(prog, "struct kthread *", address).data
    worker = drgn.cast("struct worker *", data)
    if worker.task.value_() != task.address:
        return None
    return integer(worker.current_func)


def _timer(prog: drgn.Program, task: Task) -> int | None:
    """The only timer that runs on the task's CPU."""
    bases = variable(prog, "timer_bases", task.cpu, "struct timer_base [3]")
    length = min(bases.type_.length or 0, _MAX_BASES)
    running = [bases[n].running_timer for n in range(length) if bases[n].running_timer]
    return integer(running[0].function) if len(running) == 1 else None


def _hrtimer(prog: drgn.Program, task: Task) -> int | None:
    base = variable(prog, "hrtimer_bases", task.cpu, "struct hrtimer_cpu_base")
    clocks = base.clock_base
    length = min(clocks.type_.length or 0, _MAX_BASES)
    running = [clocks[n].running for n in range(length) if clocks[n].running]
    return integer(running[0].function) if len(running) == 1 else None


def _irq(prog: drgn.Program, task: Task) -> int | None:
    """The handler of the only interrupt that is being handled, if it has but one."""
    actions = [desc.action for desc in _in_progress(prog)]
    if len(actions) != 1 or not actions[0] or actions[0].next:
        return None
    return integer(actions[0].handler)


def _in_progress(prog: drgn.Program) -> Iterator[drgn.Object]:
    for count, (_number, desc) in enumerate(irq_descs(prog)):
        if count >= _MAX_IRQS:
            return
        if integer(desc.irq_common_data.state_use_accessors) & _IN_PROGRESS:
            yield desc


_DISPATCHERS: dict[str, Callable[[drgn.Program, Task], int | None]] = {
    "kthread": _thread,
    "process_one_work": _work,
    "call_timer_fn": _timer,
    "__hrtimer_run_queues": _hrtimer,
    "__handle_irq_event_percpu": _irq,
}
