"""Facts are read once."""

from __future__ import annotations

import drgn
import pytest

from postmortem.kernel.memo import fact


def test_a_fact_is_read_once_for_each_program() -> None:
    calls = []

    @fact
    def answer(prog: drgn.Program, start: int = 0) -> int:
        calls.append(prog)
        return start + len(calls)

    one, other = drgn.Program(), drgn.Program()
    assert [answer(one, 40), answer(one), answer(other)] == [41, 41, 2]
    assert len(calls) == 2


def test_what_could_not_be_read_is_tried_again() -> None:
    calls = []

    @fact
    def answer(prog: drgn.Program) -> int:
        calls.append(prog)
        if len(calls) == 1:
            raise LookupError("not yet")
        return 42

    prog = drgn.Program()
    with pytest.raises(LookupError):
        answer(prog)
    assert answer(prog) == 42
