"""A ``perf.data`` file of the samples that lie in a dump, for ``perf script`` and ``report``.

Format: tools/perf/Documentation/perf.data-file-format.txt, include/uapi/linux/perf_event.h.
Records are copied as they lie in memory. Names of tasks are added, as perf adds them when it
begins; addresses of the kernel are not named, for perf would take the names of the kernel that
it runs on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from postmortem.kernel.perf import PerfEvent
from postmortem.kernel.tasks.tasks import Task
from postmortem.trace.formats import EventFormat
from postmortem.trace.trace_dat import format_file

_HEADER_BYTES = 104
_SECTION = struct.Struct("<QQ")
_COMM = 3
"""PERF_RECORD_COMM"""
_PAGE = (
    b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    b"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    b"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    b"\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n"
)
"""events/header_page: perf wants one, though its samples lie in no such pages."""
_TRACING_DATA = 1
"""HEADER_TRACING_DATA"""
_TID, _TIME, _ID, _CPU, _STREAM, _IDENTIFIER = 1 << 1, 1 << 2, 1 << 6, 1 << 7, 1 << 9, 1 << 16
"""PERF_SAMPLE_*: what each record carries at its end if ``sample_id_all``."""


def readable_together(
    events: Iterable[PerfEvent],
) -> tuple[list[list[PerfEvent]], list[PerfEvent]]:
    """Events by what they were opened with, and those that one file can't have beside them.

    Samples of different form, or of more than one kind of event, must carry the event's id.
    """
    groups: dict[bytes, list[PerfEvent]] = {}
    for event in events:
        groups.setdefault(event.attr.raw, []).append(event)
    ordered = sorted(groups.values(), key=len, reverse=True)
    kept, left = ordered[:1], []
    for group in ordered[1:]:
        fits = all(_tells_apart(group[0], other[0]) for other in kept)
        if fits:
            kept.append(group)
        else:
            left += group
    return kept, left


def _tells_apart(one: PerfEvent, other: PerfEvent) -> bool:
    types = (one.attr.sample_type, other.attr.sample_type)
    if one.attr.sample_id_all != other.attr.sample_id_all:
        return False
    return all(kind & _IDENTIFIER for kind in types) or (
        types[0] == types[1] and bool(types[0] & _ID)
    )


def perf_data(
    groups: Sequence[Sequence[PerfEvent]],
    records: Iterable[bytes],
    tasks: Iterable[Task],
    tracepoints: Sequence[EventFormat] = (),
) -> bytes:
    """The file.

    :param groups: Events that were opened with the same attr, of each kind.
    :param tracepoints: Formats of those among them: perf opens no file without.
    """
    size = max(len(events[0].attr.raw) for events in groups)
    entry = size + _SECTION.size
    ids_at = _HEADER_BYTES + len(groups) * entry
    attrs: list[bytes] = []
    ids: list[int] = []
    for events in groups:
        attr = events[0].attr.raw
        own = [event.id for event in events]
        place = _SECTION.pack(ids_at + 8 * len(ids), 8 * len(own))
        # Its own size is in the second word.
        attrs.append(attr[:4] + struct.pack("<I", size) + attr[8:].ljust(size - 8, b"\0") + place)
        ids += own
    first = groups[0][0].attr
    trailer = _trailer(first.sample_type) if first.sample_id_all else 0
    names = (_comm(task, trailer) for task in tasks)
    data = b"".join((*names, *records))
    table = b"".join(attrs) + struct.pack(f"<{len(ids)}Q", *ids)
    header = struct.pack("<8sQQ", b"PERFILE2", _HEADER_BYTES, entry)
    header += _SECTION.pack(_HEADER_BYTES, len(groups) * entry)
    header += _SECTION.pack(_HEADER_BYTES + len(table), len(data))
    header += _SECTION.pack(0, 0)  # event types, which are not written any more
    if not tracepoints:
        return header.ljust(_HEADER_BYTES, b"\0") + table + data
    header += struct.pack("<Q", 1 << _TRACING_DATA)
    whole = header.ljust(_HEADER_BYTES, b"\0") + table + data
    formats = tracing_data(tracepoints)
    return whole + _SECTION.pack(len(whole) + _SECTION.size, len(formats)) + formats


def tracing_data(formats: Sequence[EventFormat]) -> bytes:
    """The feature HEADER_TRACING_DATA: what a trace.dat begins with (tools/perf/util/
    trace-event-read.c), without what only pages of a ring buffer need."""
    systems: dict[str, list[bytes]] = {}
    for one in formats:
        text = format_file(one).encode()
        systems.setdefault(one.system, []).append(struct.pack("<Q", len(text)) + text)
    parts = [b"\x17\x08\x44tracing0.6\0", struct.pack("<BBI", 0, 8, 4096)]
    parts += [b"header_page\0", struct.pack("<Q", len(_PAGE)), _PAGE]
    parts += [b"header_event\0", struct.pack("<Q", len(_PAGE)), _PAGE, bytes(4)]
    parts.append(struct.pack("<I", len(systems)))
    for name, texts in systems.items():
        parts += [name.encode() + b"\0", struct.pack("<I", len(texts)), *texts]
    # No kallsyms, no formats of trace_printk(), no names of tasks.
    return b"".join((*parts, bytes(4), bytes(4), bytes(8)))


def _trailer(sample_type: int) -> int:
    """Bytes of the ids at the end of a record that is no sample."""
    return 8 * sum(
        bool(sample_type & bit) for bit in (_TID, _TIME, _ID, _CPU, _STREAM, _IDENTIFIER)
    )


def _comm(task: Task, trailer: int) -> bytes:
    name = task.comm.encode("utf-8", "replace")[:15]
    name = name.ljust(len(name) // 8 * 8 + 8, b"\0")
    body = struct.pack("<II", task.tgid, task.pid) + name + bytes(trailer)
    return struct.pack("<IHH", _COMM, 0, 8 + len(body)) + body
