"""The whole way: an input to its reports.

Most of a log is not about reports. :class:`Reader` jumps from one line that may
begin a report to the next and parses only around those.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from postmortem.findings import Problem
from postmortem.log.headers import match_header
from postmortem.log.lines import records_of_line
from postmortem.log.link import link
from postmortem.log.needles import finder
from postmortem.log.parse import parse_section
from postmortem.log.report import Record, Report
from postmortem.log.source import Stream, open_source
from postmortem.log.split import Section, Splitter, split
from postmortem.log.wrappers import Wrapper, find_wrapper

BEFORE = 14
"""Lines before a header that may belong to it (``[ cut here ]``, the message of a WARN)."""
LINE_BYTES = 1 << 17
"""A longer line is cut: what follows counts as the same line."""
MAX_REPORTS = 100_000
"""Different reports kept of one input."""


@dataclass
class Boot:
    """One run of a kernel in the capture."""

    line: int
    release: str | None = None
    version: str | None = None
    kdump: bool = False
    """The kernel that only saves the dump."""
    offset: int | None = None
    """KASLR: how far the kernel was moved, bytes."""


@dataclass
class Scan:
    """What a log holds."""

    path: str
    reports: list[Report] = field(default_factory=list)
    boots: list[Boot] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    size: int = 0
    """Bytes read (after decompression)."""
    lines: int = 0


def reports_from_records(records: Iterable[Record], arch: str | None = None) -> list[Report]:
    """All reports in the messages of one kernel, causes linked to consequences.

    :param arch: architecture where it is known (``x86_64``, ``aarch64`` ...);
        else it is told from the registers.
    """
    sections = sorted(split(records), key=lambda section: section.records[0].line)
    return link(parse_section(section, arch) for section in sections)


def scan_file(path: str, arch: str | None = None) -> Scan:
    """All reports in a file, a pstore directory, or standard input (``-``).

    :raises UnreadableInputError: it can't be opened.
    """
    return scan_stream(open_source(path), arch)


def scan_bytes(data: bytes, path: str = "<bytes>", arch: str | None = None) -> Scan:
    """All reports in bytes."""
    return scan_stream(open_source(path, data), arch)


def scan_stream(stream: Stream, arch: str | None = None) -> Scan:
    """All reports in an opened input."""
    reader = Reader(stream)
    scan = Scan(stream.path)
    counted = _Counter()
    for section in reader.sections():
        counted.add(section, arch, reader.boots)
    scan.boots = reader.boots
    scan.reports = link(counted.reports())
    scan.size = reader.base + len(reader.data)
    scan.lines = reader.line
    scan.problems = [Problem(what, why) for what, why in stream.problems]
    if counted.dropped:
        scan.problems.append(Problem("keep all reports", f"{counted.dropped} more than {MAX_REPORTS}"))
    return scan


class _Counter:
    """Equal reports become one with a count, before they cost memory or parsing."""

    def __init__(self) -> None:
        self._kept: dict[int, Report] = {}
        self._index: dict[tuple[object, ...], int] = {}
        self.dropped = 0

    def add(self, section: Section, arch: str | None, boots: list[Boot]) -> None:
        boot = bisect_left([b.line for b in boots], section.records[0].line + 1) if boots else 0
        key = (boot, *fingerprint(section))
        known = self._index.get(key)
        if known is not None:
            report = self._kept[known]
            self._kept[known] = replace(report, count=report.count + 1)
            return
        if len(self._kept) >= MAX_REPORTS:
            self.dropped += 1
            return
        report = parse_section(section, arch)
        if boots and boot:
            report = _with_boot(report, boot, boots[boot - 1])
        self._index[key] = len(self._kept)
        self._kept[len(self._kept)] = report

    def reports(self) -> list[Report]:
        return sorted(self._kept.values(), key=lambda report: (report.line, report.end_line))


def _with_boot(report: Report, number: int, boot: Boot) -> Report:
    detail = {**report.detail, "boot": str(number)}
    if boot.kdump:
        detail["boot_of"] = "kdump kernel"
    return replace(report, detail=detail, release=report.release or boot.release)


_VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")


def fingerprint(section: Section) -> tuple[object, ...]:
    """What two reports have in common if they are the same thing said again."""
    header = section.records[section.at].text
    frames = [record.text for record in section.records if "+0x" in record.text]
    return (section.form.name, section.interrupted, len(frames), _VARIES.sub("#", header), _frames_hash(frames))


def _frames_hash(frames: list[str]) -> int:
    return hash(tuple(text[text.find("]") + 1:] if text.startswith("[<") else text for text in frames))


_LINUX = re.compile(r"Linux version (?P<release>\S+)")
_OFFSET = re.compile(r"Kernel Offset: 0x(?P<offset>[0-9a-f]+)")


class Reader:
    """Jumps through an input from one interesting line to the next.

    Holds a window of the input: ``data`` are the bytes from offset ``base`` on.
    """

    def __init__(self, stream: Stream) -> None:
        self._chunks = stream.chunks()
        self._numbers = stream.line_numbers
        self._find = finder()
        self._wrapper: Wrapper | None = None
        self._first = True
        self._end = False
        self.data = b""
        self.base = 0
        self.line = 1
        """Number of the line that begins at ``_counted``."""
        self._counted = 0
        self.boots: list[Boot] = []
        self._crashdump = False

    def sections(self) -> Iterator[Section]:
        """Reports in the order in which they end."""
        splitter = Splitter()
        position = 0  # in data; always at the start of a line
        hits: list[int] = []
        searched = False
        while True:
            if not searched:
                hits = self._find(self.data[:self._limit()])
                searched = True
            start = self._next(hits, position)
            if start is None:
                keep = self._back(self._limit(), BEFORE)
                if not self._more(max(keep, position)):
                    break
                position, searched = max(0, position - max(keep, position)), False
                continue
            if self._interesting(start):
                back = max(position, self._back(start, BEFORE))
                resume = start
                for record, after in self._records(back):
                    yield from splitter.feed(record)
                    resume = after
                    if after > start + self._shift and splitter.idle:
                        break
                position = resume
                if self._shift:
                    self._shift, searched = 0, False
            else:
                position = self._line_end(start) + 1
        yield from splitter.finish()

    # --- the window ---------------------------------------------------------------------

    _shift = 0

    def _limit(self) -> int:
        """Where the last whole line in the window ends."""
        if self._end:
            return len(self.data)
        return self.data.rfind(b"\n") + 1

    def _more(self, keep_from: int) -> bool:
        """Slide the window: drop what is before ``keep_from``, append what comes next."""
        if self._end:
            return False
        self._count_to(keep_from)
        kept = self.data[keep_from:]
        if len(kept) > LINE_BYTES and b"\n" not in kept[-LINE_BYTES:]:
            kept += b"\n"  # a line without end: cut it, so that it can't fill the memory
            self.line -= 1
        chunk = next(self._chunks, b"")
        if not chunk:
            self._end = True
        elif self._first:
            self._first = False
            self._wrapper = find_wrapper(chunk[:1 << 16])
        self.data = kept + chunk
        self.base += keep_from
        self._counted -= keep_from
        return True

    def _count_to(self, position: int) -> None:
        if position > self._counted:
            self.line += self.data.count(b"\n", self._counted, position)
            self._counted = position

    def _next(self, hits: list[int], position: int) -> int | None:
        index = bisect_left(hits, position)
        if index == len(hits):
            return None
        return self.data.rfind(b"\n", 0, hits[index]) + 1

    def _line_end(self, start: int) -> int:
        end = self.data.find(b"\n", start)
        return len(self.data) if end < 0 else end

    def _back(self, position: int, lines: int) -> int:
        for _ in range(lines):
            previous = self.data.rfind(b"\n", max(0, position - 4096), max(0, position - 1))
            if previous < 0:
                return max(0, position - 4096) if position > 4096 else 0
            position = previous + 1
        return position

    # --- lines ------------------------------------------------------------------------

    def _records(self, start: int) -> Iterator[tuple[Record, int]]:
        """Records from a line on, each with the offset behind its line (in the window)."""
        position = start
        while True:
            end = self.data.find(b"\n", position)
            if end < 0:
                if not self._end and self._more(position):
                    self._shift -= position
                    position = 0
                    continue
                end = len(self.data)
                if position >= end:
                    return
            self._count_to(position)
            raw = self.data[position:end]
            position = end + 1
            for record in self._unwrapped(raw):
                yield record, min(position, len(self.data))

    def _unwrapped(self, raw: bytes) -> Iterator[Record]:
        line: bytes | None = raw
        if self._wrapper is not None:
            line = self._wrapper(raw)
        if line is None:
            return
        number = self.line
        if self._numbers is not None:
            number = self._numbers[min(number, len(self._numbers)) - 1] if self._numbers else number
        for part in line.split(b"\n"):  # a message may have newlines inside a wrapper
            yield from records_of_line(part, number)

    def _interesting(self, start: int) -> bool:
        """Is this line a header? Notes on the way when another kernel begins."""
        self._count_to(start)
        raw = self.data[start:self._line_end(start)]
        found = False
        for record in self._unwrapped(raw):
            text = record.text.lstrip()
            if match_header(text) is not None or text.startswith("INFO: task "):
                found = True
            elif "Linux version " in text or text.startswith("Booting Linux on"):
                self._boot(record.line, text)
            elif "Starting crashdump kernel" in text:
                self._crashdump = True
            elif self.boots:
                offset = _OFFSET.search(text)
                if offset is not None:
                    self.boots[-1].offset = int(offset["offset"], 16)
        return found

    def _boot(self, line: int, text: str) -> None:
        match = _LINUX.search(text)
        if self.boots and self.boots[-1].release is None:
            boot = self.boots[-1]  # arm says "Booting Linux" first
        elif match is None or not self.boots or self.boots[-1].line != line:
            boot = Boot(line, kdump=self._crashdump)
            self._crashdump = False
            self.boots.append(boot)
        else:
            return
        if match is not None:
            boot.release, boot.version = match["release"], text[:300]
