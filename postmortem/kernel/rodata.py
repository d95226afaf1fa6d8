"""The kernel's own strings: which formats it prints with, and which names it knows.

What a kernel prints differs between builds, and its version does not tell: patches are
ported back. The formats themselves lie in read-only data, so they are asked.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from postmortem.dump.available import read_available
from postmortem.kernel.memo import fact

_MAX_BYTES = 256 << 20
_MAX_STRING = 4096
_SOH = "\x01"
"""KERN_SOH: the next character is the level of the message (include/linux/kern_levels.h)."""


class Format(NamedTuple):
    """A format of ``printk()``."""

    text: str
    """Without its level, with its line feeds."""
    level: int | None = None
    """syslog level 0..7; ``None`` where none is given: the kernel's default, or continued."""


class Rodata:
    """``__start_rodata`` to ``__end_rodata``, read once."""

    def __init__(self, data: bytes, missing_bytes: int = 0, start: int = 0) -> None:
        self._data = data
        self._start = start
        self.missing_bytes = missing_bytes
        self._known: dict[tuple[str, ...], Format | None] = {}

    def containing(self, piece: str, most: int = 64) -> list[Format]:
        """Whole strings with ``piece`` in them, in the order of their addresses."""
        wanted = piece.encode()
        found: list[Format] = []
        at = self._data.find(wanted)
        while at >= 0 and len(found) < most:
            start = self._data.rfind(b"\0", max(0, at - _MAX_STRING), at) + 1
            end = self._data.find(b"\0", at, at + _MAX_STRING)
            if end < 0:
                break
            if start:
                found.append(_format(self._data[start:end].decode("utf-8", "replace")))
            at = self._data.find(wanted, end)
        return found

    def format(self, *pieces: str) -> Format | None:
        """The first string with all of these pieces in it, in their order."""
        if pieces not in self._known:
            candidates = self.containing(pieces[0])
            self._known[pieces] = next((f for f in candidates if _in_order(f.text, pieces)), None)
        return self._known[pieces]

    def starting(self, *beginnings: str) -> Format | None:
        """The first string that begins so; of several beginnings the first that there is."""
        for beginning in beginnings:
            for found in self.containing(beginning):
                if found.text.startswith(beginning):
                    return found
        return None

    def has(self, text: str) -> bool:
        """Whether there is exactly this string, without a level."""
        return f"\0{text}\0".encode() in self._data

    def string_at(self, address: int) -> str | None:
        """The string that begins there, also within a longer one: linkers share their ends."""
        at = address - self._start
        if not 0 <= at < len(self._data):
            return None
        end = self._data.find(b"\0", at, at + _MAX_STRING)
        return self._data[at:end].decode("utf-8", "replace") if end > at else None


def _in_order(text: str, pieces: tuple[str, ...]) -> bool:
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _format(text: str) -> Format:
    if text[:1] != _SOH:
        return Format(text)
    level = int(text[1]) if text[1:2].isdigit() else None
    return Format(text[2:], level)


@fact
def rodata(prog: drgn.Program) -> Rodata:
    """The strings of this kernel.

    :raises LookupError: the section's symbols are missing or make no sense.
    """
    start = prog.symbol("__start_rodata").address
    size = prog.symbol("__end_rodata").address - start
    if not 0 < size <= _MAX_BYTES:
        raise LookupError(f"read-only data would have {size} bytes")
    return Rodata(*read_available(prog, start, size), start=start)
