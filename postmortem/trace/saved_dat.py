"""A ``trace.dat`` as input: what trace-cmd recorded, or what this tool wrote out of a dump.

Formats: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5). All of it comes from a stranger: sizes are
held against the file before anything is read, chunks are unpacked up to what they claim and a
limit, and what makes no sense ends in one sentence.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from postmortem.errors import UnreadableInputError
from postmortem.trace.buffers import Buffer, Stats, TraceArray
from postmortem.trace.environment import Cmdlines
from postmortem.trace.formats import EventFormat, Field, Formats
from postmortem.trace.graph import Graph
from postmortem.trace.pages import COMMIT_MASK, Place, decode
from postmortem.trace.printers import Options, Printers
from postmortem.trace.text import Flags, Trace

MAGIC = b"\x17\x08\x44tracing"
_MAX_SECTION = 512 << 20
_MAX_TEXT = 16 << 20
_MAX_EVENTS = 65536
_MAX_OPTIONS = 4096
_MAX_CPUS = 8192
_MAX_PAGE = 4 << 20
_MAX_STRING = 4096
_DONE, _CPUSTAT, _BUFFER, _CLOCK, _CPUCOUNT = 0, 2, 3, 4, 8
_HEADER_INFO, _FTRACE_EVENTS, _EVENT_FORMATS, _KALLSYMS, _PRINTK, _CMDLINES = range(16, 22)
_COMPRESSED = 1
_FIELD = re.compile(
    r"\tfield:\s*(?P<decl>[^;]{1,400});\s*offset:(?P<offset>\d{1,6});\s*size:(?P<size>\d{1,6});"
    r"(?:\s*signed:(?P<signed>\d))?"
)
_CLOCKS_NOT_IN_NS = frozenset({"counter", "x86-tsc", "ppc-tb"})


class _Bits:
    """Bits of ``enum trace_flag_type``, which every kernel since v2.6.31 shares."""

    @staticmethod
    def constant(name: str) -> int:
        known = {
            "TRACE_FLAG_IRQS_OFF": 0x01,
            "TRACE_FLAG_NEED_RESCHED_LAZY": 0x02,
            "TRACE_FLAG_NEED_RESCHED": 0x04,
            "TRACE_FLAG_HARDIRQ": 0x08,
            "TRACE_FLAG_SOFTIRQ": 0x10,
            "TRACE_FLAG_PREEMPT_RESCHED": 0x20,
            "TRACE_FLAG_NMI": 0x40,
            "TRACE_FLAG_BH_OFF": 0x80,
        }
        return known[name]


class _SavedFlags(Flags):
    def __init__(self) -> None:
        super().__init__(cast(Any, _Bits), two=True)


_NO_STATS = Stats(0, 0, 0, 0, 0, 0, 0, 0)


@dataclass
class SavedCpu:
    """The pages of one CPU."""

    reader: _Reader
    cpu: int
    offset: int
    size: int
    page: int
    compressed: bool = False
    problems: list[str] = field(default_factory=list)
    stats: Stats = _NO_STATS

    def _pages(self) -> Iterator[bytes]:
        if self.compressed:
            data = self.reader.chunks(self.offset, self.size)
            for at in range(0, len(data), self.page):
                yield data[at : at + self.page]
            return
        for at in range(0, self.size, self.page):
            yield self.reader.read(self.offset + at, min(self.page, self.size - at))

    def batches(self, tail: int | None = None) -> Iterator[tuple[bytes, list[Place]]]:
        """Data and events of each page, oldest first."""
        pages = list(self._pages())[-tail:] if tail else self._pages()
        for number, raw in enumerate(pages):
            if len(raw) < 16:
                continue
            stamp, commit = struct.unpack_from("<QQ", raw)
            found = decode(raw[16:], commit & COMMIT_MASK, stamp)
            if found.torn:
                self.problems.append(f"CPU {self.cpu}: page {number} is torn: {found.torn}")
            if found.events:
                yield raw[16:], found.events


@dataclass
class _SavedBuffer:
    cpus: tuple[SavedCpu, ...]
    time_start: int = 0
    cpu: int = 0


@dataclass
class _SavedArray:
    """What a :class:`Trace` asks its instance."""

    name: str
    clock: str
    main: _SavedBuffer
    tracer: str = "nop"
    snapshot: None = None

    @property
    def shown(self) -> _SavedBuffer:
        return self.main

    @property
    def in_ns(self) -> bool:
        return self.clock not in _CLOCKS_NOT_IN_NS

    def option(self, name: str) -> bool:
        return name in ("print-parent", "context-info", "irq-info", "annotate")

    def taken(self) -> int:
        return 0


class _SavedEnvironment:
    """Symbols and strings that the file has beside the events."""

    hash_pointers = False

    def __init__(self, symbols: list[tuple[int, str]], strings: dict[int, str]) -> None:
        self._starts = [address for address, _ in symbols]
        self._names = [name for _, name in symbols]
        self._strings = strings

    def constant(self, _name: str) -> int | None:
        return None

    def size(self, _name: str) -> int | None:
        return None

    def type_size(self, name: str) -> tuple[int, bool] | None:
        return _SIZES.get(name)

    def string(self, address: int) -> str:
        return self._strings.get(address, f"{address:#x}")

    def symbol(self, address: int, offset: bool) -> str:
        from bisect import bisect_right

        at = bisect_right(self._starts, address) - 1
        if at < 0 or address - self._starts[at] > 1 << 20:
            return f"{address:#x}"
        name, _, module = self._names[at].partition("\t")
        text = f"{name}+{address - self._starts[at]:#x}" if offset else name
        return f"{text} {module}" if module else text

    def pointer(self, address: int) -> str:
        return f"{address:016x}"


_SIZES = {
    "u8": (1, False), "u16": (2, False), "u32": (4, False), "u64": (8, False), "s8": (1, True),
    "s16": (2, True), "s32": (4, True), "s64": (8, True), "pid_t": (4, True), "gfp_t": (4, False),
    "dev_t": (4, False), "sector_t": (8, False), "ino_t": (8, False), "size_t": (8, False),
    "uid_t": (4, False), "gid_t": (4, False), "loff_t": (8, True), "bool": (1, False),
    "umode_t": (2, False), "ssize_t": (8, True), "uint32_t": (4, False), "uint64_t": (8, False),
}  # fmt: skip


class SavedTrace(Trace):
    """One instance of a file, with all that a trace of a dump can be asked."""

    def __init__(self, array: _SavedArray, file: _File) -> None:
        self.prog = cast(Any, None)
        self.array = cast(TraceArray, array)
        self.buffer = cast(Buffer, array.main)
        self.latency = False
        self.cmdlines = Cmdlines(file.comms)
        self.env = cast(Any, _SavedEnvironment(file.symbols, file.strings))
        self.formats = file.formats()
        self.printers = Printers(
            self.formats, self.env, Options(), comm=self.cmdlines.comm, in_ns=array.in_ns
        )
        self.flags = _SavedFlags()
        self._graph: Graph | None = None

    def _wide(self) -> bool:
        return True

    def header(self, wanted: Any = None) -> Iterator[str]:
        """What trace-cmd report begins with."""
        yield f"cpus={len(self.array.main.cpus)}\n"


@dataclass
class _File:
    """All that stands in the file."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    """System and format file of each event."""
    symbols: list[tuple[int, str]] = field(default_factory=list)
    strings: dict[int, str] = field(default_factory=dict)
    comms: dict[int, str] = field(default_factory=dict)
    clock: str = "local"
    arrays: list[_SavedArray] = field(default_factory=list)

    def formats(self) -> Formats:
        found = [one for system, text in self.texts if (one := parsed_format(system, text))]
        common = next(
            (tuple(f for f in one.fields if f.name.startswith("common_")) for one in found), ()
        )
        return Formats(common, {one.id: partial(_same, one) for one in found})


def _same(one: EventFormat) -> EventFormat:
    return one


def parsed_format(system: str, text: str) -> EventFormat | None:
    """An event's ``format`` file; ``None`` if it is none."""
    name = re.search(r"^name: (.{1,200})$", text, re.M)
    number = re.search(r"^ID: (\d{1,9})$", text, re.M)
    if name is None or number is None:
        return None
    fields = tuple(
        _field(match) for line in text.splitlines() if (match := _FIELD.match(line)) is not None
    )
    print_fmt = text.partition("\nprint fmt: ")[2].strip()
    return EventFormat(int(number[1]), system, name[1].strip(), fields, print_fmt)


