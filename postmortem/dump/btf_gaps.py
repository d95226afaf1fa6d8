"""How many types a hole in BTF has swallowed: ids are nothing but positions.

What lies behind the hole refers to types by their ids. For each number of types that the
hole may have had, these references meet other types; only with the right number does each
meet one that can stand there: functions meet prototypes, members fit in front of the next
one, members without a name are structs without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)

_COMPOUND = frozenset((STRUCT, UNION))
_SIZED = frozenset((INT, STRUCT, UNION, ENUM, FLOAT, ENUM64))
_ALIASES = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))
_NO_TYPES = frozenset((FUNC, VAR, DATASEC, DECL_TAG))
_MIN_MET = 8
"""So many references must fit well what they meet behind the hole, and twice as many as with
any other number of lost types that is possible."""
_MAX_RIVALS = 40
_MAX_REFERENCES = 6000
_MAX_CHAIN = 8


@dataclass(frozen=True)
class _Reference:
    """A type that is referred to, and what it must be."""

    target: int
    room: int = -1
    """Bits that it may take; -1 for any."""
    compound: bool = False
    """A struct or union without a name, perhaps qualified."""
    prototype: bool = False


class Behind:
    """The types behind a hole, as far as they make sense.

    :param words: the section's types.
    :param starts: index of each one's first word.
    :param before: the same of types in front of the hole, which refer behind it too.
    :param first: the id that the first lost type would have.
    :param bytes_of: size of a type with a smaller id, ``None`` if it has none.
    """

    def __init__(
        self,
        words: Sequence[int],
        starts: Sequence[int],
        before: Sequence[int],
        first: int,
        bytes_of: Callable[[int], int | None],
    ) -> None:
        self._words = words
        self._starts = starts
        self._before = before
        self._first = first
        self._bytes_of = bytes_of
        self._kinds = [self._kind(at) for at in starts]

    def _kind(self, at: int) -> int:
        return self._words[at + 1] >> 24 & 0x1F

    def lost(self, most: int) -> int | None:
        """How many types are missing, at most so many; ``None`` if that can't be told."""
        candidates = list(range(most + 1))
        references = []
        for reference in self._references():
            references.append(reference)
            if len(candidates) > 1:
                candidates = [lost for lost in candidates if self._meets(reference, lost) != 0]
            elif not candidates or len(references) >= _MAX_REFERENCES:
                break
        scores = sorted((self._exact(references, lost), lost) for lost in candidates[:_MAX_RIVALS])
        if not scores or len(candidates) > _MAX_RIVALS:
            return None
        best, lost = scores[-1]
        rival = scores[-2][0] if len(scores) > 1 else 0
        return lost if best >= max(_MIN_MET, 2 * rival) else None

    def _exact(self, references: Sequence[_Reference], lost: int) -> int:
        """How many references meet what fits well; 0 if one meets what can't be."""
        exact = 0
        for reference in references:
            met = self._meets(reference, lost)
            if not met:
                return 0
            if met == 1:
                told = reference.prototype or reference.compound
                exact += told or self._bits(reference.target, lost) == reference.room
        return exact

    def _meets(self, reference: _Reference, lost: int) -> int:
        """1 if it meets what it must, 0 if something else, -1 if that is not known."""
        index = reference.target - self._first - lost
        if not 0 <= index < len(self._starts):
            return -1
        kind = self._kinds[index]
        if reference.prototype:
            return int(kind == FUNC_PROTO)
        if kind in _NO_TYPES:
            return 0
        if reference.compound:
            qualified = kind in (CONST, VOLATILE)
            return int((kind in _COMPOUND or qualified) and not self._words[self._starts[index]])
        if reference.room < 0:
            return 1
        if kind == FUNC_PROTO:
            return 0
        size = self._bits(reference.target, lost)
        return -1 if size is None else int(size <= reference.room)

    def _bits(self, target: int, lost: int) -> int | None:
        count = 8
        for _ in range(_MAX_CHAIN):
            if target < self._first:
                size = self._bytes_of(target)
                return None if size is None else size * count
            index = target - self._first - lost
            if not 0 <= index < len(self._starts):
                return None
            at, kind = self._starts[index], self._kinds[index]
            if kind in _SIZED:
                return self._words[at + 2] * count
            if kind == PTR:
                return 8 * count
            if kind == ARRAY:
                target, count = self._words[at + 3], count * self._words[at + 5]
            elif kind in _ALIASES:
                target = self._words[at + 2]
            else:
                return None
        return None

    def _references(self) -> Iterator[_Reference]:
        """Those to types from the hole on, the telling ones first."""
        places = (*self._starts, *self._before)
        kinds = [self._kind(at) for at in places]
        for wanted in ((FUNC,), (STRUCT, UNION), (PTR, CONST, VOLATILE, TYPEDEF, ARRAY)):
            for at, kind in zip(places, kinds, strict=True):
                if kind in wanted:
                    for reference in self._of(at, kind):
                        if reference.target >= self._first:
                            yield reference

    def _of(self, at: int, kind: int) -> Iterator[_Reference]:
        words = self._words
        if kind == FUNC:
            yield _Reference(words[at + 2], prototype=True)
        elif kind in _COMPOUND:
            yield from self._members(at, kind)
        elif kind == ARRAY:
            yield _Reference(words[at + 3])
        else:
            yield _Reference(words[at + 2])

    def _members(self, at: int, kind: int) -> Iterator[_Reference]:
        words = self._words
        info, size = words[at + 1], words[at + 2]
        if info >> 31:
            return  # bit-fields: a member may be smaller than its type
        count = info & 0xFFFF
        offsets = [*words[at + 5 : at + 3 + 3 * count : 3], 8 * size]
        for number in range(count):
            name, target, offset = words[at + 3 + 3 * number : at + 6 + 3 * number]
            following = 8 * size if kind == UNION else offsets[number + 1]
            yield _Reference(target, max(0, following - offset), compound=not name)
