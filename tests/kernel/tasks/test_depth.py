"""Depth of stacks: committed machines, and one whose stack's end was written over."""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.kernel.tasks.depth import depths
from postmortem.kernel.tasks.unwind import sleeping_stacks
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh
from tests.kernel.tasks.test_ret_stack import MACHINES, word


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_in_use_was_written(name: str) -> None:
    found = list(depths(machine_named(name).prog))
    assert len(found) > 20
    assert all(one.whole is not False for one in found)
    for one in found:
        if one.now is not None and one.deepest is not None:
            # A frame may have room that nothing was written to.
            assert one.deepest > one.now - 256
            assert one.left == one.size - one.deepest >= 0


def test_a_stack_that_overflowed() -> None:
    prog: Any = fresh("6.12-null-chain")
    stacks = sleeping_stacks(machine_named("6.12-null-chain").prog)
    address, (base, _end) = next(iter(stacks.bases.items()))
    word(prog, base, 0xDEAD)
    word(prog, base + 8, 1)
    (one,) = (one for one in depths(prog) if one.task.address == address)
    assert (one.whole, one.left) == (False, 8)
