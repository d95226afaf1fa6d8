"""Twice the log costs at most about twice the work, however bad it is.

Steps are counted, not seconds: each call of a function is one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from benchmarks.log_cliffs import SHAPES
from postmortem.log.scan import scan_bytes

LINES = 400
RATIO = 2.4
Shape = Callable[[int], Iterator[str]]


def steps(data: bytes) -> int:
    """Calls of functions, in Python and in C, that reading takes."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        scan_bytes(data)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_twice_the_lines_take_twice_the_steps(shape: Shape) -> None:
    once, twice = ("\n".join(shape(LINES * n)).encode() for n in (1, 2))
    scan_bytes(twice)  # so that names are known in both, and tables compiled
    assert steps(twice) < RATIO * steps(once)
