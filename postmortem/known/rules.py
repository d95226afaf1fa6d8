"""Rules about known issues, read from YAML: what is looked for, and what is known then.

A file holds one rule or a list of them. Each is checked whole when it is read, so that a
mistake is one sentence and not a rule that never matches; docs/schema/known-1.json is the
same for editors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from postmortem.errors import UsageError
from postmortem.known.release import DISTRIBUTIONS, Version, numbers
from postmortem.model.findings import Kind

SHIPPED = Path(__file__).with_name("issues")
MAX_BYTES = 1 << 20
"""Of one file of rules."""
TABLES = ("upstream", "debian", *(row.name for row in DISTRIBUTIONS if "?P<own>" in row.pattern))
"""Whose versions a rule may name."""


@dataclass(frozen=True)
class Match:
    """What must be true of a failure; whatever is empty is not asked."""

    kinds: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    """Of the guilty function; ``*`` stands for anything."""
    frames: tuple[str, ...] = ()
    """All of them are on the stack."""
    modules: tuple[str, ...] = ()
    text: tuple[re.Pattern[str], ...] = ()
    """One of them is found in a line of the report."""


@dataclass(frozen=True)
class Span:
    """Where the bug is, in one count of versions."""

    since: Version | None = None
    fixed: tuple[tuple[Version, str], ...] = ()
    """The first version of each branch that has the fix, and as it is written."""


@dataclass(frozen=True)
class Example:
    """A log, and whether the rule is to match it: the rule's own test."""

    log: str
    known: bool


@dataclass(frozen=True)
class Rule:
    """One known issue."""

    id: str
    cause: str
    match: Match
    link: str = ""
    advice: str = ""
    kernels: Mapping[str, Span] = field(default_factory=dict)
    """By :data:`TABLES`."""
    examples: tuple[Example, ...] = ()
    source: str = ""
    """The file it is in."""


def load(folders: Iterable[Path], *, shipped: bool = True) -> list[Rule]:
    """All rules of the folders (and files), those of ours last: one's own win.

    :raises UsageError: a file can't be read or a rule makes no sense.
    """
    found: dict[str, Rule] = {}
    for folder in (*folders, *([SHIPPED] if shipped else ())):
        for path in _files(folder):
            for rule in read(path):
                known = found.get(rule.id)
                if known is not None and Path(known.source).parent == path.parent:
                    raise UsageError(f"{path}: the rule {rule.id!r} is in {known.source} already")
                found.setdefault(rule.id, rule)
    return list(found.values())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return [folder]
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))


def read(path: Path) -> list[Rule]:
    """The rules of one file."""
    import yaml

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"the rules in {path} can't be read: {why}") from error
    if len(text) > MAX_BYTES:
        raise UsageError(f"the rules in {path} can't be read: the file is larger than 1 MiB")
    try:
        # Every scalar stays a string: 5.10 is a version and no number.
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
        data = yaml.load(text, loader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        what = getattr(error, "problem", None) or "no YAML"
        raise UsageError(f"the rules in {path} can't be read: {what}{line}") from error
    listed = data if isinstance(data, list) else [] if data in (None, "") else [data]
    return [_rule(item, _Place(str(path), f"rule {n}")) for n, item in enumerate(listed, 1)]


# --- from plain data, with one sentence for every mistake ---------------------------


@dataclass(frozen=True)
class _Place:
    """Where in which file something stands."""

    file: str
    where: str

    def at(self, name: str) -> _Place:
        return _Place(self.file, f"{self.where}, {name}")

    def wrong(self, why: str) -> UsageError:
        return UsageError(f"{self.file}: {self.where}: {why}")


_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _rule(data: Any, place: _Place) -> Rule:
    fields = _mapping(
        data, place, {"id", "cause", "link", "advice", "match", "kernels", "examples"}
    )
    name = _string(fields.get("id"), place.at("id"))
    if not _ID.fullmatch(name):
        raise place.at("id").wrong(f"{name!r} may have small letters, digits, dots and hyphens")
    place = _Place(place.file, f"rule {name}")
    link = _string(fields["link"], place.at("link")) if "link" in fields else ""
    if link and (urlsplit(link).scheme not in ("http", "https") or re.search(r"[\s<>\"]", link)):
        raise place.at("link").wrong("it is no http(s) address")
    match = _match(fields.get("match"), place.at("match"))
    kernels = _mapping(fields.get("kernels", {}), place.at("kernels"), set(TABLES))
    examples = _list(fields.get("examples", []), place.at("examples"))
    return Rule(
        id=name,
        cause=_string(fields.get("cause"), place.at("cause")),
        match=match,
        link=link,
        advice=_string(fields["advice"], place.at("advice")) if "advice" in fields else "",
        kernels={table: _span(value, place.at(table)) for table, value in kernels.items()},
        examples=tuple(_example(item, place.at("examples")) for item in examples),
        source=place.file,
    )


def _match(data: Any, place: _Place) -> Match:
    fields = _mapping(data, place, {"kind", "function", "frames", "module", "text"})
    kinds = _strings(fields.get("kind"), place.at("kind"))
    for kind in kinds:
        if kind not in {str(member) for member in Kind}:
            raise place.at("kind").wrong(f"there is no kind {kind!r} (docs/verdict.md lists them)")
    found = Match(
        kinds=kinds,
        functions=_strings(fields.get("function"), place.at("function")),
        frames=_strings(fields.get("frames"), place.at("frames")),
        modules=_strings(fields.get("module"), place.at("module")),
        text=tuple(_patterns(fields.get("text"), place.at("text"))),
    )
    if not (found.functions or found.frames or found.text):
        raise place.wrong("it names no function, frames or text: that would match strangers")
    return found


def _patterns(data: Any, place: _Place) -> Iterator[re.Pattern[str]]:
    for text in _strings(data, place):
        try:
            yield re.compile(text)
        except re.error as error:
            raise place.wrong(f"{text!r} is no regular expression: {error}") from error


def _span(data: Any, place: _Place) -> Span:
    fields = _mapping(data, place, {"since", "fixed"})
    since = fields.get("since")
    fixed = _strings(fields.get("fixed"), place.at("fixed"))
    for text in (*fixed, *([since] if since is not None else ())):
        if not isinstance(text, str) or len(numbers(text)) < 2:
            raise place.wrong(f"{text!r} is no version")
    return Span(
        None if since is None else numbers(since),
        tuple(sorted((numbers(text), text) for text in fixed)),
    )


def _example(data: Any, place: _Place) -> Example:
    fields = _mapping(data, place, {"log", "known"})
    known = fields.get("known")
    if known not in ("true", "false"):
        raise place.wrong("known must be true or false")
    return Example(_string(fields.get("log"), place), known == "true")


def _mapping(data: Any, place: _Place, allowed: set[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise place.wrong(f"it must have some of {', '.join(sorted(allowed))}")
    for name in data:
        if name not in allowed:
            raise place.wrong(f"{name!r} is none of {', '.join(sorted(allowed))}")
    return data


def _list(data: Any, place: _Place) -> list[Any]:
    if not isinstance(data, list):
        raise place.wrong("it must be a list")
    return data


def _strings(data: Any, place: _Place) -> tuple[str, ...]:
    """One string or a list of them."""
    if data is None:
        return ()
    items = data if isinstance(data, list) else [data]
    return tuple(_string(item, place) for item in items)


def _string(data: Any, place: _Place) -> str:
    if not isinstance(data, str) or not data.strip():
        raise place.wrong("it is missing or no text")
    return data.strip() if "\n" not in data.strip() else data
