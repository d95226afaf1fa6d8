"""What stands before a message on its line: time, level, caller, and a lot of noise.

One line of a capture becomes one :class:`Record`, or several where the console
glued two messages together. Every pattern is anchored and linear.
"""

from __future__ import annotations

import html
import re

from postmortem.model.report import Record

MAX_LINE = 16_384
"""Characters of one line that are looked at; the rest of a longer line is dropped."""

_LEVELS = {
    name: number
    for number, names in enumerate(
        ("emerg", "alert", "crit", "err error", "warn warning", "notice", "info", "debug")
    )
    for name in names.split()
}

# The common case in one match: <6>[   12.345678][  T123] message
_PRINTK = re.compile(
    r"(?:<(?P<level>\d{1,4})>)?"
    r"\[{1,2} *(?P<time>\d{1,9}\.\d{3,9}) *\]"
    r"(?:\[ *(?P<caller>[TC]\d{1,9})(?:@\w+)?\])?"
    r" ?"
)
# Nine lines of ten: [   12.345678][  T123] message, all of it printable ASCII.
_PLAIN = re.compile(
    rb"\[ *(\d{1,9}\.\d{3,9}) *\](?:\[ *([TC]\d{1,9})\])?(?: |(?! ))(?! ?\[)([ -%'-~]{0,999})\r*"
)
# Many such lines at once, and any other line as it is.
_PLAIN_LINES = re.compile(
    r"\[ *(\d{1,9}\.\d{3,9}) *\](?:\[ *([TC]\d{1,9})\])?(?: |(?! ))(?! ?\[)([ -%'-~]{0,999})\r*\n"
    r"|([^\n]*\n)"
)
_HOST = re.compile(r"\S{1,64} kernel: ")
_INNER_CALLER = re.compile(r"\[ *([TC]\d{1,9})\] ?")
_VENDOR_CALLER = re.compile(r" *\[\d+: *[^\]]{1,18}: *(?P<pid>\d{1,9})\] ?")

# Where a second message starts inside a line. printk prints microseconds, so six digits.
_GLUED = re.compile(r"\[ *\d{1,7}\.\d{6}\](?=[ \[])")
_LEVEL_BEFORE = re.compile(r"<\d{1,3}>$")

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_KERNEL = r"(?:\S{1,255} )?kernel(?:\[\d+\])? ?: ?"
# A date in whatever language, then the time of day.
_DATE = (
    r"(?:[^\W\d_]{1,12}[.,]? )?(?:[^\W\d_]{1,12}\.?|\d{1,2}[^\W\d_]{1,3}) {1,2}\d{1,2}\.? "
    r"(?:\d{4} )?"
)
_DAY_FIRST = r"(?:[^\W\d_]{1,12}[.,]? )?\d{1,2}\.? [^\W\d_]{1,12}\.? (?:\d{4} )?"
_NUMBERS = r"(?:[^\W\d_]{1,12}[.,]? )?\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4},? "
_CLOCK = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?[AP]M)?(?: (?:UTC|[A-Z]{3,5}|[+-]\d{4}))? "
_STAMP = rf"(?:{_DATE}|{_DAY_FIRST}|{_NUMBERS})?{_CLOCK}"

# Tried in turn at the start of what is left until none fits. Only the groups level, time
# and caller mean anything; all the rest is thrown away.
_NOISE = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:[>|] ?)*> ?",  # quoted mail
        r"\(XEN\) ",
        r"\[HYP\] ?",
        # RFC 5424: <0>1 2024-05-01T10:00:00.1Z host kernel - - - message
        rf"<(?P<level>\d{{1,3}})>1 {_ISO} \S{{1,255}} kernel \S{{1,48}} \S{{1,48}} "
        r"(?:-|\[[^\]]{0,200}\]) ?",
        # RFC 3164 and journalctl -o short: May  1 10:00:00 host kernel: message
        rf"(?:<(?P<level>\d{{1,3}})>)?{_STAMP}{_KERNEL}",
        # logcat -b kernel -v threadtime: 10-26 04:42:00.500     0     0 E kernel  : message
        # logd takes what stands before a message's first colon for its tag: that stays.
        r"\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +\d{1,7} +\d{1,7} [VDIWEF] "
        r"(?:(?:kernel)? *: ?|(?P<tagged>))",
        rf"{_ISO} {_KERNEL}",  # journalctl -o short-iso, rsyslog
        # journalctl -o short-monotonic: [   12.345678] host kernel: message
        r"\[ *(?P<time>\d{1,9}\.\d{6})\] \S{1,64} kernel: ",
        # dmesg -d: [   12.345678 <    0.000123>] message
        r"\[ *(?P<time>\d{1,9}\.\d{6}) < *\d{1,9}\.\d{6}>\] ?",
        rf"{_ISO},(?P<time>\d{{1,9}}\.\d{{6}}) ?",
        rf"{_ISO} ",  # dmesg --time-format iso; CI and serial loggers put their own clock first
        rf"\[{_ISO}\] ?",
        # dmesg -T, dmesg -H
        r"\[[^\W\d_]{1,9}\.? [^\s:]{1,9} {1,2}[ \d]\d{0,2}\.? \d\d:\d\d:\d\d \d{4}\] ?",
        rf"\[(?:{_MONTH}[ \d]{{1,3}}\d\d:\d\d|  ?\+ *\d{{1,6}}\.\d{{6}}"
        r"|< *\d{1,6}\.\d{6}>)\] ?",
        r"\[\d\d:\d\d:\d\d(?:\.\d{1,6})?\] ?",
        # dmesg -x: kern  :warn  : message
        r"(?P<facility>kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp) *:"
        r"(?P<level>emerg|alert|crit|err|warn|notice|info|debug) *: ?",
        # syslog's own names, with or without a host: kern.info message
        r"(?:[\w.-]{1,255} )?(?P<facility>kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron"
        r"|authpriv|ftp|local\d)\.(?P<level>emerg|alert|crit|err|error|warn|warning|notice|info"
        r"|debug):? (?:kernel(?:\[\d+\])?: ?)?",
        r"<(?P<level>\d{1,4})>",
        r"\[ *(?P<caller>[TC]\d{1,9})(?:@\w+)?\] ?",
        r"(?:\d{9,11}\.\d{3,9} )?[\w.-]{1,64} kernel(?:\[\d+\])?: ",  # short-unix, cat
        r"c *(?P<time>\d{1,7}\.\d{6})! ?",  # a 3270 console shows [ ] as c !
        r"c#\d{1,3}! ?",
    )
)

