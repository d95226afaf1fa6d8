"""Which bucket a case belongs to: its key, what people decided, which fixes it came after.

A case has one bucket key, made of its signature and of what the verdict knows beyond it
(:mod:`postmortem.triage.keys`; cases whose *exact* signatures are equal have equal keys, unless
memory tells them apart). Nothing is ever joined because it looks alike.
Pure functions of a case and of all decisions: whoever computes it, in whichever order the cases
came, finds the same buckets.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from postmortem.model.findings import Kind, Signature

GROUPING_VERSION = 2
"""Of the keys in new stores; an old store keeps its own until ``postmortem triage regroup``."""

_UNKNOWN = ":unknown:"
_CORRUPTED = "-corrupted:"
"""How a title ends, in place of a function, where a report is too damaged to name one."""
_ASKED = str(Kind.USER_REQUESTED)


class Action(str, Enum):
    """What people can decide."""

    MUST_LINK = "must-link"
    """Two buckets are one bug."""
    CANNOT_LINK = "cannot-link"
    """Two buckets are not, whatever was decided before; or a case is none of a bucket's."""
    MOVE = "move"
    """A case belongs to that bucket."""
    FIXED = "fixed"
    """The bug of a bucket is fixed in these releases."""
    REOPEN = "reopen"
    """It is not: what was said of fixes no longer counts."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Decision:
    """One decision, its keys in the grouping version that is asked for."""

    action: Action
    key: str | None = None
    generation: int = 0
    case_id: str | None = None
    """The case, where it is about a case and not about a bucket."""
    other_key: str | None = None
    other_generation: int = 0
    releases: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class Place:
    """A bucket: its key, and how many fixes its cases came after."""

    key: str
    generation: int = 0

    @property
    def id(self) -> str:
        """The bucket's id: ten letters and digits, the same in every store."""
        text = self.key if self.generation == 0 else f"{self.key}#{self.generation}"
        digest = hashlib.blake2b(text.encode(), digest_size=7).digest()
        number = int.from_bytes(digest, "big") >> 6
        return "".join(_DIGITS[number >> shift & 31] for shift in range(45, -1, -5))

    @property
    def before(self) -> Place | None:
        """Of a generation the one before, which a fix was said to end."""
        return Place(self.key, self.generation - 1) if self.generation else None


_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Without i, l, o and u, which people misread."""


def usable(signature: Signature | None) -> bool:
    """Whether a signature tells one bug from another: it names a function or has a stack.

    What has neither is not sorted at all: a bucket of such would be a mixed bag. So would be one
    of crashes that somebody asked for: their stack is that of the asking.
    """
    if signature is None or signature.frames.startswith(_ASKED):
        return False
    if not signature.frames.endswith(_NOTHING):
        return True
    return _UNKNOWN not in signature.frames and _CORRUPTED not in signature.frames


_NOTHING = ":" + hashlib.sha1(b"", usedforsecurity=False).hexdigest()[:12]
"""How a signature without a stack ends, see rules/blame.py."""

VERSIONS: dict[int, str] = {1: "frames", 2: "bug"}
"""Which level of the keys joins, by the version of the grouping. A new rule is a new number.

