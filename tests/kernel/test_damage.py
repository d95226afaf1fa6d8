"""Random damage to what the graph is made of: it may lose nodes, never time or its temper."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from postmortem.graph.model import cycles, roots
from postmortem.graph.tree import tree
from postmortem.kernel.locking.blocking import blocking
from postmortem.kernel.locking.waits import waits
from postmortem.kernel.tasks.unwind import sleeping_stacks
from tests.kernel.locking.test_waiters import fresh

SEEDS = range(6)
_WORDS = 40


def overlay(prog: Any, address: int, word: int) -> None:
    data = word.to_bytes(8, "little")

    def read(at: int, count: int, offset: int, physical: bool) -> bytes:
        return data[at - address : at - address + count]

    prog.add_memory_segment(address, 8, read)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_stacks_locks_and_lists(seed: int) -> None:
    """Pointers are bent to other places that exist, to nothing, and to themselves."""
    chance = random.Random(seed)
    prog = fresh("6.1-oops-then-sysrq")
    whole = waits(prog)
    waiting = next(wait for wait in whole.waits if wait.task.comm == "pm_reloader")
    stack = whole.stacks.by_task[waiting.task.address]
    assert waiting.address is not None
    places = [waiting.address + 8 * n for n in range(4)]
    places += [stack.sp + offset for offset, value in stack.words(0, 512) if value]
    targets = [*places, 0, 8, 0xFFFF_FFFF_FFFF_FFF8, 0xDEAD_0000_0000_0100, waiting.task.address]
    targets += [wait.task.address for wait in whole.waits[:20]]
    damaged = fresh("6.1-oops-then-sysrq")
    for place in chance.sample(places, min(len(places), chance.randrange(1, _WORDS))):
        overlay(damaged, place, chance.choice([place, *targets]))
    start = time.process_time()
    found = blocking(damaged)
    for root in roots(found.graph):
        tree(found.graph, root)
    cycles(found.graph)
    assert time.process_time() - start < 5
    assert len(found.waits.waits) >= len(whole.waits) - 1


def test_excluded_stack_pages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump without the pages of kernel stacks: every task is accounted for."""
    prog = fresh("6.1-oops-then-sysrq")
    bounds = list(waits(prog).stacks.bases.values())
    lacking = fresh("6.1-oops-then-sysrq")

    def excluded(at: int, count: int, offset: int, physical: bool) -> bytes:
        import drgn

        raise drgn.FaultError("Excluded page", at)

    for low, end in bounds:
        if low:
            lacking.add_memory_segment(low, end - low, excluded)
    found = blocking(lacking)
    assert found.waits.waits == []
    assert any("Excluded page" in problem.why for problem in found.problems)


def test_stacks_that_break_off_are_counted() -> None:
    """Where the unwind tables are zeroes, a stack ends at once: no task came in that way."""
    whole = sleeping_stacks(fresh("6.1-oops-then-sysrq"))
    assert not whole.problems
    prog = fresh("6.1-oops-then-sysrq")
    start = prog.symbol("__start_orc_unwind").address
    size = prog.symbol("__stop_orc_unwind").address - start
    prog.add_memory_segment(start, size, lambda _at, count, _offset, _physical: bytes(count))
    (problem,) = sleeping_stacks(prog).problems
    assert problem.why.startswith(f"{len(whole.by_task)} break off before their end")
