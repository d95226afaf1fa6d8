"""Formats of the kernel's ``printk()``, filled in by what their words name.

Getters are given the word before a field (``free:%lukB`` asks for ``free``), so the
kernel's own format decides which fields there are, in which order, and how wide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

UNKNOWN = "?"
"""What stands for a value that could not be read."""

Value = int | str | None

_SPEC = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+))?"
    r"(?P<size>hh|h|ll|l|L|q|j|z|t)?(?:(?P<kind>[diouxXcs%])|(?P<pointer>p[A-Za-z0-9]*))"
)
_BITS = {"hh": 8, "h": 16, None: 32}


class Field(NamedTuple):
    """One conversion of a format."""

    before: str
    """The text between the conversion before and this one."""
    label: str
    """Its last word, without colon."""
    spec: str
    unit: str
    """What follows at once: ``kB``."""


class Parsed(NamedTuple):
    """A format taken apart."""

    fields: tuple[Field, ...]
    rest: str


@lru_cache(maxsize=512)
def parsed(text: str) -> Parsed:
    """Take a format apart; ``%%`` stays in the text between."""
    fields: list[Field] = []
    start = at = 0
    while (found := _SPEC.search(text, at)) is not None:
        at = found.end()
        if found["kind"] == "%":
            continue
        before = text[start : found.start()]
        words = before.split() or [""]
        following = re.match(r"[A-Za-z]*", text[at:])
        unit = following[0] if following is not None else ""
        fields.append(Field(before, words[-1].rstrip(":?=#"), found[0], unit))
        start = at
    return Parsed(tuple(fields), text[start:])


def filled(text: str, value: Callable[[Field], Value]) -> str:
    """The format with a value for each field; ``None`` is shown as ``?``."""
    whole = parsed(text)
    parts = []
    for field in whole.fields:
        parts.append(_plain(field.before))
        parts.append(converted(field.spec, value(field)))
    parts.append(_plain(whole.rest))
    return "".join(parts)


def printf(text: str, *values: Value) -> str:
    """The format with its values in order, as C does it; a ``*`` takes one of them."""
    whole = parsed(text)
    given = list(values)
    parts = []
    for field in whole.fields:
        spec = field.spec
        while "*" in spec and given:
            spec = spec.replace("*", str(given.pop(0)), 1)
        parts.append(_plain(field.before))
        parts.append(converted(spec, given.pop(0) if given else None))
    parts.append(_plain(whole.rest))
    return "".join(parts)


class _Conversion(NamedTuple):
    """A conversion in Python's words."""

    text: str
    """For a string."""
    unknown: str
    number: str
    mask: int
    """Of an unsigned number, 0 for others."""
    character: bool


@lru_cache(maxsize=512)
def _conversion(spec: str) -> _Conversion | None:
    found = _SPEC.fullmatch(spec)
    if found is None:
        return None
    flags, width = found["flags"], found["width"] or ""
    precision = f".{found['precision']}" if found["precision"] else ""
    kind = found["kind"] or "s"
    plain = flags.replace("0", "").replace("#", "")
    number = "d" if kind in "iu" else kind
    return _Conversion(
        text=f"%{plain}{width}{precision if kind == 's' else ''}s",
        unknown=f"%{plain}{width}s" % UNKNOWN,
        number=f"%{flags}{width}{precision if kind != 'c' else ''}{number}",
        mask=(1 << _BITS.get(found["size"], 64)) - 1 if kind in "uoxX" else 0,
        character=kind == "c",
    )


def converted(spec: str, value: Value) -> str:
    """One conversion.

    A pointer (``%pS``) is given as the text that it shows.
    """
    how = _conversion(spec)
    if how is None:
        return spec
    if value is None:
        return how.unknown
    if isinstance(value, str):
        return how.text % value
    if how.mask:
        value &= how.mask
    if how.character:
        return how.number % chr(value & 0xFF)
    return how.number % value


def _plain(text: str) -> str:
    return text.replace("%%", "%")
