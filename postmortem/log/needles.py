"""Where in a buffer a header may be: one pass over the bytes for all phrases at once.

With the ``hyperscan`` library this runs at the speed of memory; without it the
same lines are found, slower.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache

from postmortem.log import boots
from postmortem.log.blocked import PHRASES
from postmortem.log.headers import literals
from postmortem.model.report import Record

DEBUGGER = "#1  "
"""The second frame of gdb's and drgn's stacks."""
STACK_STARTS = ("Call Trace:", "Call trace:", "---[ end trace ", DEBUGGER)
"""What may be all that is left of a report, or of a stack that a driver printed."""

EVENTS = (
    "Linux version ",
    "Booting Linux on",
    "Starting crashdump kernel",
    "Kernel Offset: 0x",
    "INFO: task ",
    *boots.PHRASES,
    *PHRASES,
    *STACK_STARTS,
)
"""Phrases that are no report but tell something about those around them."""

# Without hyperscan a search per phrase would be slow: these few are in all of them.
COARSE = (
    b"BUG",
    b"WARNING",
    b"INFO: ",
    b"panic",
    b"Oops",
    b"Unable",
    b"nable to handle",
    b"fault",
    b"error",
    b"rror]",
    b"Machine Check",
    b"STATUS[",
    b"event severity",
    b"EDAC ",
    b"Memory failure",
    b"NMI",
    b"nobody cared",
    b"AER: ",
    b"XFS (",
    b"BTRFS",
    b"nvme ",
    b"Emask",
    b"oom-killer",
    b"ut of memory",
    b"vmalloc",
    b"allocation failure",
    b"detected",
    b"Internal ",
    b"Alignment",
    b"prefetch abort",
    b"Insufficient",
    b"Bad mode",
    b"SError",
    b"lock",
    b"RCU",
    b"starved",
    b"LOCKUP",
    b"for more than",
    b"list_",
    b"usercopy",
    b"unreferenced",
    b"dereference",
    b"segment",
    b"invalid ",
    b"int3:",
    b"bounds:",
    b"check:",
    b"TSS:",
    b"xception",
    b"coprocessor ",
    b"control protection",
    b"pagetable:",
    b"double",
    b"stack overflow",
    b"stack guard",
    b"CFI ",
    b"ENDBR",
    b"attempted to",
    b"ilc:",
    b"kernel code[#",
    b"access[#",
    b"CSD lock",
    b"key",
    b"too low!",
    b"freeing mm",
    b"VFS: ",
    b"pagealloc",
    b"UBSAN:",
    b"WATCHDOG",
    b"Badness",
    b"RTNL",
    b"unregister_netdevice",
    b"Trigger a crash",
    b"Linux ",
    b"crashdump",
    b"Kernel Offset",
    b"not taken",
    b"unlock",
    b"context",
    b"rcu",
    b"Kernel bug",
    b"Kernel BUG",
    b"stack:",
    b"held by ",
    b"Call ",
    b"Call Trace:",
    b"Call trace:",
    b"[ end trace ",
    b"#1  ",
    b'COMMAND: "',
)


@cache
def coarse() -> tuple[bytes, ...]:
    """What is searched for without hyperscan: as few needles as find every phrase."""
    left = sorted({p.encode() for p in (*literals(), *EVENTS)}, key=len)
    chosen = list(COARSE)
    for phrase in left:
        if not any(needle in phrase for needle in chosen):
            chosen.append(phrase)
    return tuple(chosen)


Find = Callable[[bytes], list[int]]
"""Offsets inside all places where a phrase is, in ascending order, some perhaps twice."""


@cache
def finder() -> Find:
    """The fastest way to search that this machine has."""
    phrases = [text.encode() for text in (*literals(), *EVENTS)]
    try:
        import hyperscan
    except ImportError:
        return _without_library
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[_quote(phrase) for phrase in phrases],
        ids=list(range(len(phrases))),
        flags=[0] * len(phrases),
    )

    def find(data: bytes) -> list[int]:
        ends: list[int] = []
        add = ends.append
        database.scan(
            data, match_event_handler=lambda _id, _start, end, _flags, _context: add(end - 1)
        )
        ends.sort()
        return ends

    return find


def with_phrases(records: Sequence[Record]) -> set[int]:
    """Indexes of the records that have a phrase in them."""
    ends = []
    size = 0
    parts = []
    for record in records:
        part = record.text.replace("\n", " ").encode("utf-8", "replace")
        parts.append(part)
        size += len(part) + 1
        ends.append(size)
    return {bisect_right(ends, hit) for hit in finder()(b"\n".join(parts))}


def _quote(phrase: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in phrase)


def _without_library(data: bytes) -> list[int]:
    found: list[int] = []
    for needle in coarse():
        at = data.find(needle)
        while at >= 0:
            found.append(at)
            end = data.find(b"\n", at)
            if end < 0:
                break
            at = data.find(needle, end)  # one per line is enough
    found.sort()
    return found
