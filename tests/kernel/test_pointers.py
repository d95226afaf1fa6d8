"""Pointers as the kernel shows them."""

from __future__ import annotations

from postmortem.kernel.pointers import Pointers, siphash

KEY = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
WORD = 0x0706050403020100


def test_siphash_as_its_authors_have_it() -> None:
    """The vector for eight bytes, in the reference implementation's vectors.h."""
    assert siphash(WORD, KEY) == 0x93F5F5799A932462


def test_hashed_and_plain() -> None:
    pointers = Pointers(KEY, False, 0)
    assert pointers.hashed(WORD) == pointers.restricted(WORD) == "000000009a932462"
    assert pointers.hashed(0) == "0" * 16
    assert pointers.hashed((1 << 64) - 12) == "fffffffffffffff4"  # ERR_PTR(-12)
    assert Pointers(KEY, True, 0).hashed(WORD) == "0706050403020100"


def test_restricted() -> None:
    assert Pointers(KEY, False, 1).restricted(WORD) == "0706050403020100"
    assert Pointers(KEY, False, 2).restricted(WORD) == "0" * 16


def test_before_there_is_a_key() -> None:
    assert Pointers((0, 0), False, 0).hashed(WORD) == "(____ptrval____)"
    assert Pointers(None, False, 0).hashed(WORD) == "?"
