"""The tokens of kallsyms, where the page with them is lost: told by names that stand elsewhere.

Every name in kallsyms is made of tokens, so that one lost page costs all of them. What the
kernel exports to modules has its name in full a second time, beside its address
(``struct kernel_symbol``, include/linux/export-internal.h): whoever compares some thousand
such names with their codes learns what the codes stand for. The search knows its table by its
shape: three 32-bit words an entry, the first two relative to their own place, names ascending.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import drgn

from postmortem.dump.available import Available, available

_IMAGE_BYTES = 64 << 20
"""Behind the symbol table, in which what is exported is looked for."""
_STEP = 16 << 10
"""The table of what is exported is larger."""
_PROBED = 8
"""Entries that have to fit wherever one looks."""
_ENTRY = 12
_MAX_AWAY = 4 << 20
"""How far behind an entry its name may lie."""
_WINDOW = 4 << 20
_MAX_ENTRIES = 1 << 17
_NAME = re.compile(rb"[A-Za-z_.][A-Za-z0-9_.$]{0,127}(?=\0)")
_MAX_NAME = 129
_PASSES = 24
_ENOUGH = 2
"""Names that say the same about a code."""


def exported_symbols(prog: drgn.Program, start: int) -> Iterator[tuple[int, bytes]]:
    """Address and name of what the kernel exports, as far as it is in the dump.

    :param start: an address in .rodata in front of it.
    """
    done, count = start, 0
    for at in range(start & -_STEP, start + _IMAGE_BYTES, _STEP):
        if at < done:
            continue
        piece = available(prog, at, (_PROBED + 1) * _ENTRY)
        phases = [] if piece.holes else [0, 4, 8]
        phases = [phase for phase in phases if _may_be(prog, at, piece.data, phase)]
        if not phases:
            continue
        low = at - _STEP
        window = available(prog, low, _WINDOW)
        for phase in phases:
            entries = list(_entries(window, at - low + phase))
            if len(entries) >= _PROBED:
                for place, name in entries:
                    (value,) = struct.unpack_from("<i", window.data, place)
                    yield low + place + value, name
                count += len(entries)
                done = low + entries[-1][0] + _ENTRY
                break
        if count > _MAX_ENTRIES:
            return


def _may_be(prog: drgn.Program, at: int, data: bytes, phase: int) -> bool:
    """Whether the second words of the entries from here on lead to names that ascend."""
    places = range(phase, phase + _PROBED * _ENTRY, _ENTRY)
    offsets = [int.from_bytes(data[place + 4 : place + 8], "little") for place in places]
    if not all(0 < offset < _MAX_AWAY for offset in offsets):
        return False
    last = b""
    for place, offset in zip(places, offsets, strict=True):
        match = _NAME.match(available(prog, at + place + 4 + offset, _MAX_NAME).data)
        if match is None or match.group() <= last:
            return False
        last = match.group()
    return True


def _entries(window: Available, at: int) -> Iterator[tuple[int, bytes]]:
    """Offset and name of the entries before and behind a place, while their names ascend."""
    before = []
    place, following = at - _ENTRY, _name(window, at)
    if following is None:
        return
    last = following
    while place >= 0 and (name := _name(window, place)) is not None and name < following:
        before.append((place, name))
        place, following = place - _ENTRY, name
    yield from reversed(before)
    yield at, last
    place = at + _ENTRY
    while (found := _name(window, place)) is not None and found > last:
        yield place, found
        place, last = place + _ENTRY, found


def _name(window: Available, place: int) -> bytes | None:
    """The name of the entry there, if it may be one."""
    if not window.has(place, place + _ENTRY):
        return None
    name, space = struct.unpack_from("<ii", window.data, place + 4)
    if not 0 < name < _MAX_AWAY or not 0 <= space < _MAX_AWAY:
        return None
    # What is before may be the start of another name: linkers let strings share their ends.
    match = _NAME.match(window.data, place + 4 + name)
    return match.group() if match is not None and window.has(match.start(), match.end()) else None


def solved(
    tokens: Sequence[bytes], lost: bytes, names: Sequence[tuple[bytes, bytes]]
) -> list[bytes]:
    """The tokens, with those that can be told by names that are known.

    :param lost: stands for a token that is not known.
    :param names: codes, and what they stand for together: letter of the type, and name.
    """
    found = list(tokens)
    open_names = list(names)
    for _ in range(_PASSES):
        said: dict[int, Counter[bytes]] = defaultdict(Counter)
        rest = []
        for codes, name in open_names:
            unknown = [place for place, code in enumerate(codes) if found[code] == lost]
            if len(unknown) == 1:
                (place,) = unknown
                token = _between(found, codes, place, name)
                if token:
                    said[codes[place]][token] += 1
            if unknown:
                rest.append((codes, name))
        new = {code: _agreed(votes) for code, votes in said.items()}
        told = {code: token for code, token in new.items() if token is not None}
        if not told:
            break
        for code, token in told.items():
            found[code] = token
        open_names = rest
    return found if _are_right(found, lost, names) else list(tokens)


def _are_right(tokens: Sequence[bytes], lost: bytes, names: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether nearly all names come out as they are known."""
    right = total = 0
    for codes, name in names:
        made = b"".join([tokens[code] for code in codes])
        total += lost not in made
        right += made[1:] == name[1:]  # the letter is a guess
    return 20 * right >= 19 * total > 0


def _between(tokens: Sequence[bytes], codes: bytes, place: int, name: bytes) -> bytes:
    """What the code at a place must stand for; nothing if the others do not fit."""
    head = b"".join([tokens[code] for code in codes[:place]])
    tail = b"".join([tokens[code] for code in codes[place + 1 :]])
    fits = name.startswith(head) and name.endswith(tail) and len(head) + len(tail) < len(name)
    return name[len(head) : len(name) - len(tail)] if fits else b""


def _agreed(votes: Counter[bytes]) -> bytes | None:
    """What nearly all names say; a name may be that of another symbol at the same place."""
    (token, count), *_others = votes.most_common(1)
    return token if count >= _ENOUGH and 10 * count >= 9 * votes.total() else None
