"""Formats that carry kernel messages inside something else, one line at a time.

A wrapper turns a raw line into the line that a console would have shown, or
``None`` if it holds no message. They are told from the first lines of the input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

Wrapper = Callable[[bytes], "bytes | None"]

MAX_LINE_BYTES = 1 << 20
_KMSG = re.compile(
    rb"(?:[^;\n]{0,120}\s)?(?:[\w.+-]+,)?(?P<level>\d{1,9}),(?P<seq>\d{1,24}),(?P<usec>\d{1,24}),(?P<flags>[^;\n]*);(?P<text>.*)",
    re.S,
)
_LAVA = re.compile(rb"\s*-? *(?P<json>\{.*\"lvl\":.*\})\s*$", re.S)
_OBJECT = re.compile(rb"[^{]{0,200}(?P<json>\{.*\})\s*,?\s*$", re.S)
_FIELD = re.compile(
    rb'\s*"(?P<key>[\w@]{2,40})" *: *(?P<value>"(?:[^"\\]|\\.)*"|\d{1,20}),?\s*$', re.S
)
_VERBOSE = re.compile(rb"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* \S+ \[s=[0-9a-f]+;")
_DMESG_JSON = re.compile(rb'\s*"(?P<key>pri|time|caller|msg)": *(?P<value>.*?),?\s*$', re.S)
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")
_FRAGMENT = re.compile(rb"ncfrag=(?P<at>\d{1,9})/(?P<total>\d{1,9})")


def find_wrapper(head: bytes) -> Wrapper | None:
    """Tell the format from the first lines; ``None`` for a plain log."""
    lines = [line for line in head.split(b"\n")[:40] if line.strip()][:12]
    whole = lines[:-1] or lines  # the last may be cut
    if not whole:
        return None
    if _most(whole, lambda line: _KMSG.match(line) is not None or line.startswith(b" ")) and any(
        map(_KMSG.match, whole)
    ):
        return Kmsg()
    if whole[0].startswith(b"__CURSOR="):
        return JournalExport()
    if any(b'"dmesg": [' in line for line in whole[:3]):
        return DmesgJson()
    if _most(whole, lambda line: _LAVA.match(line) is not None):
        return lava
    if _VERBOSE.match(whole[0]):
        return JournalVerbose()
    if _most(whole, lambda line: b"{" in line and _message_of_line(line) is not None):
        return json_lines
    if whole[0].strip() in (b"{", b"[", b"[{") and any(map(_is_message, lines)):
        return JsonFields()
    return None


INNER_NEWLINE = b"\x0b"
"""Stands for a newline inside a message, so that lines keep their numbers."""


def unwrap(chunks: Iterator[bytes], wrapper: Wrapper) -> Iterator[bytes]:
    """The stream as a console would have shown it, line for line."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            lines.append(rest)
            rest = b""
        yield b"".join(_plain(wrapper, line) for line in lines)
    if rest:
        yield _plain(wrapper, rest)


def _plain(wrapper: Wrapper, line: bytes) -> bytes:
    text = wrapper(line)
    return b"\n" if text is None else text.replace(b"\n", INNER_NEWLINE) + b"\n"


def _most(lines: list[bytes], test: Callable[[bytes], bool]) -> bool:
    return sum(map(test, lines)) * 3 >= len(lines) * 2


def _console(
    text: bytes, level: int | None = None, usec: int | None = None, caller: bytes = b""
) -> bytes:
    parts = []
    if level is not None:
        parts.append(b"<%d>" % level)
    if usec is not None:
        parts.append(b"[%5d.%06d]" % divmod(usec, 1_000_000))
        if caller:
            parts.append(b"[%6s]" % caller)
        parts.append(b" ")
    return b"".join([*parts, text])


_MAX_PRIORITY = 1023
"""Facility times 8 and level: the kernel's own are below 8."""


class Kmsg:
    """/dev/kmsg and extended netconsole: ``level,seq,usec,flags;text``, perhaps in fragments."""

    def __init__(self) -> None:
        self._parts: dict[bytes, dict[int, bytes]] = {}

    def __call__(self, line: bytes) -> bytes | None:
        match = _KMSG.match(line)
        if match is None:
            return None  # " KEY=value" of the message before
        text = match["text"]
        fragment = _FRAGMENT.search(match["flags"])
        if fragment is not None:
            whole = self._join(match["seq"], int(fragment["at"]), int(fragment["total"]), text)
            if whole is None:
                return None
            text = whole
        text = _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), text)
        caller = re.search(rb"caller=([TC]\d{1,9})", match["flags"])
        return _console(
            text,
            min(int(match["level"]), _MAX_PRIORITY),
            int(match["usec"]) if len(match["usec"]) < 20 else None,
            caller[1] if caller else b"",
        )

    def _join(self, seq: bytes, at: int, total: int, text: bytes) -> bytes | None:
        if len(self._parts) > 100:  # lost packets: forget the oldest
            self._parts.pop(next(iter(self._parts)))
        parts = self._parts.setdefault(seq, {})
        parts[at] = text
        if sum(map(len, parts.values())) < min(total, 1 << 16):
            return None
        del self._parts[seq]
        return b"".join(parts[key] for key in sorted(parts))


def _text(value: object) -> bytes:
    if isinstance(value, list):  # journald gives bytes that are no UTF-8 as numbers
        return bytes(byte for byte in value if isinstance(byte, int) and 0 <= byte < 256)
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""