def _field(match: re.Match[str]) -> Field:
    declaration = match["decl"].strip()
    kind, _, name = declaration.rpartition(" ")
    bare, bracket, length = name.partition("[")
    if bracket and not kind.startswith(("__data_loc", "__rel_loc")):
        kind = f"{kind}[{length}"
    return Field(
        bare.lstrip("*"),
        kind,
        int(match["offset"]),
        int(match["size"]),
        match["signed"] == "1",
    )


class _Reader:
    """Bytes of the file, never more than there are."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._size = file.seek(0, 2)
        self.at = 0
        self.compression = "none"

    def fail(self, why: str) -> UnreadableInputError:
        return UnreadableInputError(f"{self._path.name}: {why}")

    def read(self, at: int, size: int) -> bytes:
        if size < 0 or at < 0 or at + size > self._size:
            raise self.fail(f"{size} bytes at {at} reach behind its end: it is cut off or damaged")
        self._file.seek(at)
        return self._file.read(size)

    def take(self, size: int) -> bytes:
        if size > _MAX_SECTION:
            raise self.fail(f"a part of {size} bytes is larger than any can be")
        found = self.read(self.at, size)
        self.at += size
        return found

    def number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0])

    def string(self, most: int = _MAX_STRING) -> bytes:
        rest = self.read(self.at, min(most, self._size - self.at))
        text, end, _ = rest.partition(b"\0")
        if not end:
            raise self.fail(f"a name at {self.at} has no end")
        self.at += len(text) + 1
        return text

    def chunks(self, at: int, size: int) -> bytes:
        """Unpack a compressed block: a count, then sizes and bytes of each chunk."""
        raw = self.read(at, size)
        if len(raw) < 4:
            return b""
        (count,) = struct.unpack_from("<I", raw)
        place, parts, total = 4, [], 0
        for _ in range(count):
            if place + 8 > len(raw):
                raise self.fail("a compressed part breaks off")
            packed, plain = struct.unpack_from("<II", raw, place)
            place += 8
            total += plain
            if total > _MAX_SECTION or place + packed > len(raw):
                raise self.fail("a compressed part claims more than there can be")
            parts.append(self._unpacked(raw[place : place + packed], plain))
            place += packed
        return b"".join(parts)

    def _unpacked(self, data: bytes, size: int) -> bytes:
        try:
            if self.compression.startswith("zstd"):
                import zstandard

                return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
            if self.compression.startswith("zlib"):
                return zlib.decompressobj().decompress(data, size)
        except Exception as exc:
            raise self.fail(f"a compressed part can't be unpacked: {exc}") from exc
        raise self.fail(f"its compression {self.compression!r} is not known")


def is_dat(path: Path) -> bool:
    """Whether a file begins as a ``trace.dat`` does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def saved_traces(file: IO[bytes], path: Path) -> list[SavedTrace]:
    """Every instance in the file, the main one first.

    :param file: Stays open as long as the traces are used.
    :raises postmortem.errors.UnreadableInputError: it makes no sense.
    """
    reader = _Reader(file, path)
    if reader.take(len(MAGIC)) != MAGIC:
        raise reader.fail("it is no trace.dat")
    version = reader.string(16)
    big, long_size, page = struct.unpack("<BBI", reader.take(6))
    if big or long_size != 8:
        raise reader.fail("it is of a big-endian or 32-bit machine, which is not read yet")
    if not 4096 <= page <= _MAX_PAGE:
        raise reader.fail(f"pages of {page} bytes are none")
    if version == b"6":
        found = _version6(reader, page)
    elif version == b"7":
        found = _version7(reader, page)
    else:
        raise reader.fail(f"its version {version[:8].decode('ascii', 'replace')!r} is not known")
    return [SavedTrace(array, found) for array in found.arrays]


