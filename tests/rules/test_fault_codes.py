"""Syndrome registers in words."""

from __future__ import annotations

import pytest

from postmortem.rules.fault_codes import decoded


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("  ESR = 0x0000000096000044", "write, level 0 translation fault"),
        ("  ESR = 0x96000007", "read, level 3 translation fault"),
        ("  ESR = 0x000000008600000f", "instruction fetch, level 3 permission fault"),
        ("  ESR = 0x96000210", "external abort"),
        ("Cause : 0080000c (ExcCode 03)", "store to an unmapped page"),
        ("REGS: c000000012345678 TRAP: 0300   Not tainted  (6.4.0)", "data access fault"),
    ],
)
def test_decoded(line: str, means: str) -> None:
    found = decoded(["Oops", line])
    assert found is not None
    assert found[0] == 1
    assert means in found[1]


def test_what_is_no_memory_fault_is_not_decoded() -> None:
    assert decoded(["  ESR = 0x00000000f2000800", "Cause : 00000000 (ExcCode 1f)"]) is None
