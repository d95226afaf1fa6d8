"""A message of a driver, a file system or firmware as a report.

Which messages are failures is in :mod:`postmortem.rules.messages`. A disk that dies says
so a thousand times: :func:`same_event` tells which lines are one report with a count, and
:func:`settle` takes out what was mended later in the same boot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from postmortem.log.devices import by_number, devices_of, names_of
from postmortem.log.headers import Form
from postmortem.log.split import Section
from postmortem.model.findings import Kind, Severity
from postmortem.model.report import Report
from postmortem.rules.blame import signature
from postmortem.rules.messages import Layer, fields, row_of

MAX_TITLE = 120
LAST_SAID = "last_said"
"""Detail of a recovery that came more than once: its words on the line that is named."""
_GROUPS = ("device", "device2", "device3", "netdev")


def same_event(section: Section) -> tuple[object, ...]:
    """What two lines have in common if they are one failure said again."""
    match = section.header.match
    groups = match.groupdict()
    named = tuple(_named(section.form, groups))
    varies = groups.get("what") or "" if section.form.name in _BY_WHAT else ""
    return section.form.name, named or groups.get("number"), varies


def _named(form: Form, groups: Mapping[str, str | None]) -> list[str]:
    """What a message names as what it is about; of AER not the port that only tells of it."""
    named = [text for text in map(groups.get, _GROUPS) if text]
    return named[-1:] if form.name.startswith("aer") else named


_BY_WHAT = frozenset({"driver-error"})
"""Rows so wide that what was said tells one failure from another."""


def message_report(section: Section) -> Report:
    """The report of one line."""
    record = section.records[0]
    form = section.form
    detail = {k: v.strip() for k, v in section.header.match.groupdict().items() if v and v.strip()}
    if "what" in detail:
        detail["what"] = _whole_words(section.header.match, "what")
    if "driver2" in detail:
        detail.setdefault("driver", detail["driver2"])
    if form.name.startswith("gpu-"):
        detail.update(_client(section.header.match.string) if "by" not in detail else {})
    devices = about(form, detail, section.header.match[0])
    title = " ".join(form.title.format_map(fields(detail, devices)).split())
    return Report(
        kind=form.kind,
        title=title[:MAX_TITLE],
        line=record.line,
        end_line=record.line,
        text=(record.text,),
        time=record.time,
        clock=record.clock,
        detail=detail,
        form=form.name,
        devices=devices,
        signature=signature(form.kind, form.name, ()),
    )


_MAX_REST = 40
"""Characters of a word that are added."""


def _whole_words(match: re.Match[str], group: str) -> str:
    """What was said, to the end of its last word: rows take only so many characters."""
    text, end = match.string, match.end(group)
    if not 0 < end < len(text) or not (_IN_WORD.match(text[end]) and _IN_WORD.match(text[end - 1])):
        return match[group].strip()
    rest = _REST.match(text, end)
    stop = rest.end() if rest is not None else end
    more = "..." if text[stop:].strip(" .") else ""
    return text[match.start(group) : stop].strip() + more


_IN_WORD = re.compile(r"\w")
_REST = re.compile(rf"[\w'-]{{0,{_MAX_REST}}}")


_CLIENTS = (
    re.compile(r"for process (?P<by>.{1,32}?) pid (?P<pid>\d{1,9})\b"),  # amdgpu before v6.10
    re.compile(r"\bin (?P<by>\S.{0,31}?) ?\[(?P<pid>\d{1,9})\]"),  # i915, xe
    re.compile(r"\[[0-9a-f]{6,16} (?P<by>[^\[\]]{1,32})\[(?P<pid>\d{1,9})\]\]"),  # nouveau
)


def _client(text: str) -> dict[str, str]:
    """The process that a graphics driver names in the same line as what it did."""
    found = next(filter(None, (pattern.search(text) for pattern in _CLIENTS)), None)
    return found.groupdict() if found is not None else {}


def about(form: Form, detail: dict[str, str], text: str) -> tuple[str, ...]:
    """The devices that a report is about: those that its form names first."""
    row = row_of(form.name)
    named = _named(form, detail)
    if row is not None and row.scope:
        return tuple(f"{row.scope} {name}" for name in named)
    numbers = [by_number(detail[key]) for key in ("number", "path") if key in detail]
    if numbers and numbers[0] is not None and row is not None and "device-mapper" in row.text:
        numbers[0] = f"dm-{detail['number'].partition(':')[2]}" if "number" in detail else None
    if row is not None and row.layer < Layer.BLOCK and row.kind is not Kind.IO_ERROR and named:
        return tuple(dict.fromkeys(name for one in named for name in names_of(one)))
    found = devices_of(text, [*named, *filter(None, numbers)])
    if "host" in detail and row is not None:
        found = (*found, f"host{detail['host']}")
    return found or ((f"drbd {detail['resource']}",) if "resource" in detail else ())


def settle(reports: list[Report]) -> list[Report]:
    """Without the messages that only say that a failure is over: that failure carries them.

    ``detail["recovered"]`` is what was said, ``detail["recovered_line"]`` where.
    """
    if not any(settles(report.form) for report in reports):
        return reports
    found: list[Report] = []
    for report in reports:
        if adds(report.form):
            _add(report, found)
            continue
        if explains(report.form):
            _drop_explained(report, found)
        names = recovers(report.form)
        if not names:
            found.append(report)
            continue
        for index in range(len(found) - 1, -1, -1):
            before = found[index]
            if before.boot != report.boot:
                break
            if before.form in names and _ends(report, before) and _all_of(report, before):
                found[index] = _ended(before, report)
                _end_below(found, index, report)
        if is_told(report.form):
            found.append(report)
    return [_still_failed(report, found) for report in found]


def _all_of(report: Report, before: Report) -> bool:
    """Whether so much was mended as had failed; md tells of each that it could not."""
    return report.form != "btrfs-mended" or report.count >= before.count


def _ended(before: Report, report: Report) -> Report:
    """A failure with the word of its recovery."""
    detail = {
        **before.detail,
        "recovered": report.detail.get(LAST_SAID, report.text[0])[:200],
        "recovered_line": str(report.last_line or report.line),
    }
    return replace(before, detail=detail)


_UNDER = 30.0
"""Seconds, and lines, between what an ATA port says and the failed request of its disk."""


def _end_below(found: list[Report], index: int, report: Report) -> None:
    """What was mended for the array is mended at the port, too, which names no disk.

    libata tells of an error right before the request fails; of two ports that did, neither
    is known to be the disk's.
    """
    failed = found[index]
    if not is_told(report.form) or failed.form not in ("io-error", "scsi-sense"):
        return
    ports: dict[str, list[int]] = {}
    for number in range(index - 1, max(-1, index - _AGAIN_LINES), -1):
        other = found[number]
        if other.boot != failed.boot or failed.line - (other.last_line or other.line) > _UNDER:
            break
        if other.form.startswith("ata-") and _apart(other, failed) <= _UNDER:
            ports.setdefault(" ".join(other.devices), []).append(number)
    if len(ports) == 1:
        for number in next(iter(ports.values())):
            found[number] = _ended(found[number], report)


def _apart(earlier: Report, later: Report) -> float:
    """Seconds between two reports; 0 where no times are known."""
    for first, second in (
        (earlier.last_time or earlier.time, later.time),
        (earlier.last_clock or earlier.clock, later.clock),
    ):
        if first is not None and second is not None:
            return abs(second - first)
    return 0.0


def _drop_explained(report: Report, found: list[Report]) -> None:
    """Take out the general word of a failure, where all of it is said more exactly here."""
    for index in range(len(found) - 1, max(-1, len(found) - _AT_ONCE), -1):
        before = found[index]
        if before.form in explains(report.form) and set(before.devices) & set(report.devices):
            near = report.line - before.line <= _AT_ONCE and before.boot == report.boot
            if near and before.count <= report.count:
                del found[index]
            return


_AT_ONCE = 12
"""Lines between a message and one that says more of it."""
_AGAIN = 60.0
"""Seconds in which a device that came back fails anew if it did not really."""
_AGAIN_LINES = 100


def _add(report: Report, found: list[Report]) -> None:
    """Give the details of a line to the report that it belongs to."""
    for index in range(len(found) - 1, -1, -1):
        before = found[index]
        if before.form in adds(report.form) and _same(before, report):
            near = report.line - before.line <= _AT_ONCE and before.boot == report.boot
            if near:
                found[index] = replace(before, detail={**report.detail, **before.detail})
            return


def _same(before: Report, report: Report) -> bool:
    """Of one device; where one of the two names none, of one driver."""
    if before.devices and report.devices:
        return not set(before.devices).isdisjoint(report.devices)
    driver = report.detail.get("driver", "")
    return bool(driver) and before.detail.get("driver") == driver


def _still_failed(report: Report, reports: list[Report]) -> Report:
    """Without the word of a recovery that the next failure of the device belies."""
    line = report.detail.get("recovered_line", "")
    if not line:
        return report
    for later in reports:
        if later.line <= int(line) or later.boot != report.boot:
            continue
        row = row_of(later.form, later.text)
        worse = row is not None and row.severity is Severity.ERROR
        if worse and set(later.devices) & set(report.devices) and _soon(report, later, int(line)):
            gone = ("recovered", "recovered_line")
            return replace(report, detail={k: v for k, v in report.detail.items() if k not in gone})
    return report


def _soon(report: Report, later: Report, line: int) -> bool:
    for first, second in (
        (report.last_time or report.time, later.time),
        (report.clock, later.clock),
    ):
        if first is not None and second is not None:
            return second - first <= _AGAIN
    return later.line - line <= _AGAIN_LINES


def settles(form: str) -> bool:
    """Whether a message changes what is known of reports before it."""
    return bool(adds(form) or recovers(form) or explains(form))


def explains(form: str) -> tuple[str, ...]:
    """Names of the forms that a message takes the place of."""
    row = row_of(form)
    return row.explains if row is not None else ()


def is_told(form: str) -> bool:
    """Whether a message that ends failures is also news of its own."""
    row = row_of(form)
    return row is not None and bool(row.title)


def adds(form: str) -> tuple[str, ...]:
    """Names of the forms whose reports a message says more of."""
    row = row_of(form)
    return row.adds if row is not None else ()


def recovers(form: str) -> tuple[str, ...]:
    """Names of the forms whose failures a message ends."""
    row = row_of(form)
    return row.recovers if row is not None else ()


def _ends(report: Report, before: Report) -> bool:
    """Whether the last word is the recovery's, and about the same device."""
    last = report.last_line or report.line
    if last <= (before.last_line or before.line):
        return False
    same = not before.devices or not set(before.devices).isdisjoint(report.devices)
    return same or not report.devices
