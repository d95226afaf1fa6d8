"""One sub-buffer of a ring buffer taken apart. Source: kernel/trace/ring_buffer.c.

Pure Python over bytes, so that it can be tested and timed without any dump. An event's first
word holds ``type_len`` (5 bits) and ``time_delta`` (27 bits)::

    type_len 1..28   data of so many words follows
    0                data: its length in bytes is the next word, which counts itself
    29               padding: nothing more on this page if time_delta is 0, else skip a length
    30               time extend: the next word are higher bits of a time_delta
    31               time stamp: the same, but absolute; its upper 5 bits are those of the page
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

COMMIT_MASK = (1 << 30) - 1
"""``RB_MISSED_EVENTS`` and ``RB_MISSED_STORED`` are the bits above."""
MISSED_EVENTS = 1 << 31
_DELTA_BITS = 27
_TIME_STAMP_TOP = 0xF8 << 56
"""``TS_MSB``: the bits of a time stamp that an absolute one has no room for."""
_MASK = (1 << 64) - 1
_MAX_DATA, _PADDING, _TIME_EXTEND, _TIME_STAMP = 28, 29, 30, 31

Place = tuple[int, int, int]
"""Time stamp, offset in the page's data and bytes of one event."""


class Decoded(NamedTuple):
    """The events of one page."""

    events: list[Place]
    torn: str | None
    """Why the rest of the page makes no sense, ``None`` if it does."""


@lru_cache(maxsize=256)
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


def decode(data: bytes, commit: int, stamp: int, head: int = 0) -> Decoded:
    """The events of a page's ``data``.

    :param commit: Bytes of ``data`` that are valid.
    :param stamp: The time before the event at ``head``: ``page->time_stamp``.
    :param head: Where the first event is that nobody has read.
    """
    count = min(commit, len(data)) >> 2
    words = _words(count).unpack_from(data)
    found: list[Place] = []
    append = found.append
    at, now = head >> 2, stamp
    while at < count:
        word = words[at]
        kind = word & 31
        if 0 < kind <= _MAX_DATA:
            now += word >> 5
            following = at + 1 + kind
            if following > count:
                return Decoded(found, f"an event at {at * 4} reaches behind the page's end")
            append((now, (at + 1) << 2, kind << 2))
            at = following
            continue
        if at + 1 >= count:
            if kind == _PADDING and not word >> 5:
                break
            return Decoded(found, f"an event at {at * 4} is cut off")
        second = words[at + 1]
        if kind == _TIME_EXTEND:
            now += (word >> 5) + (second << _DELTA_BITS)
            at += 2
        elif kind == _TIME_STAMP:
            now = _absolute((word >> 5) + (second << _DELTA_BITS), now)
            at += 2
        elif kind == _PADDING and not word >> 5:
            break
        else:
            # The length counts its own word.
            following = at + 1 + ((second + 3) >> 2)
            if second < 4 or following > count:
                return Decoded(found, f"an event at {at * 4} has {second} bytes")
            if kind != _PADDING:
                now += word >> 5
                append((now, (at + 2) << 2, second - 4))
            at = following
    return Decoded(found, None)


def _absolute(stamp: int, before: int) -> int:
    """``rb_fix_abs_ts()``"""
    top = before & _TIME_STAMP_TOP
    if top:
        stamp |= top
        if stamp < before:
            stamp += 1 << 59
    return stamp & _MASK
