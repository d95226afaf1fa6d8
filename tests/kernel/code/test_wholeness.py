"""Code that holds together, and code with one bit changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drgn
import pytest

import postmortem
from postmortem.kernel.code.wholeness import torn_code
from tests.conftest import machine_named

# push %rbx; cmp $3,%edi; je 1f; mov $0x11223344,%eax; pop %rbx; ret; 1: xor %eax,%eax; pop; ret
CODE = bytes.fromhex("53 83ff03 7407 b844332211 5b c3 31c0 5b c3".replace(" ", ""))
PLACE = 0xFFFFFFFFFE000000
"""Nothing of the kernel's is there."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Any]:
    with postmortem.open(machine_named("6.12-null-chain").path) as case:
        yield case.prog


def function(prog: Any, code: bytes) -> int:
    """A function of its own, at an address that no other test had."""
    number = prog.cache["functions of tests"] = prog.cache.get("functions of tests", 0) + 1
    start = PLACE + number * 0x1000
    found = drgn.Symbol(
        f"made_{number}", start, len(code), drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.FUNC
    )

    def find(
        prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> list[drgn.Symbol]:
        return [found] if address is not None and start <= address < start + len(code) else []

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        return code[offset : offset + count]

    prog.add_memory_segment(start, len(code), read)
    prog.register_symbol_finder(f"made {number}", find, enable_index=0)
    return start


def flipped(at: int, bit: int) -> bytes:
    return CODE[:at] + bytes([CODE[at] ^ 1 << bit]) + CODE[at + 1 :]


def test_whole_code_says_nothing(machine: Any) -> None:
    assert torn_code(machine, function(machine, CODE) + 6) is None


def test_an_instruction_of_another_length(machine: Any) -> None:
    """With 0xc3 -> 0xc2 the ``ret`` has three bytes, and ``je`` goes into its middle."""
    start = function(machine, flipped(12, 0))
    torn = torn_code(machine, start + 12)
    assert torn is not None
    assert 12 in torn.offsets
    assert "+0xd" in torn.reason


def test_a_jump_into_the_middle(machine: Any) -> None:
    """``je`` to +0x9, which is within the ``mov``."""
    torn = torn_code(machine, function(machine, flipped(5, 2)) + 6)
    assert torn is not None
    assert torn.offsets == (5,) or 5 in torn.offsets
    assert torn.reason.startswith("the jump at +0x4 goes into the middle")


def test_what_no_bit_mends_is_not_told(machine: Any) -> None:
    broken = CODE[:6] + b"\x06\x06\x06\x06\x06" + CODE[11:]  # no instruction of 64-bit mode
    assert torn_code(machine, function(machine, broken) + 6) is None


def test_a_probe_is_no_damage(machine: Any) -> None:
    probed = CODE[:6] + b"\xcc" + CODE[7:]  # int3 in place of the mov's first byte
    torn = torn_code(machine, function(machine, probed) + 6)
    assert torn is None or 6 not in torn.offsets


@pytest.mark.parametrize("name", ["vfs_read", "do_exit", "kfree", "schedule", "kmem_cache_alloc"])
def test_code_of_a_healthy_kernel(machine: Any, name: str) -> None:
    for symbol in machine.symbols(name):
        assert torn_code(machine, symbol.address + 4) is None
