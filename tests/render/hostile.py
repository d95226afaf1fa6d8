"""Puts one string into every string of an analysis."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

KEEP = {"id", "finding", "caused_by", "kind", "types_from", "unit"}
"""Strings that link findings or come from a closed list."""


def poison(value: Any, text: str) -> Any:
    """``value`` with every free string in it replaced by ``text``."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(poison(item, text) for item in value)
    if isinstance(value, dict):
        return {text + str(n): poison(item, text) for n, item in enumerate(value.values())}
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: poison(getattr(value, field.name), text)
            for field in fields(value)
            if field.name not in KEEP
        }
        return replace(value, **changes)
    return value


ATTACKS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\x1bP+q\x1b\\",
    "line\rover\nline",
    "back\b\b\bspace",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "[red]markup[/red] [link=http://x]y[/link] :boom:",
    "<script>alert(1)</script>\"'&",
    "\ud800 lone surrogate",
    "\u2028\u2029\u200b\ufeff",
    "\0",
    "",
    "{0} %s \\",
)
