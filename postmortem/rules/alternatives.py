"""Many patterns asked at once: only those are tried that can begin as the text does.

Python's ``re`` tries the branches of an alternation one after the other, and the lists of
:mod:`postmortem.rules.machinery` have hundreds. What a branch can begin with is read off the
pattern; a pattern that is not understood is tried for every text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

_PLAIN = re.compile(r"[A-Za-z0-9_ <>\-=/:,;#\"'!]")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9])")


def heads(pattern: str) -> frozenset[str] | None:
    """The characters that a text which matches can begin with; ``None`` if not known.

    A pattern that may match nothing has no such characters either.
    """
    found: set[str] = set()
    for branch in _branches(pattern)[0]:
        first = _of_branch(branch)
        if first is None:
            return None
        found |= first
    return frozenset(found)


def _of_branch(rest: str) -> set[str] | None:
    found: set[str] = set()
    while rest:
        first, rest = _item(rest)
        if first is None or rest.startswith("{"):
            return None
        found |= first
        if not rest.startswith(("?", "*")):
            return found
        rest = rest[1:]
    return None


def _item(text: str) -> tuple[frozenset[str] | None, str]:
    """What the first item of a pattern can begin with, and what follows the item."""
    if text.startswith("(?:"):
        branches, rest = _branches(text[3:])
        return heads("|".join(branches)), rest
    if _PLAIN.match(text):
        return frozenset(text[0]), text[1:]
    escaped = _ESCAPED.match(text)
    if escaped is not None:
        return frozenset(escaped[1]), text[2:]
    if text.startswith("["):
        end = text.find("]", 2)
        members = text[1:end]
        if end > 0 and members.isalnum():
            return frozenset(members), text[end + 1 :]
    return None, ""


def _branches(text: str) -> tuple[list[str], str]:
    """The branches up to the end or to the parenthesis that closes them, and what follows it."""
    depth = start = at = 0
    branches = []
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = max(text.find("]", at + 2), at)
        elif char == "(":
            depth += 1
        elif char == ")" and depth == 0:
            break
        elif char == ")":
            depth -= 1
        elif char == "|" and depth == 0:
            branches.append(text[start:at])
            start = at + 1
        at += 1
    return [*branches, text[start:at]], text[at + 1 :]


def branches(pattern: str) -> list[str]:
    """The alternatives that a pattern has, apart from those in its groups."""
    return _branches(pattern)[0]


FEW = 400
"""So many texts are matched against all patterns: compiling for each character costs more."""


class Alternatives:
    """An alternation of patterns, searched as :class:`re.Pattern` is."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._by_head: dict[str, re.Pattern[str]] = {}
        self._asked = 0

    @cached_property
    def _heads(self) -> tuple[frozenset[str] | None, ...]:
        return tuple(map(heads, self.patterns))

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{text})" for text in self.patterns))

    @cached_property
    def _other(self) -> re.Pattern[str]:
        """For a text that begins with none of the characters that are known."""
        return self._some("")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset().union(*(known for known in self._heads if known is not None))

    def _some(self, head: str) -> re.Pattern[str]:
        pairs = zip(self.patterns, self._heads, strict=True)
        some = (text for text, known in pairs if known is None or head in known)
        return re.compile("|".join(f"(?:{text})" for text in some) or "(?!)")

    def _for(self, text: str) -> re.Pattern[str]:
        head = text[:1]
        found = self._by_head.get(head)
        if found is not None:
            return found
        if self._asked < FEW:
            self._asked += 1
            return self._whole
        if head not in self._known:
            return self._other
        found = self._by_head[head] = self._some(head)
        return found

    def match(self, text: str) -> re.Match[str] | None:
        """As :meth:`re.Pattern.match`."""
        return self._for(text).match(text)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """As :meth:`re.Pattern.fullmatch`."""
        return self._for(text).fullmatch(text)