_SHOWN = re.compile(
    rf"(?:{_ISO} |\[{_ISO}\] ?|\d{{9,11}}\.\d{{3,9}} )?"
    rf"(?:{_STAMP}{_KERNEL}|{_ISO} {_KERNEL}|[\w.-]{{1,64}} kernel: "
    r"|\[[^\W\d_]{1,9}\.? [^\s:]{1,9} {1,2}[ \d]\d{0,2}\.? \d\d:\d\d:\d\d \d{4}\] "
    rf"|\[(?:{_MONTH}[ \d]{{1,3}}\d\d:\d\d|  ?\+ *\d{{1,6}}\.\d{{6}})\] )"
    r"|(?:(?:\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +(?:root +)?\d{1,7} +\d{1,7} )?"
    r"[VDIWEF][ /]kernel *(?:\( *\d+\))?: "
)
"""journalctl, syslog, logcat, dmesg -T and -H: not a time of printk in them."""
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[ -/]?[@-~]|[()][A-Z0-9]|[=>A-Z])")
_CONTROL = {n: None for n in range(32) if n not in (9,)} | {127: None}
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#39);")


def clean(line: str) -> str:
    """Drop what a terminal would have swallowed: CR, NUL, colours, backspaces."""
    if "\x1b" in line:
        line = _ANSI.sub("", line)
    if not line.isprintable():
        line = line.translate(_CONTROL)
    if "&" in line and ("&lt;" in line or "&gt;" in line):
        line = _ENTITY.sub(lambda match: html.unescape(match[0]), line)
    return line


def plain_record(data: bytes, start: int, end: int, number: int) -> Record | None:
    """The message of a line as the kernel prints it; ``None`` if the line needs a closer look.

    A second message may be behind the first, or a logger's own stamp before it.
    """
    plain = _PLAIN.fullmatch(data, start, end)
    if plain is None:
        return None
    time, caller, text = plain.groups()
    if b"] " in text or b"][" in text or b" kernel: " in text:
        return None
    who = caller.decode() if caller else None
    return Record(number, text.decode(), float(time), None, who)


def plain_records(lines: str, number: int) -> list[Record]:
    """What :func:`plain_record` says of each of many whole lines, up to the first ``None``.

    :param lines: bytes as latin-1: what is not ASCII is not plain.
    """
    found: list[Record] = []
    new = tuple.__new__  # half the time of calling Record
    for time, caller, text, other in _PLAIN_LINES.findall(lines):
        if other or "] " in text or "][" in text or " kernel: " in text:
            break
        found.append(new(Record, (number, text, float(time), None, caller or None, False, None)))
        number += 1
    return found


def records_of_line(raw: bytes, number: int) -> list[Record]:
    """The messages on one line (without its newline) of a text capture.

    :param number: 1-based line number in the original.
    """
    line = raw[:MAX_LINE].decode("utf-8", "replace")
    if not line.isprintable() or "&" in line:
        line = clean(line)
    cuts = _cuts(line) if line.find("[", 1) > 0 else None
    if not cuts:
        return [record_of_text(line, number)]
    start = 0
    found = []
    for cut in [*cuts, len(line)]:
        part = line[start:cut]
        if part.strip() and not _only_prefix(part):
            found.append(record_of_text(part, number))
            start = cut
        elif not part.strip():
            start = cut
    return found


