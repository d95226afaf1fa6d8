"""The text of captured traces is the kernel's own, and what trace-cmd reports is all of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import postmortem
from corpus.trace_oracle import captured, compare, compare_dat, has_calls, told


@pytest.mark.capture
@pytest.mark.parametrize("path", captured(), ids=lambda path: "-".join(path.parts[-3:-1]))
def test_captured_machines(path: Path) -> None:
    """What the guest read of its stopped buffers, and what we print of its dump."""
    with postmortem.open(path, debuginfod=False) as case:
        results = list(compare(case, told(path)))
        assert results
        if shutil.which("trace-cmd") and not has_calls(case):
            results += [compare_dat(case, version) for version in (6, 7)]
    assert [(one.name, one.unequal[:3]) for one in results if one.unequal] == []
