"""The kernel's own strings: which formats it prints with, and which names it knows.

What a kernel prints differs between builds, and its version does not tell: patches are
ported back. The formats themselves lie in read-only data, so they are asked.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from postmortem.dump.damage import damage
from postmortem.dump.kallsyms import read_available
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

    def addresses(self, text: str, most: int = 256) -> list[int]:
        """Where this string is, also as the end of a longer one: linkers share those."""
        wanted = f"{text}\0".encode()
        found: list[int] = []
        at = self._data.find(wanted)
        while at >= 0 and len(found) < most:
            found.append(self._start + at)
            at = self._data.find(wanted, at + 1)
        return found


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


_MAX_FUNCTION = 1 << 16


@fact
def _references(prog: drgn.Program) -> dict[tuple[str, str], bool]:
    return {}


def refers(prog: drgn.Program, function: str, text: str) -> bool:
    """Whether a function's code has the address of the string ``text`` in it (x86-64).

    Short strings also occur by chance, so that they are there says nothing.
    """
    known = _references(prog)
    key = (function, text)
    if key not in known:
        known[key] = _refers(prog, function, text)
    return known[key]


def _refers(prog: drgn.Program, function: str, text: str) -> bool:
    try:
        symbol = prog.symbol(function)
        code = prog.read(symbol.address, min(symbol.size, _MAX_FUNCTION))
        wanted = rodata(prog).addresses(text)
    except damage():
        return False
    near = {
        # lea disp32(%rip): counted from the end of the instruction, which it ends.
        symbol.address + at + 4 + int.from_bytes(code[at : at + 4], "little", signed=True)
        for at in range(len(code) - 3)
    }
    return any(
        address in near or (address & 0xFFFFFFFF).to_bytes(4, "little") in code
        for address in wanted
    )
