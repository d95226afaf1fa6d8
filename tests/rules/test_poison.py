"""What a value says about itself. The constants are those of include/linux/poison.h."""

from __future__ import annotations

import pytest

from postmortem.rules.poison import is_canonical, poison


@pytest.mark.parametrize(
    ("value", "word", "freed"),
    [
        (0x6B6B6B6B6B6B6B6B, "POISON_FREE", True),
        (0x6B6B6B6B6B6B6B73, "POISON_FREE", True),
        (0x6B6B6B6B6B6B6B5B, "POISON_FREE", True),
        (0x5A5A5A5A5A5A5A5A, "POISON_INUSE", False),
        (0xDEAD000000000100, "LIST_POISON1", False),
        (0xDEAD000000000108, "LIST_POISON1", False),
        (0xDEAD000000000122, "LIST_POISON2", False),
        (0xDEAD000000000161, "LIST_POISON2", False),
        (0xDEAD000000000200, "LIST_POISON2 of older", False),
        (0xDEAD000000000300, "TIMER_ENTRY_STATIC", False),
        (0xDEAD0000000003FF, "TIMER_ENTRY_STATIC", False),
        (0xDEAD000000000400, "PAGE_POOL", False),
        (0xA5A5A5A5A5A5A5A5, "POISON_END", False),
        (0xBBBBBBBBBBBBBBBB, "SLUB_RED_INACTIVE", False),
        (0xCCCCCCCCCCCCCCCC, "SLUB_RED_ACTIVE", False),
        (0xAAAAAAAAAAAAAAAA, "PAGE_POISON", True),
        (0x7575757575757575, "vmap", True),
    ],
)
def test_poison_is_known(value: int, word: str, freed: bool) -> None:
    found = poison(value)
    assert found is not None
    assert word in found.meaning
    assert found.freed is freed


@pytest.mark.parametrize(
    "value", [0, 8, 0xFFFF888000000000, 0x6B6B6B6B, 0x6B6B6B6B00000000, 0xDEADBEEF, (1 << 64) - 1]
)
def test_other_values_are_no_poison(value: int) -> None:
    assert poison(value) is None


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        (0, True),
        (0xFFFFFFFF81000000, True),
        (0xFF11000000000000, True),
        (0x00FFFFFFFFFFFFFF, True),
        (0x1BADC0DE1BADC0DE, False),
        (0xDEAD000000000100, False),
        (0x6B6B6B6B6B6B6B6B, False),
    ],
)
def test_canonical_addresses_with_five_level_paging(address: int, canonical: bool) -> None:
    assert is_canonical(address) is canonical
