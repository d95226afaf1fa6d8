"""``trace.dat``: what trace-cmd, kernelshark and libtracefs open. Versions 6 and 7.

Format: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5). The pages go into the file as they lie in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import drgn

from postmortem.dump.damage import readable
from postmortem.trace.buffers import CpuBuffer
from postmortem.trace.events import Wanted, events
from postmortem.trace.formats import EventFormat, Field, Formats
from postmortem.trace.pages import COMMIT_MASK
from postmortem.trace.repack import PAGE, page_from, pages
from postmortem.trace.text import Trace

_MAGIC = b"\x17\x08\x44tracing"
_HEADER_BYTES = 16
_DONE, _CPUSTAT, _BUFFER, _CLOCK, _UNAME, _CPUCOUNT = 0, 2, 3, 4, 5, 8
_HEADER_INFO, _FTRACE_EVENTS, _EVENT_FORMATS, _KALLSYMS, _PRINTK, _CMDLINES = range(16, 22)
_STRINGS = 15
_HEADER_PAGE = (
    b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    b"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    b"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    b"\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n"
)
_HEADER_EVENT = (
    b"# compressed entry header\n"
    b"\ttype_len    :    5 bits\n"
    b"\ttime_delta  :   27 bits\n"
    b"\tarray       :   32 bits\n\n"
    b"\tpadding     : type == 29\n"
    b"\ttime_extend : type == 30\n"
    b"\ttime_stamp : type == 31\n"
    b"\tdata max type_len  == 28\n"
)


def format_file(format: EventFormat) -> str:
    """``events/SYSTEM/NAME/format``"""
    common = [one for one in format.fields if one.name.startswith("common_")]
    lines = [f"name: {format.name}\n", f"ID: {format.id}\n", "format:\n"]
    lines += [_field_line(one) for one in common]
    lines.append("\n")
    lines += [_field_line(one) for one in format.data_fields]
    lines.append(f"\nprint fmt: {format.print_fmt}\n")
    return "".join(lines)


def _field_line(one: Field) -> str:
    kind, bracket, length = one.type.partition("[")
    if not bracket or one.is_located:
        shown = f"{one.type} {one.name}"
    else:
        count = length if one.length is None else f"{one.length or ''}]"
        shown = f"{kind} {one.name}[{count}"
    return f"\tfield:{shown};\toffset:{one.offset};\tsize:{one.size};\tsigned:{int(one.signed)};\n"


def write(
    file: IO[bytes], traces: list[Trace], wanted: Wanted | None = None, version: int = 6
) -> None:
    """Write these instances, the first of them as the main one.

    :param wanted: Which events; all and the pages as they are if not given.
    """
    out = _Version7(file, traces[0]) if version == 7 else _Version6(file, traces[0])
    out.begin()
    out.finish([(trace, wanted) for trace in traces])


def cpu_pages(trace: Trace, cpu: CpuBuffer, wanted: Wanted | None) -> Iterator[bytes]:
    """The pages of one CPU, of 4096 bytes each."""
    if wanted is not None or trace.buffer.subbuffer_bytes != PAGE:
        one = Wanted(
            {cpu.cpu}, *(() if wanted is None else (wanted.pids, wanted.types, wanted.since))
        )
        yield from pages((event.time, event.data) for event in events(trace.buffer, one))
        return
    for page, raw in cpu.raw_pages():
        stamp, commit = struct.unpack_from("<QQ", raw)
        valid = raw[_HEADER_BYTES : _HEADER_BYTES + (commit & COMMIT_MASK)]
        if page.read >= len(valid):
            continue
        if page.read:
            # Somebody has read the beginning: the time goes on from there.
            rest = Wanted({cpu.cpu})
            first = (event for event in events(trace.buffer, rest))
            stamp = next(first).time
            yield from pages(_first_page(cpu))
            continue
        yield page_from(stamp, valid)


def _first_page(cpu: CpuBuffer) -> Iterator[tuple[int, bytes]]:
    for data, places in cpu.batches():
        for time, offset, size in places:
            yield time, data[offset : offset + size]
        return


@dataclass
class _Written:
    """Where the pages of a CPU are in the file."""

    cpu: int
    offset: int
    size: int


class _Writer:
    """What both versions have in common."""

    version = 6

    def __init__(self, file: IO[bytes], main: Trace) -> None:
        self.file, self.main = file, main
        self.at = 0

    def put(self, data: bytes) -> None:
        self.file.write(data)
        self.at += len(data)

    def begin(self) -> None:
        self.put(_MAGIC + str(self.version).encode() + b"\0" + struct.pack("<BBI", 0, 8, PAGE))

    def align(self) -> None:
        self.put(bytes(-self.at % PAGE))

    def finish(self, jobs: list[tuple[Trace, Wanted | None]]) -> None:
        raise NotImplementedError

    # --- contents

    def header_info(self) -> bytes:
        return b"".join(
            (
                b"header_page\0", struct.pack("<Q", len(_HEADER_PAGE)), _HEADER_PAGE,
                b"header_event\0", struct.pack("<Q", len(_HEADER_EVENT)), _HEADER_EVENT,
            )
        )  # fmt: skip

    def ftrace_events(self) -> bytes:
        own = [one for one in self._formats() if one.system == "ftrace"]
        return struct.pack("<I", len(own)) + b"".join(map(_sized_format, own))

    def event_formats(self) -> bytes:
        systems: dict[str, list[EventFormat]] = {}
        for one in self._formats():
            if one.system != "ftrace":
                systems.setdefault(one.system, []).append(one)
        parts = [struct.pack("<I", len(systems))]
        for name, found in systems.items():
            parts.append(name.encode() + b"\0" + struct.pack("<I", len(found)))
            parts += map(_sized_format, found)
        return b"".join(parts)

    def _formats(self) -> list[EventFormat]:
        formats: Formats = self.main.formats
        return formats.all()

    def kallsyms(self) -> bytes:
        text = kallsyms_text(self.main.prog)
        return struct.pack("<I", len(text)) + text

    def cmdlines(self) -> bytes:
        known = self.main.cmdlines.by_pid
        text = "".join(f"{pid} {comm}\n" for pid, comm in known.items()).encode()
        return struct.pack("<Q", len(text)) + text

    def cpu_count(self) -> int:
        return max((cpu.cpu for cpu in self.main.buffer.cpus), default=-1) + 1

    def clock(self, trace: Trace) -> bytes:
        return f"[{trace.array.clock}]\n".encode() + b"\0"

    def uname(self) -> bytes:
        name = readable(lambda: self.main.prog["init_uts_ns"].name.read_())
        if name is None:
            return b"\0"
        parts = (name.sysname, name.nodename, name.release, name.machine)
        return b" ".join(part.string_() for part in parts) + b"\0"

    def stats(self) -> Iterator[bytes]:
        for cpu in self.main.buffer.cpus:
            found = readable(lambda cpu=cpu: cpu.stats)  # type: ignore[misc]
            if found is not None:
                text = f"CPU: {cpu.cpu}\nentries: {found.entries}\noverrun: {found.overrun}\n"
                text += f"commit overrun: {found.commit_overrun}\nbytes: {found.bytes}\n"
                text += f"dropped events: {found.dropped}\nread events: {found.read}\n\0"
                yield text.encode()

    def data(self, trace: Trace, wanted: Wanted | None) -> list[_Written]:
        """Write the pages of all CPUs at page boundaries."""
        found = []
        for cpu in trace.buffer.cpus:
            self.align()
            start = self.at
            if wanted is None or wanted.cpus is None or cpu.cpu in wanted.cpus:
                for page in cpu_pages(trace, cpu, wanted):
                    self.put(page)
            found.append(_Written(cpu.cpu, start, self.at - start))
        return found


def _sized_format(format: EventFormat) -> bytes:
    text = format_file(format).encode("utf-8", "replace")
    return struct.pack("<Q", len(text)) + text


def _option(number: int, data: bytes) -> bytes:
    return struct.pack("<HI", number, len(data)) + data


class _Version6(_Writer):
    version = 6

    def finish(self, jobs: list[tuple[Trace, Wanted | None]]) -> None:
        self.put(self.header_info())
        self.put(self.ftrace_events())
        self.put(self.event_formats())
        self.put(self.kallsyms())
        self.put(struct.pack("<I", 0))  # no trace_printk() formats apart
        self.put(self.cmdlines())
        count = self.cpu_count()
        self.put(struct.pack("<I", count))
        self.put(b"options  \0")
        self.put(_option(_CPUCOUNT, struct.pack("<I", count)))
        self.put(_option(_CLOCK, self.clock(self.main)))
        self.put(_option(_UNAME, self.uname()))
        for stats in self.stats():
            self.put(_option(_CPUSTAT, stats))
        places = []
        for trace, _ in jobs[1:]:
            name = trace.array.name.encode("utf-8", "replace") + b"\0"
            places.append(self.at + 6)
            self.put(_option(_BUFFER, struct.pack("<Q", 0) + name))
        self.put(struct.pack("<H", _DONE))
        self._records(*jobs[0], count)
        for place, (trace, wanted) in zip(places, jobs[1:], strict=True):
            self._patch(place, struct.pack("<Q", self.at))
            self._records(trace, wanted, count)

    def _records(self, trace: Trace, wanted: Wanted | None, count: int) -> None:
        self.put(b"flyrecord\0")
        table = self.at
        self.put(bytes(16 * count))
        for one in self.data(trace, wanted):
            if one.cpu < count:
                self._patch(table + 16 * one.cpu, struct.pack("<QQ", one.offset, one.size))

    def _patch(self, at: int, data: bytes) -> None:
        self.file.seek(at)
        self.file.write(data)
        self.file.seek(self.at)


class _Version7(_Writer):
    version = 7

    def begin(self) -> None:
        super().begin()
        self.put(b"none\0\0")
        self._options_at = self.at
        self.put(struct.pack("<Q", 0))
        self._strings = bytearray()

    def finish(self, jobs: list[tuple[Trace, Wanted | None]]) -> None:
        options = []
        for number, label, content in (
            (_HEADER_INFO, b"headers", self.header_info()),
            (_FTRACE_EVENTS, b"ftrace events", self.ftrace_events()),
            (_EVENT_FORMATS, b"events format", self.event_formats()),
            (_KALLSYMS, b"kallsyms", self.kallsyms()),
            (_PRINTK, b"trace_printk", struct.pack("<I", 0)),
            (_CMDLINES, b"command lines", self.cmdlines()),
        ):
            at = self._section(number, label, content)
            options.append(_option(number, struct.pack("<Q", at)))
        for trace, wanted in jobs:
            options.append(_option(_BUFFER, self._buffer(trace, wanted)))
        options.append(_option(_CLOCK, self.clock(self.main)))
        options.append(_option(_UNAME, self.uname()))
        options.append(_option(_CPUCOUNT, struct.pack("<I", self.cpu_count())))
        options += [_option(_CPUSTAT, stats) for stats in self.stats()]
        options.append(_option(_DONE, struct.pack("<Q", 0)))
        text = self._string(b"options")
        self._section(_STRINGS, b"strings", bytes(self._strings) + b"strings\0")
        at = self.at
        content = b"".join(options)
        self.put(struct.pack("<HHIQ", 0, 0, text, len(content)) + content)
        self.file.seek(self._options_at)
        self.file.write(struct.pack("<Q", at))
        self.file.seek(self.at)

    def _string(self, text: bytes) -> int:
        place = len(self._strings)
        self._strings += text + b"\0"
        return place

    def _section(self, number: int, text: bytes, content: bytes) -> int:
        at = self.at
        name = len(self._strings) if number == _STRINGS else self._string(text)
        self.put(struct.pack("<HHIQ", number, 0, name, len(content)) + content)
        return at

    def _buffer(self, trace: Trace, wanted: Wanted | None) -> bytes:
        """The section with the pages of one instance; the option that leads to it."""
        at = self.at
        name = trace.array.name.encode("utf-8", "replace") + b"\0"
        self.put(struct.pack("<HHIQ", _BUFFER, 0, self._string(b"flyrecord"), 0))
        written = self.data(trace, wanted)
        self.file.seek(at + 8)
        self.file.write(struct.pack("<Q", self.at - at - 16))
        self.file.seek(self.at)
        parts = [struct.pack("<Q", at), name, self.clock(trace)]
        parts.append(struct.pack("<II", PAGE, len(written)))
        parts += [struct.pack("<IQQ", one.cpu, one.offset, one.size) for one in written]
        return b"".join(parts)


def kallsyms_text(prog: drgn.Program) -> bytes:
    """``/proc/kallsyms``: addresses, letters and names."""
    from postmortem.dump.selfdescribe import kallsyms_lines

    return "".join(kallsyms_lines(prog)).encode("utf-8", "replace")
