"""``--redact``: a report without what names machines, networks and people.

The result is rewritten before any renderer sees it, so that every form of it is alike. What is
private is :mod:`postmortem.rules.private`; here it is found and replaced. The same value has the
same token all through a report (``host-1``, ``ip-2``), so that its story can still be followed;
tokens of two reports have nothing to do with each other.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from postmortem.graph.model import Edge, Graph, Node
from postmortem.model.findings import (
    Column,
    Culprit,
    Export,
    Finding,
    Holds,
    Signature,
    Verdict,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Code, Record, Report
from postmortem.model.result import Analysis, Input, ModuleInfo, System, TaskStack
from postmortem.model.stacks import FoldedStack
from postmortem.rules import private

T = TypeVar("T")

NOTE = (
    "redacted: names of hosts and users, addresses of networks, command lines and memory of"
    " processes are left out"
)
MEMORY = "(memory)"
COMMAND = "(command)"

_KEPT: dict[type[Any], frozenset[str]] = {
    Code: frozenset({"arch"}),
    Column: frozenset({"name"}),
    Culprit: frozenset({"function", "module"}),
    Edge: frozenset({"source", "target"}),
    Export: frozenset({"suffix"}),
    Finding: frozenset({"id", "caused_by"}),
    FoldedStack: frozenset({"frames", "hue", "groups"}),
    Frame: frozenset({"function", "module", "segment"}),
    Input: frozenset({"kind", "format"}),
    ModuleInfo: frozenset({"name", "taints"}),
    Node: frozenset({"id", "function", "module", "stack"}),
    Report: frozenset(
        {"type", "form", "arch", "function", "module", "release", "taint", "modules", "tainting"}
    ),
    System: frozenset({"release", "arch", "taint"}),
    TaskStack: frozenset({"state"}),
    Verdict: frozenset({"finding"}),
}
"""Fields with words of the kernel or of ours: names of functions, releases, ids, closed lists.
Other dataclasses say it themselves: ``field(metadata={"kept": True})``."""
_KEPT_KEYS = frozenset(
    {"kind", "type", "form", "arch", "release", "taint", "guilty", "function", "module", "modules"}
    | {"signature", "signatures"}
)
"""The same in the documents of ``postmortem log``."""


def redacted(analysis: Analysis) -> Analysis:
    """The analysis without what is private."""
    redactor = Redactor(filter(None, (analysis.system.release, analysis.system.version)))
    redactor.learn_host(analysis.system.nodename)
    redactor.learn(_strings(analysis))
    # Memory as it lies cannot be searched for names.
    texts = tuple(one for one in analysis.exports if not isinstance(one.data, bytes))
    found = redactor.value(replace(analysis, exports=texts))
    of_processes = {report.line for report in analysis.reports if _is_of_process(report)}
    found = replace(found, findings=tuple(_without_code(f, of_processes) for f in found.findings))
    return replace(found, input=replace(found.input, notes=(*found.input.notes, NOTE)))


def redacted_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of ``postmortem log`` without what is private."""
    redactor = Redactor(r for r in _values(document, "release") if isinstance(r, str))
    redactor.learn(_strings(document))
    found = redactor.value(dict(document))
    found["path"] = redactor.path(str(document.get("path", "")))
    return dict(found)


def redacted_records(records: Sequence[Record]) -> list[Record]:
    """Messages of a log without what is private."""
    redactor = Redactor()
    redactor.learn(record.text for record in records)
    texts = redactor.lines([record.text for record in records])
    return [record._replace(text=text) for record, text in zip(records, texts, strict=True)]


