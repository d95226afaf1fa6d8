"""Options of a plugin: declared once, served to the command line, the library and a shell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from postmortem.errors import UsageError

RESERVED = frozenset(
    {"--json", "--output", "--verbose", "--help", "--vmlinux", "--btf", "--debug-dir", "--plugin"}
    | {"--debuginfod", "--no-debuginfod", "--pager", "--no-pager", "-o", "-v", "-h"}
)
"""What every command has already."""

TYPES = (bool, int, float, str, Path)
"""What the value of an option may be; an :class:`~enum.Enum` of text is a choice."""


@dataclass(frozen=True)
class Option:
    """One option: ``--seconds``, a ``float``."""

    flag: str
    """As written on the command line, with its dashes."""
    type: type[Any] = str
    default: Any = None
    help: str = ""
    metavar: str | None = None

    @property
    def name(self) -> str:
        """Name of the function's parameter: ``seconds``."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that may be given, where they are few."""
        return tuple(str(item.value) for item in self.type) if issubclass(self.type, Enum) else ()

    def value(self, given: object) -> Any:
        """A given value, as text or already of the right type, as the plugin gets it.

        :raises UsageError: it is no such value.
        """
        # A bool is an int for Python, but nobody means --seconds=True.
        strange = isinstance(given, bool) and self.type in (int, float)
        if given is None or (isinstance(given, self.type) and not strange):
            return given
        if self.type is float and isinstance(given, int) and not strange:
            return float(given)
        wanted = isinstance(given, str | os.PathLike) and self.type is not bool
        try:
            if wanted:
                return self.type(given)
        except (ValueError, TypeError):
            pass
        what = f"one of {', '.join(self.choices)}" if self.choices else f"{self.type.__name__}"
        raise UsageError(f"{self.flag} takes {what}, not {given!r}")


def option(
    flag: str,
    *,
    type: type[Any] = str,
    default: Any = None,
    help: str = "",
    metavar: str | None = None,
) -> Option:
    """Declare an option of a plugin; the function takes it as a keyword argument.

    ``option("--seconds", type=float, default=10.0, help="...")`` reaches the
    function as ``seconds``. A ``bool`` is a switch that is off if not given.

    :raises ValueError: the name or type can't be an option.
    """
    if not flag.startswith("--") or not flag[2:].replace("-", "_").isidentifier():
        raise ValueError(f"option {flag!r}: write it as --some-name")
    if flag in RESERVED:
        raise ValueError(f"option {flag}: every command has it already")
    if type not in TYPES and not issubclass(type, Enum):
        raise ValueError(f"option {flag}: {type.__name__} is no type of an option")
    if type is bool:
        default = False
    return Option(flag, type, default, help, metavar)


def values(plugin: str, declared: Sequence[Option], given: Mapping[str, object]) -> dict[str, Any]:
    """All options of a plugin with the values that were given, or their defaults.

    :raises UsageError: an option is not one of the plugin's, or its value is wrong.
    """
    found = {item.name: item.default for item in declared}
    by_name = {item.name: item for item in declared}
    for name, value in given.items():
        item = by_name.get(name)
        if item is None:
            known = ", ".join(by_name) or "none"
            raise UsageError(f"{plugin} has no option {name!r}; it has {known}")
        found[name] = item.value(value)
    return found


def numbers(flag: str, text: str | None) -> frozenset[int] | None:
    """Several numbers in one option: ``1,7,9``; ``None`` if it was not given.

    :raises UsageError: it is something else.
    """
    if text is None:
        return None
    words = text.split(",")
    if not all(word.isdecimal() and len(word) < 11 for word in words):
        raise UsageError(f"{flag} {text}: numbers with commas between them are wanted")
    return frozenset(map(int, words))
