"""What captured machines counted is what we read of their dumps."""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from corpus.accounting_oracle import captured, compare, told


@pytest.mark.capture
@pytest.mark.parametrize("path", captured(), ids=lambda path: "-".join(path.parts[-3:-1]))
def test_captured_machines(path: Path) -> None:
    with postmortem.open(path, debuginfod=False) as case:
        results = list(compare(case, told(path)))
    assert results
    assert [(one.name, one.unequal[:3]) for one in results if one.unequal] == []