class Redactor:
    """Knows the names of one report and the token of each.

    :param kept: Texts that look like an address and are none: releases of kernels.
    """

    def __init__(self, kept: Iterable[str] = ()) -> None:
        self._tokens: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._shapes = _shapes(sorted(set(kept), key=len, reverse=True))

    # --- what is known ---------------------------------------------------------

    def learn_host(self, name: str | None) -> None:
        """A host's name, and its first label, which stands for it in most messages."""
        for text in (name, (name or "").partition(".")[0]):
            if text and text.lower() not in private.EVERYBODYS and not text.isdigit():
                self._names.setdefault(text.lower(), self._token("host", (name or "").lower()))

    def learn(self, texts: Iterable[str]) -> None:
        """Find names by the words that announce them."""
        for text in texts:
            for herald, pattern in _heralds():
                for match in pattern.finditer(text):
                    self._learnt(herald.what, match[1])

    def _learnt(self, what: str, name: str) -> None:
        if what == "host":
            self.learn_host(name)
        elif name.lower() not in private.EVERYBODYS and not name.isdigit():
            self._names.setdefault(name.lower(), self._token(what, name.lower()))

    def _token(self, what: str, value: str) -> str:
        key = (what, value)
        if key not in self._tokens:
            self._counts[what] = self._counts.get(what, 0) + 1
            self._tokens[key] = f"{what}-{self._counts[what]}"
        return self._tokens[key]

    # --- texts -----------------------------------------------------------------

    def text(self, text: str) -> str:
        """One string."""
        text = private.KERNEL_COMMAND_LINE.sub(self._command_line_of, text)
        text = private.COMMANDS.sub(lambda match: _instead(match, COMMAND), text)
        text = self._shapes.sub(self._shape, text)
        return _WORD.sub(self._word, text)

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Lines that follow each other: the registers of a process know that they are its own."""
        found = []
        of_process = False
        for line in lines:
            begins = private.USER_PC.search(line) or private.USER_SEGV.search(line)
            if begins:
                of_process = True
            elif of_process and not _REGISTERS.match(line):
                of_process = False
            found.append(self.text(_process(line) if of_process else _dumped(line)))
        return found

    def path(self, path: str) -> str:
        """The name of a file without the folders that it is in."""
        return self.text(path.rpartition("/")[2]) if path != "-" else path

    def command_line(self, line: str) -> str:
        """The kernel's: names of parameters, and the values that say nothing of a place."""
        found = []
        for number, word in enumerate(_words(line)):
            if word == "--":  # what follows is init's
                found.append(COMMAND)
                break
            found.append(self._parameter(word, number))
        return " ".join(found)

    def _parameter(self, word: str, number: int) -> str:
        name, equals, value = word.partition("=")
        if not equals:
            return word if _FLAG.fullmatch(word) else self._token("value", word)
        shown = self.text(name)
        if name in private.SAFE_PARAMETERS or private.PLAIN_VALUE.fullmatch(value):
            return f"{shown}={value}"
        return f"{shown}={self._token('value', value)}"

    def _command_line_of(self, match: re.Match[str]) -> str:
        return _instead(match, self.command_line(match["text"]))

    def _shape(self, match: re.Match[str]) -> str:
        found = match[0]
        group = match.lastgroup
        if group is None or group == "kept":
            return found
        shape = private.SHAPES[int(group[1:])]
        thing = match[shape.group] if shape.group else found
        if not shape.secret(thing):
            return found
        token = self._names.get(thing.lower()) or self._token(shape.what, thing.lower())
        return found[: len(found) - len(thing)] + token

    def _word(self, match: re.Match[str]) -> str:
        word = match[0]
        whole = self._names.get(word.lower())
        if whole is not None:
            return whole
        parts = _BETWEEN.split(word)
        if len(parts) == 1 or len(parts) > _MAX_PARTS:
            return "".join(self._names.get(part.lower(), part) for part in parts)
        return "".join(self._joined(parts))

    def _joined(self, parts: Sequence[str]) -> Iterator[str]:
        """The longest names among words that dots and hyphens join."""
        place = 0
        while place < len(parts):
            for end in range(len(parts), place, -2):
                token = self._names.get("".join(parts[place:end]).lower())
                if token is not None:
                    yield token
                    place = end
                    break
            else:
                yield parts[place]
                place += 1
                end = place
            if end < len(parts):
                yield parts[end]
                place = end + 1

    # --- values ----------------------------------------------------------------

    def value(self, value: T) -> T:
        """Any value of a result or document with all its strings redacted."""
        found: Any = self._value(value)
        return found  # type: ignore[no-any-return]

    def _value(self, value: Any) -> Any:
        if isinstance(value, Enum) or value is None or isinstance(value, bool | float | bytes):
            return value
        if isinstance(value, str):
            return self.text(_dumped(value))
        if isinstance(value, int):
            return value
        if isinstance(value, tuple | list):
            return self._sequence(value)
        if isinstance(value, dict):
            return {
                self.text(str(key)): item if key in _KEPT_KEYS else self._value(item)
                for key, item in value.items()
            }
        special = _SPECIAL.get(type(value))
        if special is not None:
            return special(self, value)
        return self._fields(value) if is_dataclass(value) else value

    def _sequence(self, value: Sequence[Any]) -> Any:
        if len(value) > 1 and all(isinstance(item, str) for item in value):
            found: list[Any] = self.lines(value)
        else:
            found = [self._value(item) for item in value]
        return found if isinstance(value, list) else tuple(found)

    def _fields(self, value: T) -> T:
        kept = _KEPT.get(type(value), frozenset())
        changed = {
            field.name: self._value(getattr(value, field.name))
            for field in fields(value)  # type: ignore[arg-type]
            if field.init and field.name not in kept and not field.metadata.get("kept")
        }
        return replace(value, **changed)  # type: ignore[type-var]

    def _system(self, system: System) -> System:
        line = system.command_line
        own = self._fields(replace(system, command_line=None))
        return replace(own, command_line=None if line is None else self.command_line(line))

    def _input(self, source: Input) -> Input:
        return replace(self._fields(source), path=self.path(source.path))

    def _report(self, report: Report) -> Report:
        own: Report = self._fields(report)
        if _is_of_process(report):
            return replace(own, registers={}, code=None)
        kept = {name: v for name, v in own.registers.items() if not private.is_text(v)}
        return replace(own, registers=kept)

    def _frame(self, frame: Frame) -> Frame:
        own: Frame = self._fields(frame)
        shown = {name: _QUOTED.sub(f'"{MEMORY}"', text) for name, text in own.locals.items()}
        return replace(own, locals=shown)

    def _graph(self, graph: Graph) -> Graph:
        found = Graph()
        for node in graph.nodes.values():
            found.add(self._fields(node))
        for edge in graph.edges:
            found.link(self._fields(edge))
        return found


