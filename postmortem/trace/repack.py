"""Events written into pages again: a choice of them, or those of pages that are too large.

The way of writing is the ring buffer's own (:mod:`postmortem.trace.pages`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

PAGE = 4096
_HEADER = struct.Struct("<QQ")
"""``struct buffer_data_page``: time stamp, bytes that are valid."""
_DATA = PAGE - _HEADER.size
_WORD, _TWO = struct.Struct("<I"), struct.Struct("<II")
_DELTA = (1 << 27) - 1
_MOST_WORDS = 28
_EXTEND = 30


def pages(events: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Pages of 4096 bytes with these events of one CPU: time stamp and data.

    An event that no page has room for is left out.
    """
    parts: list[bytes] = []
    used = start = now = 0
    for time, data in events:
        if not parts:
            start = now = time
        delta = max(0, time - now)
        event = _encoded(delta, data)
        if used + len(event) > _DATA and parts:
            yield _page(start, used, parts)
            parts, used = [], 0
            start = now = time
            event = _encoded(0, data)
        if len(event) > _DATA:
            continue
        parts.append(event)
        used += len(event)
        now += delta
    if parts:
        yield _page(start, used, parts)


def page_from(stamp: int, data: bytes) -> bytes:
    """A page of what is valid of another."""
    return _page(stamp, len(data), [data])


def _page(start: int, used: int, parts: list[bytes]) -> bytes:
    return b"".join((_HEADER.pack(start, used), *parts)).ljust(PAGE, b"\0")


def _encoded(delta: int, data: bytes) -> bytes:
    data = data.ljust((len(data) + 3) & ~3, b"\0")
    before = b""
    if delta > _DELTA:
        before = _TWO.pack(_EXTEND | (delta & _DELTA) << 5, delta >> 27 & 0xFFFFFFFF)
        delta = 0
    words = len(data) >> 2
    if 0 < words <= _MOST_WORDS:
        return before + _WORD.pack(words | delta << 5) + data
    return before + _TWO.pack(delta << 5, len(data) + 4) + data
