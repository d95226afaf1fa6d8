"""The kernel's text in memory beside that of its vmlinux: is one bit another?

What the kernel writes into its own text is left out (:mod:`postmortem.dump.patch_sites`), and
so is what moving the image changed. What then differs was changed by nobody who may: by
memory that fails, by a stray write, by a probe or a rootkit. Only one bit in one place says
which of them, and only that is told as a flipped bit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.arch import arch_of
from postmortem.dump.available import Available, available
from postmortem.dump.damage import damage
from postmortem.dump.debuginfo import DebugInfo
from postmortem.dump.elf import BadElfError
from postmortem.dump.patch_sites import KernelFile, patch_sites
from postmortem.kernel.memo import fact

_PAGE = 4096
_U32 = struct.Struct("<I")
_WORD = (1 << 32) - 1
_BREAKPOINT = 0xCC
"""``int3``: kprobes and kgdb put one wherever they are asked to."""
_MANY = 64


@dataclass(frozen=True)
class Change:
    """A byte of text that is another one in memory."""

    address: int
    was: int
    """In the vmlinux."""
    is_now: int

    @property
    def bit(self) -> int | None:
        """The bit that differs, if it is only one."""
        change = self.was ^ self.is_now
        return change.bit_length() - 1 if change.bit_count() == 1 else None


@dataclass(frozen=True)
class TextChanges:
    """What of the kernel's text nobody was to change, and somebody did."""

    changes: tuple[Change, ...]
    """By address; no more than 64."""
    compared_bytes: int
    """Without what the kernel may have written itself and what the dump lacks."""

    @property
    def flip(self) -> Change | None:
        """The one bit of all the text that differs."""
        only = self.changes[0] if len(self.changes) == 1 else None
        return only if only is not None and only.bit is not None else None


@fact
def text_changes(prog: drgn.Program, debug: DebugInfo) -> TextChanges | None:
    """Compare the text; ``None`` if the vmlinux has none, or for another processor than x86-64."""
    if arch_of(prog).name != "x86_64":
        return None
    try:
        file = KernelFile(debug.vmlinux)
        text = file.section(".text")
    except (BadElfError, OSError):
        return None
    start, end = _address(prog, "_stext"), _address(prog, "_etext")
    if text is None or start is None or end is None:
        return None
    linked = _linked(debug, "_stext")
    if linked is None or not text[0] <= linked <= end - start + linked <= text[0] + len(text[1]):
        return None
    moved = start - linked
    original = text[1][linked - text[0] : linked - text[0] + end - start]
    sites = patch_sites(file, lambda name: _linked(debug, name), _alternative(prog))
    inside = ((at - linked, size) for at, size in sites)
    return compare(start, original, available(prog, start, end - start), inside, moved)


def compare(
    start: int,
    original: bytes,
    present: Available,
    sites: Iterable[tuple[int, int]],
    moved: int,
) -> TextChanges:
    """Compare text that begins at ``start`` with what it was.

    :param sites: Offset and size of what may differ.
    :param moved: Bytes by which KASLR moved the image.
    """
    now = present.data
    masked, count = _masked(original, now, sites)
    for first, end in present.holes:
        masked = masked[:first] + now[first:end] + masked[end:]
    changes = (
        Change(start + at, masked[at], now[at])
        for at in _different(masked, now)
        if now[at] != _BREAKPOINT and not _was_moved(masked, now, at, moved)
    )
    compared = max(len(original) - count - present.missing_bytes, 0)
    return TextChanges(tuple(islice(changes, _MANY)), compared)


def _address(prog: drgn.Program, name: str) -> int | None:
    try:
        return int(prog.symbol(name).address)
    except damage():
        return None


def _linked(debug: DebugInfo, name: str) -> int | None:
    """The address that a symbol has in the file."""
    bias = debug.program.main_module().debug_file_bias
    found = _address(debug.program, name)
    return None if found is None or bias is None else found - bias


def _alternative(prog: drgn.Program) -> drgn.Type | None:
    try:
        found: drgn.Type = prog.type("struct alt_instr")
        return found
    except LookupError:
        return None


def _masked(original: bytes, present: bytes, sites: Iterable[tuple[int, int]]) -> tuple[bytes, int]:
    """Take what is in memory for right at the sites; and how many bytes these are, at most."""
    masked, count, end = bytearray(original), 0, len(original)
    for at, size in sites:
        if at >= 0 and at + size <= end:
            masked[at : at + size] = present[at : at + size]
            count += size
    return bytes(masked), count


def _different(original: bytes, present: bytes) -> Iterator[int]:
    for page in range(0, len(original), _PAGE):
        mine, others = original[page : page + _PAGE], present[page : page + _PAGE]
        if mine != others:
            for at, (a, b) in enumerate(zip(mine, others, strict=True)):
                if a != b:
                    yield page + at


def _was_moved(original: bytes, present: bytes, at: int, moved: int) -> bool:
    """Whether the byte is part of an address, which KASLR moved with the image.

    Of a per-CPU variable, which is not moved, it is the distance that is another
    (arch/x86/tools/relocs.c: ``relocs32neg``).
    """
    for first in range(max(0, at - 3), min(at, len(original) - 4) + 1):
        was, now = _U32.unpack_from(original, first)[0], _U32.unpack_from(present, first)[0]
        if (now - was) & _WORD in (moved & _WORD, -moved & _WORD):
            return True
    return False
