"""Which constants machine code holds: by the encodings of the instructions that load them."""

from __future__ import annotations

import struct

_MOVZ_48, _MOVK_48, _ANY_X = 0xD2E00000, 0xF2E00000, 0x1F
"""arm64: movz and movk Xd with a shift of 48 bits; the immediate stands at bit 5, Xd at bit 0."""


def loads(arch: str, code: bytes, value: int) -> bool:
    """Whether an instruction loads the 64-bit value as a constant.

    x86-64 has it whole (movabs). arm64 builds it in pieces, of which the upper 16 bits are
    looked for: few constants but poison have any there.
    """
    if arch == "aarch64":
        upper = (value >> 48) << 5
        return any(
            word & ~_ANY_X in (_MOVZ_48 | upper, _MOVK_48 | upper)
            for (word,) in struct.iter_unpack("<I", code[: len(code) & ~3])
        )
    return value.to_bytes(8, "little") in code
