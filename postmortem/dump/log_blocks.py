"""The kernel's log where nothing leads to it: blocks of its text, known by their shape.

A record's text lies behind the number of the record (``struct prb_data_block``), in blocks
of whole words, one behind the other: the next block starts with the next number. Few words
stand in nearly every log; from each such text the chain is followed both ways. What the
records' descriptions (``struct printk_info``) say is found by the numbers and lengths that
the texts have. Nothing but physical memory is needed (kernel/printk/printk_ringbuffer.c).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postmortem.dump.memory import Memory

_ANCHORS = (
    b"Linux version ",
    b"Command line: ",
    b"Modules linked in:",
    b"Call Trace:",
    b"RIP: 0010:",
    b"Kernel panic - not syncing",
    b"---[ end trace ",
    b"systemd[1]: ",
    b"Freeing unused kernel",
)
_SECONDS = 4.0
"""Of computing."""
_MAX_BYTES = 8 << 30
_ENOUGH = 100
"""Records: whoever has found so many looks only around them."""
_AROUND = 32 << 20
_WINDOW = 1 << 20
"""Bytes read on each side of an anchor."""
_MAX_TEXT = 2048
_SLACK = 12
"""Bytes of a block that its text may leave: a level, a newline, a NUL, and up to a word."""
_IDS = (1 << 62) - 1
_SKIPPED = 4
"""So many numbers in a row may have no text."""
_INFO = 88
"""sizeof(struct printk_info) since v5.10: seq, ts_nsec, text_len ... device."""
_COUNT_BITS = range(8, 21)
_PROBES = 8
_NEAR = 16 << 20
"""How far from the text the descriptions are looked for."""


@dataclass
class Blocks:
    """What was found."""

    texts: dict[int, bytes] = field(default_factory=dict)
    """By number of the record, counted from the first after boot, which is below zero."""
    infos: dict[int, bytes] = field(default_factory=dict)
    """``struct printk_info`` of some of them."""


def find_blocks(memory: Memory) -> Blocks:
    """The longest log in memory, as far as its blocks can be followed."""
    runs = _Runs(memory)
    end = time.process_time() + _SECONDS
    seen = stop = 0
    for base, data in memory.chunks(overlap=64):
        for anchor in _ANCHORS:
            at = data.find(anchor)
            while at >= 0:
                runs.follow(base + at)
                at = data.find(anchor, at + 1)
        seen += len(data)
        if runs.most >= _ENOUGH and not stop:
            stop = seen + _AROUND
        if seen > _MAX_BYTES or (stop and seen > stop) or time.process_time() > end:
            break
    return runs.longest()


class _Runs:
    """Chains of blocks; those that go on from one another are one log."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: list[tuple[int, int]] = []
        """Physical extents of the chains."""
        self._found: list[tuple[int, dict[int, bytes]]] = []

    @property
    def most(self) -> int:
        """Records of the longest chain."""
        return max((len(texts) for _at, texts in self._found), default=0)

    def follow(self, place: int) -> None:
        """Follow the chain of the block in whose text ``place`` lies, if it is one."""
        if any(start <= place < end for start, end in self._known):
            return
        low = max(0, place - _WINDOW) & ~4095
        data = b"".join(_pages(self._memory, low, place + _WINDOW))
        head = _head_of(data, place - low)
        if head is None:
            return
        chain = dict(_chain(data, head))
        if len(chain) > 1:
            ends = [at + 8 + len(text) for at, (_number, text) in chain.items()]
            self._known.append((low + min(chain), low + max(ends)))
            self._found.append((low + min(chain), dict(chain.values())))

    def longest(self) -> Blocks:
        """The longest chain, with those near it that have other numbers."""
        if not self._found:
            return Blocks()
        where, texts = max(self._found, key=lambda item: len(item[1]))
        for at, others in self._found:
            if abs(at - where) < _WINDOW:
                texts = {**others, **texts}
        return Blocks(texts, _infos(self._memory, where, texts))


def _pages(memory: Memory, start: int, end: int) -> Iterator[bytes]:
    """Memory page by page; zeroes for what is not there."""
    for page in range(start, end, 4096):
        data = memory.read(page, 4096)
        yield data if len(data) == 4096 else bytes(4096)


