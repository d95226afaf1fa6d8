"""``show_all_workqueues()``: what sysrq t prints at its end. Source: kernel/workqueue.c."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.cpu.busy_workqueues import (
    PoolState,
    QueuePool,
    Work,
    busy_workqueues,
)
from postmortem.kernel.rodata import rodata
from postmortem.kernel.tasks.trace import Names
from postmortem.kernel.timekeeping import tick_hz
from postmortem.printers.lines import INFO, Line, note

_NO_NODE = -1


def show_workqueues(prog: drgn.Program) -> Iterator[Line]:
    """Busy workqueues, then the pools that have a worker which is not idle.

    :raises LookupError: the types are missing.
    """
    yield Line("Showing busy workqueues and worker pools:", INFO)
    printer = _Printer(prog)
    found = busy_workqueues(prog)
    for queue in found.queues:
        yield Line(f"workqueue {queue.name}: flags=0x{queue.flags:x}", INFO)
        for pool in queue.pools:
            for text in printer.queue_pool(pool):
                yield Line(text, INFO)
    for state in found.pools:
        yield Line(printer.pool(state), INFO)
    if found.unreadable:
        yield note(f"{len(found.unreadable)} workqueues unreadable: {found.unreadable[0]}")


class _Printer:
    def __init__(self, prog: drgn.Program) -> None:
        self._names = Names(prog)
        self._strings = rodata(prog)
        self._jiffies = readable(lambda: integer(prog["jiffies"]))
        self._hz = tick_hz(prog)
        # Equal neighbours are counted since v6.3 (c76feb0d5dfd).
        self._merges = self._strings.has("%s %ld*%ps")
        self._most = self._strings.starting(" active=%d/%d refcnt=%d%s\n") is not None
        self._since = self._strings.starting(" for %us") is not None
        # Shown as 0 where nothing waits, but on older kernels.
        self._always_hung = self._strings.containing(" hung=%us workers=%d") != []

    def queue_pool(self, found: QueuePool) -> Iterator[str]:
        """``show_pwq()``"""
        active = f"{found.active}/{found.most_active}" if self._most else str(found.active)
        mayday = " MAYDAY" if found.mayday else ""
        yield (
            f"  pwq {found.pool.id}:{self._info(found.pool)}"
            f" active={active} refcnt={found.references}{mayday}"
        )
        if found.executing:
            yield f"    in-flight:{''.join(self._executing(found))}"
        if found.pending:
            yield f"    pending:{self._works(found.pending)}"
        if found.inactive:
            label = "delayed" if self._strings.has("    delayed:") else "inactive"
            yield f"    {label}:{self._works(found.inactive)}"

    def _executing(self, found: QueuePool) -> Iterator[str]:
        for number, worker in enumerate(found.executing):
            # "124:f, 125:g" once, "124:f ,125:g" since workers have no pids of their own.
            between = "" if not number else " ," if self._merges_ids else ","
            blank = "" if number and self._merges_ids else " "
            text = f"{between}{blank}{worker.who}:{self._name(worker.function)}"
            if self._since and worker.started is not None:
                text += f" for {self._seconds(worker.started)}s"
            yield text + self._works(worker.scheduled, commas=False)

    @property
    def _merges_ids(self) -> bool:
        return self._strings.starting("%s %d%s:%ps") is None

    def _works(self, works: Iterable[Work], commas: bool = True) -> str:
        """``pr_cont_work()`` for each: equal neighbours once, with how many they are."""
        parts: list[tuple[bool, str, int]] = []
        comma = False
        for work in works:
            if work.barrier is not None:
                name = f"BAR({work.barrier})"
                parts.append((comma, name, 1))
            else:
                name = self._name(work.function)
                if self._merges and comma and parts and parts[-1][1] == name:
                    parts[-1] = (parts[-1][0], name, parts[-1][2] + 1)
                else:
                    parts.append((comma, name, 1))
            comma = commas and not work.linked
        return "".join(
            f"{',' if comma else ''} {f'{count}*' if count > 1 else ''}{name}"
            for comma, name, count in parts
        )

    def pool(self, state: PoolState) -> str:
        """``show_one_worker_pool()``"""
        hung = 0
        if state.has_work or self._always_hung:
            hung = self._seconds(state.watchdog)
        text = f"pool {state.id}:{self._info(state)} hung={hung}s workers={state.workers}"
        if state.manager is not None:
            text += f" manager: {state.manager}"
        if state.idle:
            text += f" idle: {' '.join(state.idle)}"
        return text

    def _info(self, state: PoolState) -> str:
        """``pr_cont_pool_info()``"""
        node = f" node={state.node}" if state.node != _NO_NODE else ""
        bottom = "bh-hi" if state.nice < 0 else "bh"
        kind = f" {bottom}" if state.bottom_half else f" nice={state.nice}"
        return f" cpus={bit_list(state.cpus)}{node} flags=0x{state.flags:x}{kind}"

    def _name(self, function: int) -> str:
        return self._names.symbol(function, offset=False)

    def _seconds(self, then: int) -> int:
        if self._jiffies is None:
            return 0
        return max(0, (self._jiffies - then) & ((1 << 64) - 1)) * 1000 // self._hz // 1000


def bit_list(bits: Iterable[int]) -> str:
    """``%*pbl``: ``0-3,8``; nothing for no bits."""
    parts: list[list[int]] = []
    for bit in bits:
        if parts and parts[-1][1] == bit - 1:
            parts[-1][1] = bit
        else:
            parts.append([bit, bit])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
