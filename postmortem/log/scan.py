"""The whole way: an input to its reports.

Reading is in :mod:`postmortem.log.reader`, what a report is in
:mod:`postmortem.log.headers`; here equal reports are counted and causes linked.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from postmortem.inputs.text import Stream, open_source
from postmortem.log.blocked import LoggedTask, TaskLists
from postmortem.log.boots import Boot, Clock, no_returns
from postmortem.log.devices import Relations
from postmortem.log.frames import is_frame, raw_frame
from postmortem.log.link import link
from postmortem.log.messages import LAST_SAID, adds, is_told, recovers, same_event, settle
from postmortem.log.needles import with_phrases
from postmortem.log.parse import parse_section, says_something
from postmortem.log.reader import Reader
from postmortem.log.split import Section, split
from postmortem.model.findings import Problem
from postmortem.model.report import Record, Report

MAX_REPORTS = 100_000
"""Different reports kept of one input."""

MANY_REPORTS = 1_000
"""From here on reports are kept without what only a person reads: memory is bounded."""


@dataclass
class Scan:
    """What a log holds."""

    path: str
    reports: list[Report] = field(default_factory=list)
    boots: list[Boot] = field(default_factory=list)
    head: Boot = field(default_factory=lambda: Boot(1))
    """What comes before the first banner."""
    problems: list[Problem] = field(default_factory=list)
    size: int = 0
    """Bytes read (after decompression)."""
    tasks: list[LoggedTask] = field(default_factory=list)
    """Tasks that lists in the log show (sysrq t and w, lockdep), if they were asked for."""
    end: Record | None = None
    """The last message."""
    quoted: bool = False
    """It is somebody's text (a mail, documentation) with messages of a kernel in it."""
    shows_kernel: bool = False
    """Some line is shown as messages of the kernel are: it is a kernel log."""


def reports_from_records(records: Iterable[Record], arch: str | None = None) -> list[Report]:
    """All reports in the messages of one kernel, causes linked to consequences.

    :param arch: architecture where it is known (``x86_64``, ``aarch64`` ...);
        else it is told from the registers.
    """
    messages = list(records)
    phrases = with_phrases(messages)
    sections = sorted(split(messages, phrases), key=lambda section: section.order)
    counted = _Counter(merge=False)
    for section in sections:
        counted.add(section, arch)
    relations = Relations()
    for index in sorted(phrases):
        relations.note(messages[index].text)
    return link(_placed(counted.reports(), [relations]))


def scan_file(path: str, arch: str | None = None, *, tasks: bool = False) -> Scan:
    """All reports in a file, a pstore directory, or standard input (``-``).

    :param tasks: the tasks that lists in it show as well.
    :raises UnreadableInputError: it can't be opened.
    """
    return scan_stream(open_source(path), arch, tasks=tasks)


def scan_bytes(data: bytes, path: str = "<bytes>", arch: str | None = None) -> Scan:
    """All reports in bytes."""
    return scan_stream(open_source(path, data), arch)


def scan_stream(stream: Stream, arch: str | None = None, *, tasks: bool = False) -> Scan:
    """All reports in an opened input."""
    lists = TaskLists() if tasks else None
    reader = Reader(stream, lists)
    scan = Scan(stream.path)
    counted = _Counter(head=reader.head)
    for section in reader.sections():
        counted.add(section, arch, reader.boots)
    scan.boots, scan.head = reader.boots, reader.head
    known = [reader.head, *reader.boots]
    reports = _placed(counted.reports(), [boot.relations for boot in known])
    lost = no_returns(known, reports)
    if lost:
        reports = sorted([*reports, *lost], key=lambda report: report.line)
    scan.reports = link(reports)
    scan.tasks = lists.tasks if lists is not None else []
    scan.size, scan.end = reader.size, reader.last_record()
    known[-1].end = scan.end.time if scan.end is not None else None
    scan.shows_kernel, scan.quoted = reader.shows_kernel, reader.quoted
    scan.problems = [Problem(what, why) for what, why in stream.problems]
    if counted.dropped:
        scan.problems.append(
            Problem("keep all reports", f"{counted.dropped} more than {MAX_REPORTS}")
        )
    return scan


def _placed(reports: list[Report], relations: Sequence[Relations]) -> list[Report]:
    """The reports with what their devices hang on, as the log of their boot says."""
    found = []
    for report in reports:
        above = relations[report.boot].above(report.devices) if report.devices else ()
        found.append(replace(report, above=above) if above else report)
    return found


SILENCE = 3600.0
"""Seconds after which the same message is another event."""
_MAX_SPELLS = 8