def _number(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() and len(text) < 20 else None


_MESSAGE_KEYS = (
    *("MESSAGE", "message", "log", "msg", "textPayload", "line", "_raw", "short_message"),
    "Output",
)
"""Where loggers keep the text, of containers, clouds and collectors."""
_DEPTH = 3
"""So deep an object with the text may lie in others."""


def _found(entry: object, depth: int = _DEPTH) -> tuple[bytes, dict[str, object]] | None:
    """The text in an object of a logger, and the object that it is a field of."""
    if not isinstance(entry, dict) or not depth:
        return None
    for key in _MESSAGE_KEYS:
        if isinstance(entry.get(key), (str, list)):
            return _text(entry[key]).rstrip(b"\r\n"), entry
    inner = (_found(value, depth - 1) for value in entry.values())
    return next(filter(None, inner), None)


def _message_of_line(line: bytes) -> tuple[bytes, dict[str, object]] | None:
    match = _OBJECT.match(line)
    if match is None:
        return None
    try:
        whole = json.loads(match["json"])
    except (ValueError, RecursionError):
        return None
    found = _found(whole)
    return None if found is None else (found[0], {**whole, **found[1]})


_TIMES = ("time", "@timestamp", "timestamp", "ts")
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^\s]{0,20}$")
_STAMPED = re.compile(rb"\s*(?:<\d{1,4}>)?(?:\[ *\d|\d{4}-\d\d-|[A-Z][a-z]{2} [ \d]\d )")
"""A line that brings a time of its own."""


def json_lines(line: bytes) -> bytes | None:
    """An object a line: ``journalctl -o json``, docker, Kubernetes, collectors, clouds."""
    found = _message_of_line(line)
    if found is None:
        return None if _OBJECT.match(line) else line
    text, entry = found
    if entry.get("_TRANSPORT", "kernel") != "kernel":
        return None
    usec = _uptime_of(entry)
    if usec is None and not _STAMPED.match(text):
        time = next((entry[key] for key in _TIMES if isinstance(entry.get(key), str)), "")
        text = f"{time} ".encode() + text if _ISO.match(str(time)) else text
    level = _number(entry.get("PRIORITY", entry.get("priority")))
    return _console(text, level if level is None or level <= _MAX_PRIORITY else None, usec)


def _uptime_of(entry: dict[str, object]) -> int | None:
    """Microseconds since the boot: fluent-bit's reader of /dev/kmsg has them in two fields."""
    time = _number(entry.get("_SOURCE_MONOTONIC_TIMESTAMP", entry.get("__MONOTONIC_TIMESTAMP")))
    seconds, usec = _number(entry.get("sec")), _number(entry.get("usec"))
    if time is None and seconds is not None and usec is not None and "sequence" in entry:
        return seconds * 1_000_000 + usec
    return time


def _is_message(line: bytes) -> bool:
    match = _FIELD.match(line)
    return match is not None and match["key"].decode() in _MESSAGE_KEYS


class JsonFields:
    """The same objects with each field on a line of its own (``json-pretty``, exports)."""

    def __init__(self) -> None:
        self._usec: int | None = None

    def __call__(self, line: bytes) -> bytes | None:
        match = _FIELD.match(line)
        if match is None:
            return None
        try:
            value = json.loads(match["value"])
        except (ValueError, RecursionError):
            return None
        if match["key"] in (b"__MONOTONIC_TIMESTAMP", b"_SOURCE_MONOTONIC_TIMESTAMP"):
            self._usec = _number(value)
        if match["key"].decode() not in _MESSAGE_KEYS or not isinstance(value, str):
            return None
        usec, self._usec = self._usec, None
        return _console(value.rstrip("\r\n").encode("utf-8", "replace"), None, usec)


class JournalVerbose:
    """``journalctl -o verbose``: a line about when, then the fields, indented."""

    def __call__(self, line: bytes) -> bytes | None:
        key, equals, value = line.strip().partition(b"=")
        return value if equals and key == b"MESSAGE" else None


class JournalExport:
    """``journalctl -o export``: one ``FIELD=value`` per line, an empty line between entries."""

    def __init__(self) -> None:
        self._usec: int | None = None

    def __call__(self, line: bytes) -> bytes | None:
        key, equals, value = line.partition(b"=")
        if not equals:
            self._usec = None if not line else self._usec
            return None
        if key in (b"__MONOTONIC_TIMESTAMP", b"_SOURCE_MONOTONIC_TIMESTAMP"):
            self._usec = _number(value.decode("ascii", "replace"))
        return _console(value, None, self._usec) if key == b"MESSAGE" else None


class DmesgJson:
    """``dmesg --json``: the fields of an entry on a line each."""

    def __init__(self) -> None:
        self._fields: dict[bytes, object] = {}

    def __call__(self, line: bytes) -> bytes | None:
        match = _DMESG_JSON.match(line)
        if match is None:
            return None
        try:
            value = json.loads(match["value"])
        except (ValueError, RecursionError):
            return None
        if match["key"] != b"msg":
            self._fields[match["key"]] = value
            return None
        fields, self._fields = self._fields, {}
        time = fields.get(b"time")
        level = fields.get(b"pri")
        return _console(
            _text(value),
            level & 7 if isinstance(level, int) else None,
            int(time * 1_000_000) if isinstance(time, (int, float)) and 0 <= time < 1e10 else None,
        )


def lava(line: bytes) -> bytes | None:
    """LAVA's job log: YAML whose lines are JSON objects."""
    match = _LAVA.match(line)
    if match is None:
        return None
    try:
        entry = json.loads(match["json"])
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("lvl") not in ("target", "feedback"):
        return None
    return _text(entry.get("msg"))
