"""What reading a kernel out of a damaged or filtered dump may raise."""

from __future__ import annotations

import struct

import drgn

DAMAGED = (
    drgn.FaultError,  # the page is not in the dump, or the address is nonsense
    drgn.ObjectAbsentError,
    drgn.OutOfBoundsError,
    LookupError,  # no such symbol, type or member in this kernel
    AttributeError,  # likewise, by drgn's dot
    ArithmeticError,  # an address outside of 64 bits
    ValueError,
    TypeError,
    struct.error,
)
"""Catch this around a read of the kernel, and say what is missing."""