1: the frames of the signature; 2: :func:`postmortem.triage.keys.bug_key`."""


@dataclass
class Grouping:
    """All decisions, ready to place cases."""

    moved: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    apart: dict[str, set[str]] = field(default_factory=dict)
    fixes: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    _root: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(decisions: Iterable[Decision]) -> Grouping:
        """:param decisions: in the order in which they were made; the later word counts."""
        made = list(decisions)
        grouping = Grouping(_root=_roots(made))
        for item in made:
            grouping._take(item)
        return grouping

    def _take(self, item: Decision) -> None:
        if item.case_id is not None and item.other_key is not None:
            if item.action is Action.MOVE:
                self.moved[item.case_id] = (item.other_key, item.other_generation)
                self.apart.pop(item.case_id, None)
            elif item.action is Action.CANNOT_LINK:
                self.apart.setdefault(item.case_id, set()).add(item.other_key)
                if self.moved.get(item.case_id, ("", 0))[0] == item.other_key:
                    del self.moved[item.case_id]
        elif item.key is not None:
            place = Place(self.root(item.key), item.generation)
            if item.action is Action.FIXED:
                known = self.fixes.get(place, ())
                self.fixes[place] = tuple(dict.fromkeys((*known, *item.releases)))
            elif item.action is Action.REOPEN:
                for later in [p for p in self.fixes if p.key == place.key and p >= place]:
                    del self.fixes[later]

    def root(self, key: str) -> str:
        """The key that stands for all that were linked to it."""
        return self._root.get(key, key)

    def place(self, cases: Sequence[str], key: str, release: str | None) -> Place:
        """Where a crash belongs.

        :param cases: the ids of all that show it.
        :param key: what the signature of the best of them gives.
        """
        decided = [self.moved[name] for name in cases if name in self.moved]
        found, generation = decided[-1] if decided else (key, None)
        root = self.root(found)
        for name in cases:
            if root in {self.root(other) for other in self.apart.get(name, ())}:
                return Place(f"apart:{name}")
        if generation is not None:
            return Place(root, generation)
        place = Place(root)
        while comes_after(release, self.fixes.get(place, ())):
            place = Place(root, place.generation + 1)
        return place


def _roots(decisions: Iterable[Decision]) -> dict[str, str]:
    """For each linked key the one that stands for all: what the link was made *to*."""
    links: dict[frozenset[str], tuple[str, str]] = {}
    barred: set[frozenset[str]] = set()
    for item in decisions:
        if item.key is None or item.other_key is None or item.key == item.other_key:
            continue
        pair = frozenset((item.key, item.other_key))
        if item.action is Action.MUST_LINK:
            barred.discard(pair)
            links.pop(pair, None)  # decided anew: it stands last
            links[pair] = (item.key, item.other_key)
        elif item.action is Action.CANNOT_LINK:
            links.pop(pair, None)
            barred.add(pair)
    return _joined(links.values(), barred)


def _joined(links: Iterable[tuple[str, str]], barred: set[frozenset[str]]) -> dict[str, str]:
    groups: dict[str, set[str]] = {}
    root: dict[str, str] = {}
    for one, other in links:
        target, source = root.get(other, other), root.get(one, one)
        if target == source:
            continue
        mine, theirs = groups.get(source, {source}), groups.get(target, {target})
        if any(frozenset((a, b)) in barred for a in mine for b in theirs):
            continue
        groups[target] = mine | theirs
        groups.pop(source, None)
        root.update(dict.fromkeys(groups[target], target))
    return root


# --- releases -------------------------------------------------------------------------

_RC = re.compile(r"-rc(\d+)")
_NUMBERS = re.compile(r"\d+(?:[.\-]\d+)*")
_SERIES = 2
"""Numbers that name a line of maintenance: 6.12."""


def release_order(release: str) -> tuple[int, ...]:
    """What a release sorts by: its leading numbers; a release candidate comes before.

    ``5.14.0-427.13.1.el9_4`` is (5, 14, 0, 427, 13, 1), ``6.13.0-rc3`` is (6, 13, 0, -1, 3).
    Empty if it does not start with a number.
    """
    candidate = _RC.search(release)
    text = release[: candidate.start()] if candidate else release
    numbers = _NUMBERS.match(text)
    if numbers is None:
        return ()
    found = [int(part[:9]) for part in re.split(r"[.\-]", numbers[0])]
    if candidate is not None:
        found = [*[*found, 0, 0, 0][:3], -1, int(candidate[1][:9])]
    return tuple(found)


def _padded(order: tuple[int, ...]) -> tuple[int, ...]:
    """So long that 6.13.0 sorts behind its release candidates."""
    return (*order, *([0] * (8 - len(order)))) if order else ()


def comes_after(release: str | None, fixed_in: Iterable[str]) -> bool:
    """Whether a kernel has a fix, as far as the releases tell that are said to have it.

    A release of a series that has one of its own is held against that; a newer series than all
    has it, too, since fixes go into the newest first. Of any other nothing is known: ``False``.
    """
    mine = _padded(release_order(release or ""))
    fixes = [_padded(order) for order in map(release_order, fixed_in) if order]
    if not mine or not fixes:
        return False
    own = [fix for fix in fixes if fix[:_SERIES] == mine[:_SERIES]]
    if own:
        return mine >= min(own)
    return mine[:_SERIES] > max(fix[:_SERIES] for fix in fixes)


def moves(before: Mapping[str, str], after: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """How many cases would change their company: (old bucket, new bucket) -> cases.

    A bucket that is only named anew, with all its cases and no others, has not moved.

    :param before: bucket by case.
    """
    pairs: dict[tuple[str, str], int] = {}
    old: dict[str, int] = {}
    new: dict[str, int] = {}
    for case_id, bucket in after.items():
        was = before.get(case_id, "")
        pairs[was, bucket] = pairs.get((was, bucket), 0) + 1
        old[was] = old.get(was, 0) + 1
        new[bucket] = new.get(bucket, 0) + 1
    return {
        (was, now): count
        for (was, now), count in pairs.items()
        if not (count == old[was] == new[now])
    }