# --- what both versions have


def _header_info(reader: _Reader) -> None:
    for name in (b"header_page", b"header_event"):
        if reader.string(32) != name:
            raise reader.fail("its header does not say how pages look")
        reader.take(reader.number("Q"))


def _ftrace_events(reader: _Reader, found: _File) -> None:
    for _ in range(min(reader.number("I"), _MAX_EVENTS)):
        found.texts.append(("ftrace", _sized(reader)))


def _event_formats(reader: _Reader, found: _File) -> None:
    for _ in range(min(reader.number("I"), _MAX_EVENTS)):
        system = reader.string().decode("utf-8", "replace")
        for _ in range(min(reader.number("I"), _MAX_EVENTS)):
            found.texts.append((system, _sized(reader)))


def _sized(reader: _Reader, code: str = "Q") -> str:
    size = reader.number(code)
    if size > _MAX_TEXT * 4:
        raise reader.fail(f"a text of {size} bytes is none")
    return reader.take(size).decode("utf-8", "replace")


def _kallsyms(text: str, found: _File) -> None:
    for line in text.splitlines():
        parts = line.split(None, 2)
        if len(parts) == 3 and len(parts[0]) <= 16:
            try:
                found.symbols.append((int(parts[0], 16), parts[2]))
            except ValueError:
                continue
    found.symbols.sort(key=lambda pair: pair[0])