def _number(data: bytes, at: int) -> int:
    """The number of a block: ids start below zero, so that they wrap early."""
    (word,) = struct.unpack_from("<Q", data, at)
    return int(word) - (_IDS + 1) if word > _IDS >> 1 else int(word)


def _is_number(number: int) -> bool:
    return -(1 << 21) < number < 1 << 40


def _head_of(data: bytes, place: int) -> int | None:
    """Where the block begins in whose text ``place`` lies."""
    for head in range((place - 8) & ~7, max(-1, place - _MAX_TEXT), -8):
        if _is_number(_number(data, head)) and _next(data, head) is not None:
            return head
        if data[head : head + 8].count(0) > 4:
            return None
    return None


def _next(data: bytes, head: int) -> int | None:
    """The head of the block behind that at ``head``."""
    number = _number(data, head)
    for following in range(number + 1, number + 1 + _SKIPPED):
        word = struct.pack("<Q", following & _IDS)
        at = data.find(word, head + 16, head + 8 + _MAX_TEXT)
        while at >= 0 and at % 8:
            at = data.find(word, at + 1, head + 8 + _MAX_TEXT)
        if at >= 0 and _is_text(data[head + 8 : at]):
            return at
    return None


def _before(data: bytes, head: int) -> int | None:
    """The head of the block before that at ``head``."""
    number = _number(data, head)
    for at in range(head - 16, max(-1, head - 8 - _MAX_TEXT), -8):
        if number - _SKIPPED <= _number(data, at) < number:
            return at if _is_text(data[at + 8 : head]) else None
    return None


_BINARY = bytes(code for code in range(1, 32) if code not in (9, 10, 27))


def _is_text(block: bytes) -> bool:
    """Whether it begins as text; its end may hold bytes of an older record."""
    body = block[: max(1, len(block) - _SLACK)]
    return 0 not in body and body.translate(None, _BINARY) == body


def _chain(data: bytes, head: int) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Offset, number and text of the blocks before and behind that at ``head``."""
    at: int | None = head
    while at is not None:
        behind = _next(data, at)
        if behind is not None:
            yield at, (_number(data, at), data[at + 8 : behind])
        elif at + 16 <= len(data):  # the last one ends where its text does
            end = data.find(b"\0", at + 8, at + 8 + _MAX_TEXT)
            yield at, (_number(data, at), data[at + 8 : max(end, at + 8)])
        at = behind
    at = _before(data, head)
    end = head
    while at is not None:
        yield at, (_number(data, at), data[at + 8 : end])
        end, at = at, _before(data, at)


def _infos(memory: Memory, where: int, texts: Mapping[int, bytes]) -> dict[int, bytes]:
    """``struct printk_info`` of these records: an array near their texts."""
    low = max(0, where - _NEAR) & ~4095
    data = b"".join(_pages(memory, low, where + _NEAR))
    numbers = sorted(texts)
    probes = numbers[len(numbers) // 2 :][:_PROBES]
    for bits in _COUNT_BITS:
        count = 1 << bits
        # The first record has the number 0 and the id -count, as 32 bits.
        for ahead in (count - (1 << 32), count):
            found = _array(data, count, ahead, texts, probes)
            if found:
                return found
    return {}


def _array(
    data: bytes, count: int, ahead: int, texts: Mapping[int, bytes], probes: list[int]
) -> dict[int, bytes]:
    """The descriptions in an array of ``count``, sequence numbers so far ahead of the ids."""

    def at(number: int) -> int:
        return start + _INFO * (number & (count - 1))

    number = probes[0]
    if number + ahead < 0:
        return {}
    word = struct.pack("<Q", number + ahead)
    place = data.find(word)
    while place >= 0:
        start = place - _INFO * (number & (count - 1))
        whole = place % 8 == 0 and start >= 0
        if whole and all(_describes(data, at(n), n + ahead, texts[n]) for n in probes):
            good = (n for n in texts if _describes(data, at(n), n + ahead, texts[n]))
            return {n: data[at(n) : at(n) + _INFO] for n in good}
        place = data.find(word, place + 1)
    return {}


def _describes(data: bytes, at: int, sequence: int, text: bytes) -> bool:
    if at + _INFO > len(data):
        return False
    found, _ns, length = struct.unpack_from("<QQH", data, at)
    return bool(found == sequence and len(text) - _SLACK <= length <= len(text))
