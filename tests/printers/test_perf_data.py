"""perf.data, taken apart again by its format's own words."""

from __future__ import annotations

import struct
from dataclasses import replace

from postmortem.kernel.perf import Attr, PerfEvent
from postmortem.kernel.tasks.tasks import Task
from postmortem.printers.perf_data import perf_data, readable_together

IDENTIFIER, TID, TIME = 1 << 16, 1 << 1, 1 << 2
TASK = Task(1, 7, 7, "seven", "S", 0, False, False, 0, 0)


def event(number: int, sample_type: int, size: int = 64, kind: int = 1) -> PerfEvent:
    raw = struct.pack("<IIQQQ", kind, size, 0, 1, sample_type).ljust(size, b"\1")
    attr = Attr(kind, 0, 1, False, sample_type, True, False, raw)
    return PerfEvent(
        number, number, "e", None, "active", attr, 0, 0, None, None, 0, 0, 0, 0, 1, None, ()
    )


def test_attrs_ids_and_records_are_where_the_header_says() -> None:
    groups = [[event(5, IDENTIFIER | TID), event(6, IDENTIFIER | TID)], [event(9, IDENTIFIER, 72)]]
    record = struct.pack("<IHHQ", 9, 0, 16, 1)
    data = perf_data(groups, [record], [TASK])
    magic, size, entry, attrs, attrs_size, begin, length = struct.unpack_from("<8s6Q", data)
    assert (magic, size, entry, attrs_size) == (b"PERFILE2", attrs, 72 + 16, 2 * entry)
    ids = []
    for number in range(2):
        at = attrs + number * entry
        assert struct.unpack_from("<II", data, at) == (1, 72)
        place, count = struct.unpack_from("<QQ", data, at + 72)
        ids.append(struct.unpack_from(f"<{count // 8}Q", data, place))
    assert ids == [(5, 6), (9,)]
    body = data[begin : begin + length]
    # COMM of the task with the ids that every record has: TID and IDENTIFIER.
    assert body[:24] == struct.pack("<IHHII", 3, 0, 8 + 8 + 8 + 16, 7, 7) + b"seven\0\0\0"
    assert body[40:] == record


def test_samples_that_perf_could_not_tell_apart_are_left_out() -> None:
    plain, more, marked = event(1, TID), event(2, TID | TIME), event(3, IDENTIFIER | TID)
    assert readable_together([plain, more]) == ([[plain]], [more])
    other = replace(marked, id=4, attr=replace(marked.attr, sample_type=IDENTIFIER, raw=b"x" * 64))
    assert readable_together([marked, other]) == ([[marked], [other]], [])