def _printk(text: str, found: _File) -> None:
    for line in text.splitlines():
        address, colon, rest = line.partition(" : ")
        try:
            number = int(address, 16)
        except ValueError:
            continue
        if colon:
            said = rest.strip().removeprefix('"').removesuffix('"')
            found.strings[number] = said.replace("\\n", "\n").replace("\\t", "\t")


def _cmdlines(text: str, found: _File) -> None:
    for line in text.splitlines():
        pid, _, comm = line.partition(" ")
        if pid.isdigit() and len(pid) < 11:
            found.comms[int(pid)] = comm[:64]


def _clock(data: bytes) -> str:
    text = data.partition(b"\0")[0].decode("ascii", "replace")
    chosen = re.search(r"\[([\w-]{1,32})\]", text)
    return chosen[1] if chosen else text.strip()[:32] or "local"


# --- version 6


def _version6(reader: _Reader, page: int) -> _File:
    found = _File()
    _header_info(reader)
    _ftrace_events(reader, found)
    _event_formats(reader, found)
    _kallsyms(_sized(reader, "I"), found)
    _printk(_sized(reader, "I"), found)
    _cmdlines(_sized(reader), found)
    count = reader.number("I")
    if count > _MAX_CPUS:
        raise reader.fail(f"{count} CPUs are too many")
    kind = reader.take(10)
    buffers: list[tuple[int, str]] = []
    if kind == b"options  \0":
        for _ in range(_MAX_OPTIONS):
            number = reader.number("H")
            if number == _DONE:
                break
            data = reader.take(reader.number("I"))
            if number == _CLOCK:
                found.clock = _clock(data)
            elif number == _BUFFER and len(data) > 8:
                name = data[8:].partition(b"\0")[0].decode("utf-8", "replace")
                buffers.append((struct.unpack_from("<Q", data)[0], name))
        kind = reader.take(10)
    if kind == b"latency  \0":
        raise reader.fail("it holds the text of a latency tracer, not events")
    if kind != b"flyrecord\0":
        raise reader.fail("its events are not where they belong")
    found.arrays.append(_array6(reader, "", found.clock, count, page))
    for at, name in buffers:
        reader.at = at
        if reader.take(10) != b"flyrecord\0":
            raise reader.fail(f"the events of the instance {name} are not where they belong")
        found.arrays.append(_array6(reader, name, found.clock, count, page))
    return found


