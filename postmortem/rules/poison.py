"""Values that the kernel writes to make misuse visible, and addresses that can't be any.

Needs no dump: a log's register tells as much.
"""

from __future__ import annotations

from dataclasses import dataclass

POISONS = (
    # include/linux/poison.h; the 64-bit offset is CONFIG_ILLEGAL_POINTER_VALUE.
    (0xDEAD000000000100, 0x22, "LIST_POISON1: the entry was already removed from its list"),
    (0xDEAD000000000122, 0x40, "LIST_POISON2: the entry was already removed from its list"),
    (0xDEAD000000000200, 0x40, "LIST_POISON2 of older kernels: already removed from its list"),
    (0xDEAD000000000300, 0x100, "TIMER_ENTRY_STATIC: no pending timer"),
    (0xDEAD000000000400, 0x100, "PAGE_POOL signature"),
)
_POISON_BYTES = {
    0x6B: "POISON_FREE: slab memory that was freed",
    0x5A: "POISON_INUSE: slab memory that was never initialised",
    0xA5: "POISON_END: end of a poisoned slab object",
    0xBB: "SLUB_RED_INACTIVE: red zone of a free slab object",
    0xCC: "SLUB_RED_ACTIVE or POISON_FREE_INITMEM: red zone, or freed init memory",
    0xAA: "PAGE_POISON: a page that was freed",
    0x75: "poison of freed vmap memory",
}
_POISON_REACH = 0x10000
"""A pointer into poisoned memory is dereferenced with an offset of at most this."""


@dataclass(frozen=True)
class Poison:
    """A value that the kernel writes to make misuse visible."""

    value: int
    meaning: str
    freed: bool
    """It marks freed memory."""


def poison(value: int) -> Poison | None:
    """The poison that ``value`` is, or lies a member's offset beyond."""
    for start, reach, meaning in POISONS:
        if start <= value < start + reach:
            return Poison(start, meaning, freed=False)
    top = value >> 56
    # The lowest bytes may have an offset added: the upper five bytes must agree.
    if top in _POISON_BYTES and value >> 24 == int.from_bytes(bytes([top]) * 5, "big"):
        pattern = int.from_bytes(bytes([top]) * 8, "big")
        if -0x100 <= value - pattern < _POISON_REACH:
            return Poison(pattern, _POISON_BYTES[top], freed=top in (0x6B, 0xAA, 0x75))
    return None


def is_canonical(address: int, virtual_bits: int = 57) -> bool:
    """Whether the CPU accepts the address at all: its upper bits are all equal."""
    upper = address >> (virtual_bits - 1)
    return upper in (0, (1 << (65 - virtual_bits)) - 1)
