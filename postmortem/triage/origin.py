"""Which machine a case is of and when it was: by the dump, the lines of a log, names of files.

What nothing proves is unknown: a host that two machines' lines in one file could mean is none.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postmortem.inputs.compressed import detect
from postmortem.model.report import Record, Report
from postmortem.model.result import Analysis
from postmortem.triage.model import storable

_HEAD_BYTES = 4 << 20
"""Of a log that are read once more for what no report tells: messages one by one would cost more
than finding the reports did."""


@dataclass(frozen=True)
class Origin:
    """Where and when."""

    host: str | None
    time: int | None
    """Seconds since the epoch."""
    time_from: str
    """dump, log, file, unknown."""


def origin_of(analysis: Analysis, names: Sequence[str]) -> Origin:
    """
    :param names: of the files that were analysed.
    """
    head = _head(analysis)
    time, source = analysis.system.crash_time, "dump"
    if time is None:
        time, source = _time_of_log(analysis, head), "log"
    if time is None:
        time, source = _written(names), "file"
    if time is None or not 0 <= time < 1 << 37:
        time, source = None, "unknown"
    host = analysis.system.nodename or host_of_lines(head) or host_of_names(names)
    return Origin(None if host is None else storable(host, 100), time, source)


def _head(analysis: Analysis) -> bytes:
    """The beginning of a log; nothing of a dump, or of what can be read only once."""
    if analysis.input.kind != "log":
        return b""
    try:
        path = Path(analysis.input.path)
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return b""
    return b"" if detect(head) is not None else head


# --- the host -------------------------------------------------------------------------

_NAME = rb"(?P<host>[A-Za-z0-9][\w.-]{0,63})"
_STAMP = (
    rb"(?:[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?"  # May  1 10:00:00
    rb"|\d{4}-\d\d-\d\d[T ][\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d)?"  # 2026-05-01T10:00:00Z
    rb"|\[ *\d{1,9}\.\d{6}\]|\d{9,11}\.\d{3,9})"  # journalctl -o short-monotonic, short-unix
)
_SYSLOG = re.compile(
    rb"(?m)^(?:<\d{1,3}>)?(?:1 )?" + _STAMP + b" " + _NAME + rb" kernel(?:\[\d+\])?(?::| -) "
)
_SYSTEMD = re.compile(rb"systemd\[1\]: (?:Hostname set to|Set hostname to) <" + _NAME + rb">")
"""manager_setup() in systemd's src/core/manager.c: it says so into the kernel's log."""
_NOBODY = frozenset({"localhost", "localhost.localdomain", "kernel"})


def host_of_lines(head: bytes) -> str | None:
    """The host whose kernel's lines these are, if they are of one only."""
    for pattern in (_SYSLOG, _SYSTEMD):
        found = {match["host"].decode("latin-1") for match in pattern.finditer(head)}
        if len(found) > 1:
            return None
        if found and not found & _NOBODY:
            return found.pop()
    return None


_KDUMP_FOLDER = re.compile(r"(?P<host>[^/]{1,80}?)-\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d")
_LISTENED = re.compile(r"\d{8}-\d{6}(?:-\d{1,3})?\.log")


def host_of_names(names: Sequence[str]) -> str | None:
    """kexec-tools and kdump-utils write below ``HOST-YYYY-MM-DD-HH:MM:SS``, ``triage listen`` a
    file ``YYYYMMDD-HHMMSS.log`` below ``HOST``."""
    for name in names:
        path = Path(name)
        match = _KDUMP_FOLDER.fullmatch(path.parent.name)
        if match is not None and not match["host"].startswith(("127.", "localhost", "::1")):
            return match["host"]
        if _LISTENED.fullmatch(path.name) and path.parent.name not in ("", "unknown"):
            return path.parent.name[:80]
    return None


# --- the time -------------------------------------------------------------------------

_CLOCKS = re.compile(
    rb"\[ *(?P<time>\d{1,9}\.\d{6})\](?:\[[^\]\n]{1,20}\])?"
    rb"(?P<text>[^\n]{0,120}?(?:setting system clock to |audit\()[^\n]{0,60})"
)


def _time_of_log(analysis: Analysis, head: bytes) -> int | None:
    """When the machine said its last words, if its log names the wall clock."""
    from postmortem.log.wallclock import boot_time

    uptime = analysis.system.uptime_seconds
    if not head or uptime is None or last_boot(analysis.reports) > 1:
        return None
    records = (
        Record(0, match["text"].decode("latin-1"), float(match["time"]))
        for match in _CLOCKS.finditer(head)
    )
    booted = boot_time(records)
    return None if booted is None else int(booted + uptime)


def last_boot(reports: Sequence[Report]) -> int:
    """The number of the last boot in a log, without that of a crash kernel."""
    return max((r.boot for r in reports if "boot_of" not in r.detail), default=0)


def _written(names: Sequence[str]) -> int | None:
    """When the first of the files was last written."""
    for name in names:
        try:
            found = os.stat(name)  # noqa: PTH116 - a name may be no valid path at all
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(found.st_mode):
            return int(found.st_mtime)
    return None
