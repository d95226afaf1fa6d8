"""The text of a trace as input: ``cat trace`` saved, ``trace-cmd report``, or a kernel log into
which ftrace's buffer was printed. Lines stay as they are; of those chosen nothing is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

_LOOK = 1 << 16
_LINE = re.compile(
    r"\s*(?:(?P<instance>\w[\w.-]{0,63}): {2,})?(?P<comm>.{1,48}?)-(?P<pid>-?\d{1,10})\s+"
    r"(?:\(\s*[\d-]{1,8}\)\s+)?"
    r"\[(?P<cpu>\d{1,5})\]\s+(?:(?P<flags>[\w.#]{4,6})\s+)?"
    r"(?P<seconds>\d{1,12})\.(?P<rest>\d{6,9}):\s+(?P<text>\S.*)$"
)
"""``comm-pid (tgid) [cpu] flags seconds.micro: event: text`` of both."""
_SHORT = re.compile(
    r"(?:\[\s*\d+\.\d+\](?:\[[^]]*\])? )? *(?P<comm>.{1,8}?)-(?P<pid>-?\d{1,10}) {1,7}"
    r" *(?P<cpu>\d{1,5})(?P<flags>[!-~]{4,5}) +(?P<time>-?\d{1,20})us[ !+#*@$]?: (?P<text>.*)$"
)
"""The format of the latency tracers, which is also that of the buffer in a log."""
_NAME = re.compile(r"([A-Za-z_][\w]*)[:(]|(\w+)\s*->")
_BEGINS = ("# tracer: ", "cpus=", "CPU 0 is empty")
_DUMPED = "Dumping ftrace "
_LINE_BYTES = 1 << 16


@dataclass(frozen=True)
class TextEvent:
    """One line that is an event."""

    line: str
    instance: str
    """Which trace-cmd puts before the line; empty for the main buffer."""
    time_ns: int
    """Since the boot, or since the buffer was cleared: as the text counts."""
    cpu: int
    pid: int
    comm: str
    flags: str
    event: str
    text: str


def parsed_line(line: str) -> TextEvent | None:
    """What a line says, ``None`` if it is no event's."""
    found = _LINE.match(line)
    if found is not None:
        time = int(found["seconds"]) * 1_000_000_000 + int(found["rest"].ljust(9, "0"))
    else:
        found = _SHORT.match(line)
        if found is None:
            return None
        time = int(found["time"]) * 1000
    instance = found.groupdict().get("instance") or ""
    name = _NAME.match(found["text"])
    event = (name[1] or name[2]) if name is not None else ""
    return TextEvent(
        line, instance, time, int(found["cpu"]), int(found["pid"]), found["comm"].strip(),
        found["flags"] or "", event, found["text"].strip(),
    )  # fmt: skip


def is_text(path: Path) -> bool:
    """Whether a file is the text of a trace, or a log with one in it."""
    try:
        with path.open("rb") as file:
            text = file.read(_LOOK).decode("utf-8", "replace")
    except OSError:
        return False
    if "\0" in text:
        return False
    lines = text.splitlines()
    if lines and lines[0].startswith(_BEGINS):
        return True
    return _is_log(path) or sum(_LINE.match(line) is not None for line in lines[:50]) > 25


def _is_log(path: Path) -> bool:
    """Whether it has a printed buffer, wherever in it."""
    needle = _DUMPED.encode()
    with path.open("rb") as file:
        if file.read(8)[:4] in (b"\x7fELF", b"KDUM", b"make"):
            return False
        file.seek(0)
        return any(needle in line for line in iter(lambda: file.readline(_LINE_BYTES), b""))


class SavedText:
    """The events of a text that were asked for."""

    def __init__(
        self,
        path: Path,
        cpus: tuple[int, ...],
        pids: tuple[int, ...],
        names: tuple[str, ...],
        last_ns: int | None,
    ) -> None:
        self._path = path
        self._cpus, self._pids, self._names = frozenset(cpus), frozenset(pids), names
        self._chosen = bool(cpus or pids or names or last_ns is not None)
        self.problems: list[str] = []
        self._log = _is_log(path)
        self._since: int | None = None
        if last_ns is not None:
            self._since = max((one.time_ns for one in self._all()), default=0) - last_ns

    def _all(self) -> Iterator[TextEvent]:
        for line in self._lines():
            found = parsed_line(line)
            if found is not None:
                yield found

    def _lines(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            for raw in iter(lambda: file.readline(_LINE_BYTES), b""):
                yield raw.decode("utf-8", "backslashreplace").rstrip("\r\n")

    def _wants(self, one: TextEvent) -> bool:
        return (
            (not self._cpus or one.cpu in self._cpus)
            and (not self._pids or one.pid in self._pids)
            and (self._since is None or one.time_ns >= self._since)
            and (not self._names or any(_named(one.event, name) for name in self._names))
        )

    def events(self) -> Iterator[TextEvent]:
        """Those that are wanted, in the order of the text."""
        return filter(self._wants, self._all())

    def lines(self, header: bool = True) -> Iterator[str]:
        """The text again; lines that belong to the event before them go with it."""
        shown = header and not self._log
        seen = False
        for line in self._lines():
            found = parsed_line(line)
            if found is not None:
                seen, shown = True, self._wants(found)
            elif seen and (self._log or line.startswith("#")):
                shown = header and not self._log and not self._chosen
            if shown:
                yield f"{line}\n"

    def json(self) -> Iterator[str]:
        """A document for each event."""
        for one in self.events():
            found = {
                "instance": one.instance, "time": one.time_ns, "cpu": one.cpu, "pid": one.pid,
                "comm": one.comm, "flags": one.flags, "event": one.event or None, "text": one.text,
            }  # fmt: skip
            yield json.dumps(found, ensure_ascii=True) + "\n"

    def chrome(self) -> Iterator[str]:
        """Chrome's trace format, as of a dump; of the fields only the text is known."""
        yield '{"displayTimeUnit": "ns", "traceEvents": [\n'
        separator = ""
        for one in self.events():
            found: dict[str, Any] = {
                "ph": "i", "s": "t", "ts": one.time_ns / 1000, "pid": one.cpu, "tid": one.pid,
                "name": one.event or "text", "cat": "ftrace", "args": {"text": one.text},
            }  # fmt: skip
            yield separator + json.dumps(found, ensure_ascii=True)
            separator = ",\n"
        yield "\n]}\n"


def _named(event: str, pattern: str) -> bool:
    """The text does not say of which system an event is."""
    return fnmatchcase(event, pattern.replace("/", ":").rpartition(":")[2] or "*")