def _cuts(line: str) -> list[int]:
    """Where further messages begin. Nearly every line has its only time at its start."""
    found = []
    at = line.find("[", 1)
    while at >= 0:
        match = _GLUED.match(line, at)
        if match is not None and line[at - 1] not in "[<":
            level = _LEVEL_BEFORE.search(line, max(0, at - 5), at)
            start = level.start() if level else at
            if start > 0:
                found.append(start)
        at = line.find("[", at + 1)
    return found


def _only_prefix(part: str) -> bool:
    """Is this the start of a prefix that goes on (syslog's stamp before printk's)?"""
    record = record_of_text(part, 0)
    return not record.text.strip()


def record_of_text(line: str, number: int) -> Record:
    """One message that nothing is glued to."""
    match = _PRINTK.match(line)
    if match is not None:
        level, time, caller = match.groups()
        end = match.end()
        if (caller or not line.startswith(("[", " ["), end)) and line.find(
            " kernel: ", end, end + 80
        ) < 0:
            priority = int(level) if level else None
            return Record(
                number,
                line[end:],
                float(time),
                None if priority is None else priority & 7,
                caller,
                priority is not None and priority > 7,
            )
    return _odd_record(line, number, match)


def _odd_record(line: str, number: int, match: re.Match[str] | None) -> Record:
    level: int | None = None
    time: float | None = None
    caller: str | None = None
    user = tagged = False
    at = 0
    if match is None:
        at = _indentation(line)
        match = _PRINTK.match(line, at)
    if match is None or _HOST.match(line, match.end()):
        for _ in range(6):  # a log of a log of a log is the most that was seen
            found = _noise(line, at)
            if found is None:
                match = _PRINTK.match(line, at)
                break
            groups = found.groupdict()
            if groups.get("level"):
                level = _level(groups["level"])
            if groups.get("time"):
                time = float(groups["time"])
            if groups.get("caller"):
                caller = groups["caller"]
            user = user or groups.get("facility", "kern") != "kern"
            tagged = tagged or groups.get("tagged") is not None
            at = found.end()
            match = _PRINTK.match(line, at)
            if match is not None:
                break
    if match is not None:
        at = match.end()
        time = float(match["time"])
        caller = match["caller"] or caller
        if match["level"]:
            level = _level(match["level"])
            user = user or int(match["level"]) > 7  # facility * 8 + level; the kernel's is 0
        if caller is None and line.startswith("[", at):
            inner = _INNER_CALLER.match(line, at)
            if inner:
                caller, at = inner[1], inner.end()
        if caller is None and line.startswith((" [", "["), at):
            vendor = _VENDOR_CALLER.match(line, at)
            if vendor:
                caller, at = "T" + vendor["pid"], vendor.end()
    clock = clock_of(line, at) if time is None and at > len("00:00:00") else None
    text = _PADDED_TAG.sub(r"\1:", line[at:], count=1) if tagged else line[at:]
    return Record(number, text, time, level, caller, user, clock)


_PADDED_TAG = re.compile(r"^(?=.{8}: )([^:]{1,7}?) +:(?: (?=\d{1,4}:))?")
"""logcat fills a tag up to eight characters: ``sd 0    : 0:0:0: [sda]`` was ``sd 0:0:0:0:``."""


_OF_DAY = re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d(?:[.,]\d{1,9})?)")
_DAY = re.compile(r"(?<!\d)\d{1,2}(?!\d)")


def clock_of(line: str, end: int) -> float | None:
    """Seconds since the first of the month, by a logger's stamp in any language."""
    of_day = _OF_DAY.search(line, 0, end)
    if of_day is None:
        return None
    days = _DAY.findall(line[: of_day.start()])
    day = int(days[-1]) if days else 0
    second = float(of_day["second"].replace(",", "."))
    return ((day * 24 + int(of_day["hour"])) * 60 + int(of_day["minute"])) * 60 + second


_INDENTED = re.compile(r"[ \t]*(?:[>|] ?)*[ \t]*")


def _indentation(line: str) -> int:
    """Length of the blanks and quotes before a time stamp; 0 if none follows."""
    if not line.startswith((" ", "\t", ">", "|")):
        return 0
    found = _INDENTED.match(line)
    at = found.end() if found is not None else 0
    if _PRINTK.match(line, at):
        return at
    stamped = _noise(line, at)
    return at if stamped is not None and not stamped[0].startswith(("<", ">", "|")) else 0


def prefixed(line: str) -> bool:
    """Is this the way in which something shows messages of the kernel?"""
    record = record_of_text(line, 0)
    if record.time is not None or record.level is not None:
        return True
    return _SHOWN.match(line, _indentation(line)) is not None


def _noise(line: str, at: int) -> re.Match[str] | None:
    if at >= len(line) or line[at] == " ":
        return None
    for pattern in _NOISE:
        found = pattern.match(line, at)
        if found is not None and found.end() > at:
            return found
    return None


def _level(text: str) -> int | None:
    if text.isdigit():
        return int(text) & 7  # a syslog priority is facility * 8 + level
    return _LEVELS.get(text)