def _seconds(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


class _Counter:
    """Equal reports become one with a count, before they cost memory or parsing."""

    def __init__(self, merge: bool = True, head: Boot | None = None) -> None:
        """
        :param head: what comes before the first banner.
        """
        self._head = head or Boot(1)
        self._merge = merge
        """Also those with a stack; else only what is said in one line."""
        self._kept: list[Report] = []
        self._forms: set[str] = set()
        """Names of the forms of those kept."""
        self._orders: list[int] = []
        self._counts: list[int] = []
        self._words: list[int] = []
        """The first of each, word by word."""
        self._last: list[Record] = []
        self._index: dict[tuple[object, ...], int] = {}
        self._clock = Clock()
        self._spells: dict[tuple[object, ...], int] = {}
        """How often each came back after a long silence."""
        self.dropped = 0

    def add(self, section: Section, arch: str | None, boots: list[Boot] | None = None) -> None:
        """
        :param boots: the boots so far; ``None`` if all is of one kernel.
        """
        ends = recovers(section.form.name) or adds(section.form.name)
        if ends and self._forms.isdisjoint(ends) and not is_told(section.form.name):
            return  # nothing failed that it could end
        boot = self._boot_of(section, boots) if boots is not None else 0
        key = (boot, *fingerprint(section))
        known = self._index.get(key) if self._merge or section.form.single else None
        if known is not None and section.form.single and self._is_another(known, key, section):
            known = None
        if known is not None and self._is_replay(known, section):
            return
        if known is not None:
            self._counts[known] += 1
            self._last[known] = section.records[0]
            return
        if len(self._kept) >= MAX_REPORTS:
            self.dropped += 1
            return
        report = parse_section(section, arch)
        if not says_something(report):
            return
        if boots and boot:
            report = _with_boot(report, boot, boots[boot - 1])
        if len(self._kept) > MANY_REPORTS:
            report = replace(report, text=report.text[:20], before=(), stacks=(), modules=())
        self._index[key] = len(self._kept)
        self._forms.add(section.form.name)
        self._kept.append(report)
        self._orders.append(section.order)
        self._counts.append(1)
        self._words.append(_words(section))
        self._last.append(section.records[0])

    def _is_another(self, known: int, key: tuple[object, ...], section: Section) -> bool:
        """Whether what was silent for so long is no longer the same event.

        A disk that complained yesterday and dies today fails twice; which of the two another
        failure comes from is told by the time.
        """
        if self._spells.get(key, 1) >= _MAX_SPELLS:
            return False
        before, now = self._last[known], section.records[0]
        apart = _seconds(before.time, now.time)
        if apart is None:
            apart = _seconds(before.clock, now.clock)
        if apart is None or apart < SILENCE:
            return False
        self._spells[key] = self._spells.get(key, 1) + 1
        return True

    def _is_replay(self, known: int, section: Section) -> bool:
        """Is it the same report printed once more, to a console that came later?"""
        if section.form.single or section.records[0].time is None:
            return False
        return _words(section) == self._words[known]

    def _boot_of(self, section: Section, boots: list[Boot]) -> int:
        """Number of the boot of a report; one that only the clock tells is new in ``boots``."""
        start = section.records[0]
        number = bisect_right(boots, start.line, key=lambda boot: boot.line)
        before = boots[number - 1] if number else None
        if not self._clock.restarts(before, start.time):
            return number
        # Its devices were noted for the boot before.
        relations = before.relations if before is not None else self._head.relations
        boots.insert(number, Boot(start.line, relations=relations))
        return number + 1

    def reports(self) -> list[Report]:
        """In the order in which they began, those that were mended marked as such."""
        by_order = sorted(range(len(self._kept)), key=self._orders.__getitem__)
        return settle(_on_one_clock([self._counted(index) for index in by_order]))

    def _counted(self, index: int) -> Report:
        report, count = self._kept[index], self._counts[index]
        if count == 1:
            return report
        last = self._last[index]
        if recovers(report.form):
            report = replace(report, detail={**report.detail, LAST_SAID: last.text})
        return replace(
            report, count=count, last_line=last.line, last_time=last.time, last_clock=last.clock
        )


_DAY = 86400.0
_SHORTEST = 28
"""Days of a month."""
_BACK = 15 * _DAY
"""Seconds that a clock goes back only because another month begins."""


def _month(before: float) -> float:
    """Seconds of a month that has the day of a clock; where that is not known, the fewest."""
    return max(_SHORTEST, before // _DAY) * _DAY


def _on_one_clock(reports: list[Report]) -> list[Report]:
    """With the loggers' own times going on where a month ends.

    Where printk's own times are known, those of loggers are left out.
    """
    if any(report.time is not None for report in reports):
        return [
            report
            if report.clock is report.last_clock is None
            else replace(report, clock=None, last_clock=None)
            for report in reports
        ]
    found: list[Report] = []
    months, before = 0.0, 0.0
    for report in reports:
        if report.clock is None:
            found.append(report)
            continue
        months += _month(before) if report.clock < before - _BACK else 0.0
        before, last = report.clock, report.last_clock
        if last is not None:
            last += months + (_month(report.clock) if last < report.clock - _BACK else 0.0)
        found.append(replace(report, clock=report.clock + months, last_clock=last))
    return found


def _with_boot(report: Report, number: int, boot: Boot) -> Report:
    detail = {**report.detail, "boot": str(number)}
    if boot.kdump:
        detail["boot_of"] = "kdump kernel"
    return replace(report, detail=detail, boot=number, release=report.release or boot.release)


_VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")


def _is_call(text: str) -> bool:
    if "+0x" in text:
        return True
    return (":" in text or "#" in text) and is_frame(text.lstrip())


def fingerprint(section: Section) -> tuple[object, ...]:
    """What two reports have in common if they are the same thing said again."""
    if section.form.single:
        return same_event(section)
    header = section.records[section.at].text
    if section.form.find == "hang":  # another task that hangs is another report
        groups = section.header.match.groupdict()
        header = f"{groups.get('by')}:{groups.get('pid')} "
        return (section.form.name, header)
    texts = [r.text for r in section.records if _is_call(r.text)]
    frames = [text for text in map(raw_frame, texts) if text]
    return (
        section.form.name,
        len(frames),
        _VARIES.sub("#", raw_frame(header)),
        _frames_hash(frames),
    )


def _words(section: Section) -> int:
    """All that a report says, with the times at which it does."""
    return hash(tuple((record.time, record.text) for record in section.records))


def _frames_hash(frames: list[str]) -> int:
    return hash(
        tuple(text[text.find("]") + 1 :] if text.startswith("[<") else text for text in frames)
    )