def _array6(reader: _Reader, name: str, clock: str, count: int, page: int) -> _SavedArray:
    cpus = []
    for cpu in range(count):
        offset, size = struct.unpack("<QQ", reader.take(16))
        if size:
            cpus.append(SavedCpu(reader, cpu, offset, size, page))
    return _SavedArray(name, clock, _SavedBuffer(tuple(cpus)))


# --- version 7


def _version7(reader: _Reader, page: int) -> _File:
    found = _File()
    reader.compression = reader.string(64).decode("ascii", "replace")
    reader.string(64)
    at = reader.number("Q")
    options: list[tuple[int, bytes]] = []
    for _ in range(64):
        if not at:
            break
        content = _Reader(_memory(_section(reader, at)[1]), Path(reader._path))
        at = 0
        for _ in range(_MAX_OPTIONS):
            number, size = struct.unpack("<HI", content.take(6))
            data = content.take(size)
            if number == _DONE:
                at = int(struct.unpack("<Q", data)[0]) if len(data) == 8 else 0
                break
            options.append((number, data))
    for number, data in options:
        if number == _CLOCK:
            found.clock = _clock(data)
        elif number in _PARTS and len(data) >= 8:
            where = struct.unpack_from("<Q", data)[0]
            part = _Reader(_memory(_section(reader, where)[1]), reader._path)
            _PARTS[number](part, found)
    for number, data in options:
        if number == _BUFFER:
            array = _array7(reader, data, page)
            (found.arrays.insert(0, array) if not array.name else found.arrays.append(array))
    if not found.arrays:
        raise reader.fail("it has no events")
    return found


def _memory(data: bytes) -> IO[bytes]:
    from io import BytesIO

    return BytesIO(data)


def _section(reader: _Reader, at: int) -> tuple[bool, bytes]:
    """Whether a section is compressed, and what is in it."""
    reader.at = at
    _number, flags, _name, size = struct.unpack("<HHIQ", reader.take(16))
    if size > _MAX_SECTION:
        raise reader.fail(f"a section of {size} bytes is larger than any can be")
    if flags & _COMPRESSED:
        return True, reader.chunks(reader.at, size)
    return False, reader.take(size)


def _array7(reader: _Reader, data: bytes, page: int) -> _SavedArray:
    option = _Reader(_memory(data), reader._path)
    at = option.number("Q")
    name = option.string().decode("utf-8", "replace")
    clock = _clock(option.string())
    page = option.number("I") or page
    if not 4096 <= page <= _MAX_PAGE:
        raise reader.fail(f"pages of {page} bytes are none")
    (flags,) = struct.unpack_from("<H", reader.read(at, 4), 2)
    cpus = []
    for _ in range(min(option.number("I"), _MAX_CPUS)):
        cpu, offset, size = struct.unpack("<IQQ", option.take(20))
        if size:
            cpus.append(SavedCpu(reader, cpu, offset, size, page, bool(flags & _COMPRESSED)))
    return _SavedArray(name, clock, _SavedBuffer(tuple(cpus)))


_PARTS: dict[int, Any] = {
    _HEADER_INFO: lambda reader, found: _header_info(reader),
    _FTRACE_EVENTS: _ftrace_events,
    _EVENT_FORMATS: _event_formats,
    _KALLSYMS: lambda reader, found: _kallsyms(_sized(reader, "I"), found),
    _PRINTK: lambda reader, found: _printk(_sized(reader, "I"), found),
    _CMDLINES: lambda reader, found: _cmdlines(_sized(reader), found),
}
