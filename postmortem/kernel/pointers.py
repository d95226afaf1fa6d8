"""How the kernel shows a pointer: ``%p`` and ``%pK``. Source: lib/vsprintf.c."""

from __future__ import annotations

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.memo import fact

_MASK = (1 << 64) - 1
_MAX_ERRNO = 4095


class Pointers:
    """Pointers are hashed with a key that is made at boot and lies in the dump."""

    def __init__(self, key: tuple[int, int] | None, plain: bool, restrict: int) -> None:
        """
        :param key: ``ptr_key``; ``None``: it can't be read.
        :param plain: ``no_hash_pointers``
        :param restrict: ``kptr_restrict``
        """
        self._key, self._plain, self._restrict = key, plain, restrict

    def hashed(self, address: int) -> str:
        """``%p``"""
        if self._plain or not address or address > _MASK - _MAX_ERRNO:
            return f"{address:016x}"
        if self._key is None:
            return "?"
        if not any(self._key):
            return "(____ptrval____)"  # asked before there were random numbers
        return f"{siphash(address, self._key) & 0xFFFFFFFF:016x}"

    def restricted(self, address: int) -> str:
        """``%pK``, as root is shown it."""
        if self._restrict == 1:
            return f"{address:016x}"
        return f"{0:016x}" if self._restrict else self.hashed(address)


@fact
def pointers(prog: drgn.Program) -> Pointers:
    """Those of this machine."""
    key = readable(lambda: tuple(int(word) for word in prog["ptr_key"].key.value_()))
    return Pointers(
        (key[0], key[1]) if key is not None and len(key) == 2 else None,
        bool(readable(lambda: integer(prog["no_hash_pointers"]))),
        readable(lambda: integer(prog["kptr_restrict"])) or 0,
    )


def siphash(word: int, key: tuple[int, int]) -> int:
    """SipHash-2-4 of eight bytes (J.-P. Aumasson, D. J. Bernstein, 2012)."""
    v0 = 0x736F6D6570736575 ^ key[0]
    v1 = 0x646F72616E646F6D ^ key[1]
    v2 = 0x6C7967656E657261 ^ key[0]
    v3 = 0x7465646279746573 ^ key[1]
    for block in (word, 8 << 56):
        v3 ^= block
        for _ in range(2):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= block
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = _left(v1, 13) ^ v0
    v0 = _left(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _left(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _left(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _left(v1, 17) ^ v2
    v2 = _left(v2, 32)
    return v0, v1, v2, v3


def _left(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK
