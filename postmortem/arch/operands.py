"""Operands as the kernel's people are used to read them, whoever disassembled them."""

from __future__ import annotations

import re

# Capstone writes a displacement below ten in decimal, everybody else in hex.
_SMALL = re.compile(r"(^|,|-)(\d)\(")
_LARGE = re.compile(r"\$(\d{10,})")
_BELOW_ZERO = re.compile(r"\$0x(f{5}[0-9a-f]{3}|f{13}[0-9a-f]{3})\b")
"""The last page of 32 or 64 bits: error numbers and masks, all of which are meant as negative."""


def readable(text: str) -> str:
    """Numbers in hex but for single digits, those just below zero with their sign."""
    text = _SMALL.sub(r"\g<1>0x\g<2>(", text.replace(", ", ","))
    text = _LARGE.sub(lambda match: f"${int(match[1]):#x}", text)
    return _BELOW_ZERO.sub(
        lambda match: f"$-{(1 << 4 * len(match[1])) - int(match[1], 16):#x}", text
    )