def _itself(_redactor: Redactor, value: Any) -> Any:
    return value


_SPECIAL: dict[type[Any], Callable[[Redactor, Any], Any]] = {
    Frame: Redactor._frame,
    Graph: Redactor._graph,
    Input: Redactor._input,
    Report: Redactor._report,
    Signature: _itself,
    System: Redactor._system,
}

# --- memory of processes -----------------------------------------------------------

_REGISTERS = re.compile(r"\W*(?:Code|R[A-Z0-9]{1,2}|E[A-Z]{2}|[C-GS]S|ORIG_RAX|CR\d)\b")
_ANY_PC = re.compile(r"\b[RE]IP: ?[0-9a-f]{4}:")
_KERNEL_CODE = re.compile(r"\W*Code:")
_OWN_FORM = re.compile(r"\s*(?:GPR\d\d:|Krnl |\$ ?\d)")
"""Registers of PowerPC, s390 and MIPS stand side by side as words of memory do."""


def _is_of_process(report: Report) -> bool:
    """Whether the registers that the report begins with are a process's."""
    first = next((line for line in report.text if _ANY_PC.search(line)), "")
    return private.USER_PC.search(first) is not None


def _without_code(finding: Finding, of_processes: set[int]) -> Finding:
    if finding.log_line not in of_processes:
        return finding
    kept = tuple(block for block in finding.blocks if block.holds is not Holds.CODE)
    return replace(finding, blocks=kept)


def _process(line: str) -> str:
    """A line of registers or code that are a process's."""
    line = private.CODE_BYTES.sub(lambda match: _instead(match, MEMORY), line)
    return private.HEX_VALUE.sub(MEMORY, line)


def _dumped(line: str) -> str:
    """A line without the memory that it prints."""
    if _KERNEL_CODE.match(line) or _OWN_FORM.match(line):
        return line
    line = private.DUMPED.sub(_dump, line)
    line = private.DUMPED_WORDS.sub(lambda match: _instead(match, MEMORY), line)
    return private.HEX_VALUE.sub(_text_in_register, line)


def _dump(match: re.Match[str]) -> str:
    return match[0] if private.is_shadow(match["text"]) else _instead(match, MEMORY)


def _text_in_register(match: re.Match[str]) -> str:
    found = match[0]
    return MEMORY if len(found) == 16 and private.is_text(int(found, 16)) else found


# --- small things ------------------------------------------------------------------

_WORD = re.compile(r"\w+(?:[.-]+\w+)*")
_BETWEEN = re.compile(r"([.-]+)")
_MAX_PARTS = 33
_FLAG = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')


def _instead(match: re.Match[str], text: str) -> str:
    """The match with its group ``text`` replaced."""
    start, end = match.start("text") - match.start(), match.end("text") - match.start()
    return match[0][:start] + text + match[0][end:]


def _words(line: str) -> list[str]:
    """Parameters; quotes hold one together, and a lost one ends with the line."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError:
        return line.split()


def _shapes(kept: Sequence[str]) -> re.Pattern[str]:
    rows = [f"(?P<s{number}>{shape.pattern})" for number, shape in enumerate(private.SHAPES)]
    first = [f"(?P<kept>{'|'.join(map(re.escape, kept))})"] if kept else []
    return re.compile("|".join([*first, *rows]), re.IGNORECASE)


_compiled: list[tuple[private.Herald, re.Pattern[str]]] = []


def _heralds() -> list[tuple[private.Herald, re.Pattern[str]]]:
    if not _compiled:
        _compiled.extend((row, re.compile(row.pattern, re.IGNORECASE)) for row in private.HERALDS)
    return _compiled


def _strings(value: Any) -> Iterator[str]:
    """All strings of a value, also in what is kept as it is."""
    if isinstance(value, Enum):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _strings(getattr(value, field.name))


def _values(value: Any, key: str) -> Iterator[Any]:
    """What stands under ``key`` anywhere in a document."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name == key:
                yield item
            yield from _values(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item, key)


__all__ = ["NOTE", "Redactor", "redacted", "redacted_document", "redacted_records"]
