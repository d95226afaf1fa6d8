"""Constants in machine code; the words are by the Arm and Intel manuals."""

from __future__ import annotations

import pytest

from postmortem.arch.constants import loads

POISON = 0xDEAD_0000_0000_0122


@pytest.mark.parametrize(
    ("arch", "code", "found"),
    [
        ("x86_64", "48be2201000000 00adde", True),  # movabs $0xdead000000000122, %rsi
        ("x86_64", "48be2301000000 00adde", False),
        ("aarch64", "a3d5fbf2", True),  # movk x3, #0xdead, lsl #48
        ("aarch64", "a3d5fbd2", True),  # movz x3, #0xdead, lsl #48
        ("aarch64", "a3d5dbf2", False),  # movk x3, #0xdead, lsl #32
        ("aarch64", "a3d5fb", False),  # cut
    ],
)
def test_what_code_loads(arch: str, code: str, found: bool) -> None:
    assert loads(arch, bytes.fromhex(code), POISON) is found
