"""A trace for other programs: one JSON document a line, or the format of chrome://tracing.

Each event of the buffer is one of the latter's; it was opened in no viewer yet.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from postmortem.trace.events import Event, Wanted, events
from postmortem.trace.formats import EventFormat, Field
from postmortem.trace.print_fmt import Layout, decoded
from postmortem.trace.text import Trace

_US = 1000


class Fields:
    """The fields of events as values: numbers, strings, else hexadecimal."""

    def __init__(self) -> None:
        self._layouts: dict[int, tuple[Layout, tuple[Field, ...]]] = {}

    def of(self, format: EventFormat, data: bytes) -> dict[str, int | str]:
        """By name, without those common to all events."""
        known = self._layouts.get(format.id)
        if known is None:
            known = self._layouts[format.id] = (Layout(format.fields), format.data_fields)
        layout, fields = known
        try:
            values = layout.unpack(data)
        except struct.error:
            return {one.name: data[one.offset : one.offset + one.size].hex() for one in fields}
        found: dict[str, int | str] = {}
        for one in fields:
            index = layout.index.get(one.name)
            raw = values[index] if index is not None else data[one.offset :]
            found[one.name] = _value(one, raw, data)
        return found


def _value(one: Field, raw: Any, data: bytes) -> int | str:
    if one.is_located and isinstance(raw, int):
        start, length = raw & 0xFFFF, raw >> 16 & 0xFFFF
        if one.is_relative:
            start += one.offset + one.size
        raw = data[start : start + length]
    if isinstance(raw, int):
        return raw
    return decoded(raw) if "char" in one.type and "unsigned" not in one.type else raw.hex()


def json_lines(trace: Trace, wanted: Wanted) -> Iterator[str]:
    """One document for each event."""
    fields = Fields()
    name = trace.array.name
    for event in events(trace.buffer, wanted):
        yield json.dumps(_document(trace, event, fields, name), ensure_ascii=True) + "\n"


def _document(trace: Trace, event: Event, fields: Fields, instance: str) -> dict[str, Any]:
    format = trace.formats.get(event.type)
    trace.printers.stamp = event.time
    found: dict[str, Any] = {
        "instance": instance,
        "time": event.time,
        "cpu": event.cpu,
        "pid": event.pid,
        "comm": trace.cmdlines.comm(event.pid),
        "flags": trace.flags.text(event.flags),
        "system": format.system if format is not None else None,
        "event": format.name if format is not None else None,
        "fields": fields.of(format, event.data) if format is not None else {},
        "text": trace.printers.text(event.type, event.data).rstrip("\n"),
    }
    if format is None:
        found["data"] = event.data.hex()
    return found


def chrome(traces: list[Trace], wanted: Wanted) -> Iterator[str]:
    """The document of chrome://tracing: a process for each instance's CPUs, events as instants."""
    yield '{"displayTimeUnit": "ns", "traceEvents": [\n'
    separator = ""
    for number, trace in enumerate(traces):
        for one in _chrome_events(trace, wanted, number):
            yield separator + json.dumps(one, ensure_ascii=True)
            separator = ",\n"
    yield "\n]}\n"


def _chrome_events(trace: Trace, wanted: Wanted, number: int) -> Iterator[dict[str, Any]]:
    name = trace.array.name or "main"
    for cpu in trace.buffer.cpus:
        process = number * 10000 + cpu.cpu
        label = {"name": f"{name}: CPU {cpu.cpu}"}
        yield {"ph": "M", "pid": process, "name": "process_name", "args": label}
    fields = Fields()
    threads: set[tuple[int, int]] = set()
    for event in events(trace.buffer, wanted):
        process = number * 10000 + event.cpu
        if (process, event.pid) not in threads and len(threads) < 1 << 16:
            threads.add((process, event.pid))
            label = {"name": trace.cmdlines.comm(event.pid)}
            yield {
                "ph": "M", "pid": process, "tid": event.pid, "name": "thread_name", "args": label,
            }  # fmt: skip
        format = trace.formats.get(event.type)
        yield {
            "ph": "i",
            "s": "t",
            "ts": event.time / _US if trace.array.in_ns else event.time,
            "pid": process,
            "tid": event.pid,
            "name": format.name if format is not None else f"type {event.type}",
            "cat": format.system if format is not None else "unknown",
            "args": fields.of(format, event.data) if format is not None else {},
        }
