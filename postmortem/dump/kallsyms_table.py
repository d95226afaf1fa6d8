"""Decodes kallsyms: what scripts/kallsyms.c wrote, and of that only what is asked for.

A hundred of 150,000 symbols is what an analysis needs. Where pages of the table are
not in the dump, the symbols on the others remain.
"""

from __future__ import annotations

import bisect
import string
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import drgn

from postmortem.dump.available import Available, available
from postmortem.dump.damage import tolerated
from postmortem.dump.kallsyms_tokens import exported_symbols, solved

_TOKENS = 256
_PER_BLOCK = 256
"""Names between two markers."""
_MAX_SYMBOLS = 1 << 22
_MAX_NAMES_BYTES = 64 << 20
_MAX_TEXT_BYTES = 128 << 20
_MAX_CODES = 512
"""KSYM_NAME_LEN: no name has more characters, so no name has more codes."""
_MAX_TOKEN = 128
_MAX_TOKENS_BYTES = 1 << 16
"""Their index counts them with 16 bits."""
_MAX_GAP = 16 << 20
"""No symbol is that large: behind it nothing is, or something else."""
_KERNEL_SPACE = 1 << 63
_SAMPLES = 64
_MAX_ALIASES = 64
_LETTERS = "abcdginprstuvwABCDGINPRSTUVW?-"
"""Types of symbols that nm knows."""
_LETTERS_OF_NAMES = frozenset((string.ascii_letters + string.digits + "_.").encode())
_PAGE = 4096
_IMAGES = 0xFFFFFFFF80000000
"""__START_KERNEL_map: no kernel lies below."""
_LOST = b"\xff"
"""A token that is not in the dump: no name has this byte."""
_UNKNOWN = -1
"""A position that can't be told: what leads to it is not in the dump."""
_TRIED = 256
"""Places behind a hole where a name may begin: more bytes than most take."""
_CHECKED = 3
"""Blocks whose names must end where the next marker says."""


@dataclass(frozen=True)
class KallsymsTable:
    """Addresses of the parts of kallsyms in kernel memory; 0 where a part does not exist."""

    names: int
    token_table: int
    token_index: int
    num_syms: int
    offsets: int
    relative_base: int = 0
    addresses: int = 0


class Kallsyms:
    """The table of one kernel: names and addresses by index, in order of address.

    The decoder of drgn reads everything at once (0.25 s and 21 MB for 155,000
    symbols), trusts what it reads and decides by the kernel's version.

    :param stext: Address of ``_stext``, if it is known.
    :raises LookupError: this is no symbol table, or too little of it is in the dump.
    """

    def __init__(self, prog: drgn.Program, table: KallsymsTable, stext: int = 0) -> None:
        size = table.token_table - table.names
        if not 0 < size <= _MAX_NAMES_BYTES:
            raise LookupError(f"its names would have {size} bytes")
        self._tokens = _read_tokens(prog, table)
        self._names = available(prog, table.names, size)
        self._data = self._names.data
        self.count = self._count(prog, table)
        self._blocks: dict[int, Sequence[int]] = {}
        self._by_name: dict[str, int] | None = None
        self._more: dict[str, list[int]] = {}
        self._ranks: bytes | None = None
        try:
            self._markers, behind_markers = self._find_markers(table.names)
        except LookupError:
            counted = len(self._walk(0, _MAX_SYMBOLS)) - 1
            if self._names.holes or counted == self.count:
                raise
            self.count = counted  # the number was damaged, but not absurd
            self._markers, behind_markers = self._find_markers(table.names)
        self._width = 8 if table.addresses else 4
        size = self._width * self.count
        self._numbers = available(prog, table.addresses or table.offsets, size)
        self._places = self._known_places()
        self.missing_bytes = self._names.missing_bytes + self._numbers.missing_bytes
        """Of names and addresses, so many are not in the dump."""
        self.address = self._find_addresses(prog, table, stext)
        if _LOST in self._tokens:
            self._tokens = self._told_by_exports(prog, table)
            if not any(len(token) > 1 for token in self._tokens):
                raise LookupError("its tokens are not in the dump")
        if not self._names.holes and _LOST not in self._tokens:
            self._ranks = self._find_ranks(prog, table, behind_markers)

    def _told_by_exports(self, prog: drgn.Program, table: KallsymsTable) -> list[bytes]:
        """The tokens, with those that were lost, where names of exported symbols tell them."""
        names = []
        for address, name in exported_symbols(prog, table.token_index):
            index = self.at(address)
            if index is None or self.address(index) != address:
                continue
            positions = self._block(index // _PER_BLOCK)
            within = index % _PER_BLOCK
            if within < len(positions) and positions[within] != _UNKNOWN:
                # Functions lie in front of all tables; of data the letter can't be told.
                letter = b"T" if address < table.names else b"?"
                names.append((self._codes(positions[within]), letter + name))
        return solved(self._tokens, _LOST, names)

    @property
    def damage(self) -> str:
        """What is not known, in words; empty if all is."""
        addresses = self.count - len(self._places)
        names = sum(not self.name(index) for index in self._places) if self._incomplete else 0
        if not addresses and not names:
            return ""
        return (
            f"of {self.count} symbols, {addresses + names} are not known:"
            " pages of the symbol table (kallsyms) are missing"
        )

    @property
    def _incomplete(self) -> bool:
        return bool(self._names.holes or self._numbers.holes) or _LOST in self._tokens

    # --- names ---------------------------------------------------------------

    def _count(self, prog: drgn.Program, table: KallsymsTable) -> int:
        """How many symbols there are: what ``kallsyms_num_syms`` says, or how many names."""
        count = 0
        with tolerated():
            count = int(prog.read_u32(table.num_syms))
        # A name takes at least a length and one code.
        if 0 < 2 * count <= len(self._data) and count <= _MAX_SYMBOLS:
            return count
        # Behind the last name lie at least four zeroes: the first marker.
        found = 0
        if not self._names.holes:
            found = len(self._walk(0, _MAX_SYMBOLS)) - 1
        elif table.relative_base:
            found = _count_by_offsets(prog, table)
        found = found or self._count_by_markers()
        if not 0 < 2 * found <= len(self._data):
            raise LookupError(f"it claims {count} symbols in {len(self._data)} bytes")
        return found

    def _count_by_markers(self) -> int:
        """By the markers in front of the tokens and the names of the last block."""
        for padding in (0, 4):
            end = len(self._data) - padding
            at, marker = end - 4, 0
            while at > 0 and self._names.has(at, at + 4):
                word = int.from_bytes(self._data[at : at + 4], "little")
                if not word and marker:
                    blocks = (end - at) // 4 - 1
                    last = int.from_bytes(self._data[end - 4 : end], "little")
                    names = len(self._walk(last, _PER_BLOCK)) - 1
                    return blocks * _PER_BLOCK + names if names > 0 else 0
                if not word or (marker and word >= marker):
                    break
                at, marker = at - 4, word
        return 0

    def name(self, index: int) -> bytes:
        """The letter of the type (as in nm) and the name; empty where it is not readable."""
        number, within = divmod(index, _PER_BLOCK)
        positions = self._block(number)
        if within >= len(positions) or positions[within] == _UNKNOWN:
            return b""
        tokens = self._tokens
        name = b"".join([tokens[code] for code in self._codes(positions[within])])
        # A letter that could not be told, in the middle: the token was that of another place.
        return b"" if _LOST in name or name.find(b"?", 1) > 0 else name

    def _codes(self, at: int) -> bytes:
        length = self._data[at]
        if length & 0x80:  # v6.1, 73bbb94466fd: long names take two length bytes
            at += 1
            length = length & 0x7F | self._data[at] << 7
        return self._data[at + 1 : at + 1 + min(length, _MAX_CODES)]

    def _block(self, number: int) -> Sequence[int]:
        """Positions of the names between two markers, as far as they make sense."""
        known = self._blocks.get(number)
        if known is None:
            count = min(_PER_BLOCK, self.count - number * _PER_BLOCK)
            marker = self._markers[number]
            positions = self._walk(marker, count)[:-1] if marker != _UNKNOWN else []
            if self._names.holes and len(positions) < count:
                rest = count - len(positions)
                behind = self._walk_back(number, rest)
                positions += [_UNKNOWN] * (rest - len(behind)) + behind
            known = self._blocks[number] = positions
        return known

    def _walk(self, at: int, count: int) -> list[int]:
        """Positions of ``count`` names from ``at`` on, and that of their end."""
        data = self._data
        end = min(len(data), self._names.hole_from(at)[0]) - 1
        positions = [at]
        for _ in range(count):
            if at >= end or not data[at]:
                break
            length = data[at]
            if length & 0x80:
                at += 1
                length = length & 0x7F | data[at] << 7
            at += 1 + length
            positions.append(at)
        if self._names.holes and len(positions) > 1 and at > end + 1:
            positions.pop()  # its end is not in the dump
        return positions

    def _walk_back(self, number: int, count: int) -> list[int]:
        """Positions of the last names of a block, behind the last hole in it.

        Where the first of them begins is not known; but from nearly everywhere the lengths
        lead into the same chain, and that must end at the next marker. What all chains that do
        so share are names.
        """
        if number + 1 >= len(self._markers) or self._markers[number + 1] == _UNKNOWN:
            return []
        end, start = self._markers[number + 1], 0
        while (hole := self._names.hole_from(start))[0] < end:
            start = hole[1]
        if start >= end:
            return []
        shared: set[int] | None = None
        for at in range(start, min(start + _TRIED, end)):
            chain = self._walk(at, _PER_BLOCK)
            if end in chain:
                places = set(chain[: chain.index(end)])
                shared = places if shared is None else shared & places
        return sorted(shared or ())[-count:]

    def _find_markers(self, names_at: int) -> tuple[Sequence[int], int]:
        """``kallsyms_markers`` and the address behind: VMCOREINFO does not say where it is.

        It lies between names and token table; only ``kallsyms_seqs_of_names`` may follow.
        """
        count = -(-self.count // _PER_BLOCK)
        for behind in (0, 3 * self.count):
            for padding in range(8):
                end = len(self._data) - behind - padding
                start = end - 4 * count
                if start < 0 or (names_at + start) % 4:
                    continue
                markers: Sequence[int] = array("I", self._data[start:end])
                if not self._names.has(start, end):
                    markers = self._known_markers(markers, start)
                if self._are_markers(markers, start):
                    return self._with_walked(markers), names_at + end
        raise LookupError("it has no markers where they belong")

    def _known_markers(self, markers: Sequence[int], start: int) -> Sequence[int]:
        """The markers that are in the dump; the first one is 0."""
        places = range(start, start + 4 * len(markers), 4)
        pairs = zip(markers, places, strict=True)
        known = [m if self._names.has(at, at + 4) else _UNKNOWN for m, at in pairs]
        return [0, *known[1:]] if known[0] == _UNKNOWN else known

    def _are_markers(self, markers: Sequence[int], end: int) -> bool:
        known = [marker for marker in markers if marker != _UNKNOWN]
        if known[0] or known[-1] >= end:
            return False
        if any(known[i] >= known[i + 1] for i in range(len(known) - 1)):
            return False
        if self._names.holes:
            return self._lead_from_one_to_the_next(markers)
        last = self.count - (len(markers) - 1) * _PER_BLOCK
        return 0 <= end - self._walk(markers[-1], last)[-1] < 8

    def _lead_from_one_to_the_next(self, markers: Sequence[int]) -> bool:
        """Whether the names of some blocks, that are in the dump, end at the next marker."""
        checked = 0
        for marker, following in pairwise(markers):
            if _UNKNOWN in (marker, following) or not self._names.has(marker, following):
                continue
            if self._walk(marker, _PER_BLOCK)[-1] != following:
                return False
            checked += 1
            if checked == _CHECKED:
                break
        return True

    def _with_walked(self, markers: Sequence[int]) -> Sequence[int]:
        """Markers that are missing, told by the names of the block in front of them."""
        if _UNKNOWN not in markers:
            return markers
        told = list(markers)
        for number in range(1, len(told)):
            if told[number] == _UNKNOWN != told[number - 1]:
                positions = self._walk(told[number - 1], _PER_BLOCK)
                if len(positions) > _PER_BLOCK:
                    told[number] = positions[-1]
        return told

    def names(self) -> Iterator[tuple[int, str]]:
        """Index, and letter and name as :meth:`name` has them, of all symbols that are known."""
        if self._incomplete:
            for index in self._places:
                name = self.name(index)
                if name:
                    yield index, name.decode("latin-1")
            return
        # str.translate() is 4 times faster than joining tokens name by name.
        expand = {code: token.decode("latin-1") for code, token in enumerate(self._tokens)}
        separator = "\u2028"
        data, text = self._data, self._data.decode("latin-1")
        size = 0
        for number, marker in enumerate(self._markers):
            first = number * _PER_BLOCK
            at = self._walk(marker, min(_PER_BLOCK, self.count - first))
            if at[-1] - at[0] > _PER_BLOCK * _MAX_CODES:
                continue
            # The length takes one byte, or two if the first has its top bit set.
            codes = [text[a + 1 + (data[a] >> 7) : b] for a, b in pairwise(at)]
            names = separator.join(codes).translate(expand)
            size += len(names)
            if size > _MAX_TEXT_BYTES:
                return
            yield from enumerate(names.split(separator) if codes else (), first)

    def find(self, name: bytes) -> list[int]:
        """Indexes of all symbols of this name, in order of address."""
        if self._ranks is None:
            return self._find_in_all(name.decode("latin-1"))
        found = []
        rank = bisect.bisect_left(range(self.count), name, key=self._name_of_rank)
        while rank < self.count and self._name_of_rank(rank) == name:
            found.append(self._index_of_rank(rank))
            rank += 1
        return sorted(index for index in found if self._has_address(index))

    def _find_in_all(self, name: str) -> list[int]:
        if self._by_name is None:
            self._by_name = {}
            for index, text in self.names():
                if self._by_name.setdefault(text, index) != index:
                    self._more.setdefault(text, []).append(index)
        found = []
        for letter in _LETTERS:
            first = self._by_name.get(letter + name)
            if first is not None:
                found += [first, *self._more.get(letter + name, ())]
        return sorted(found)

    def _index_of_rank(self, rank: int) -> int:
        assert self._ranks is not None
        return int.from_bytes(self._ranks[3 * rank : 3 * rank + 3], "big")

    def _name_of_rank(self, rank: int) -> bytes:
        return self.name(self._index_of_rank(rank))[1:]

    def _find_ranks(
        self, prog: drgn.Program, table: KallsymsTable, behind_markers: int
    ) -> bytes | None:
        """``kallsyms_seqs_of_names``: indexes in order of the names, 3 bytes each, big-endian.

        It came in v6.2 (60443c88f3a8) behind the markers, and is the last part since
        v6.4 (404bad70fcf7, "scripts/kallsyms: change the output order").
        """
        behind = [behind_markers, table.offsets + 4 * self.count]
        if table.relative_base:
            behind.append(table.relative_base + 8)
        for at in dict.fromkeys(_align(end, by) for end in reversed(behind) for by in (4, 8)):
            try:
                self._ranks = prog.read(at, 3 * self.count)
            except drgn.FaultError:
                continue
            if self._ranks_are_sorted():
                return self._ranks
        return None

    def _ranks_are_sorted(self) -> bool:
        indexes = [self._index_of_rank(rank) for rank in _samples(self.count)]
        if max(indexes) >= self.count:
            return False
        names = [self.name(index)[1:] for index in indexes]
        return names == sorted(names) and (self.count == 1 or names[0] < names[-1])

    # --- addresses -----------------------------------------------------------

    def _has_address(self, index: int) -> bool:
        return self._numbers.has(self._width * index, self._width * (index + 1))

    def _known_places(self) -> Sequence[int]:
        """Indexes of the symbols whose addresses are in the dump."""
        if not self._numbers.holes:
            return range(self.count)
        known = array("I")
        width = self._width
        at, size = 0, width * self.count
        while at < size:
            start, end = self._numbers.hole_from(at)
            known.extend(range(-(-at // width), start // width))
            at = max(end, at + 1)
        if not known:
            raise LookupError("its addresses are not in the dump")
        return known

    def _find_addresses(
        self, prog: drgn.Program, table: KallsymsTable, stext: int
    ) -> Callable[[int], int]:
        """The way to turn an index into an address that makes sense here."""
        if table.addresses:
            absolute = array("Q", self._numbers.data)
            if self._make_sense(absolute.__getitem__, stext):
                return absolute.__getitem__
            raise LookupError("its addresses make no sense")
        offsets: array[int] = array("i", self._numbers.data)
        # Since v7.1 an offset counts from its own place.
        here = table.offsets
        base = 0
        with tolerated():
            base = int(prog.read_u64(table.relative_base)) if table.relative_base else 0

        def from_place(index: int) -> int:
            return here + 4 * index + offsets[index]

        def from_base(index: int) -> int:
            return base + (offsets[index] & 0xFFFFFFFF)

        def absolute_percpu(index: int) -> int:
            # CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86 up to v6.14): per-CPU offsets are positive.
            offset = offsets[index]
            return offset if offset >= 0 else base - 1 - offset

        ways = (absolute_percpu, from_base) if table.relative_base else (from_place,)
        for way in ways if base or not table.relative_base else ():
            if self._make_sense(way, stext):
                return way
        # What the base must be for _stext to lie where VMCOREINFO says; if the base may be
        # one, it is rather that line which is damaged.
        absurd = base % _PAGE != 0 or base < _IMAGES
        place = self._index_of(b"_stext") if stext and table.relative_base and absurd else None
        if place is not None:
            base = stext + 1 + offsets[place]
            if self._make_sense(absolute_percpu, stext):
                return absolute_percpu
            base = stext - (offsets[place] & 0xFFFFFFFF)
            if self._make_sense(from_base, stext):
                return from_base
        raise LookupError("its addresses make no sense")

    def _index_of(self, name: bytes) -> int | None:
        """The first symbol of this name, found without an order of names or addresses."""
        return next(iter(self._find_in_all(name.decode("latin-1"))), None)

    def _make_sense(self, address: Callable[[int], int], stext: int) -> bool:
        places = self._places
        numbers = _samples(len(places))
        sampled = [address(places[number]) for number in numbers]
        if sampled != sorted(sampled) or not _KERNEL_SPACE <= sampled[-1] < 1 << 64:
            return False
        if 2 * len(set(sampled)) < len(set(numbers)):  # a few are aliases
            return False
        if not stext:
            return True
        first = bisect.bisect_left(places, stext, key=address)
        aliases = places[first : first + _MAX_ALIASES]
        names = [self.name(i)[1:] for i in aliases if address(i) == stext]
        if names:
            return b"_stext" in names or (self._incomplete and b"" in names)
        # Its address may be what is missing: then there is a hole just where it belongs.
        before = places[first - 1] if first else -1
        behind = places[first] if first < len(places) else self.count
        return behind - before > 1

    def at(self, address: int) -> int | None:
        """Index of the symbol that ``address`` is in: of aliases the first, as for the kernel."""
        places = self._places
        number = bisect.bisect_right(places, address, key=self.address) - 1
        if number < 0:
            return None
        return places[bisect.bisect_left(places, self.address(places[number]), key=self.address)]

    def size(self, index: int) -> int:
        """Bytes up to the next symbol, 0 if that is missing or too far away to mean anything."""
        places = self._places
        address = self.address(index)
        number = bisect.bisect_left(places, index)
        following = bisect.bisect_right(places, address, lo=number, key=self.address)
        if following >= len(places) or places[following] - index != following - number:
            return 0
        size = self.address(places[following]) - address
        return size if 0 <= size <= _MAX_GAP else 0


def _align(value: int, by: int) -> int:
    return -(-value // by) * by


def _samples(count: int) -> list[int]:
    """Some indexes of ``count``, the first and the last among them."""
    return [number * (count - 1) // _SAMPLES for number in range(_SAMPLES + 1)]


def _count_by_offsets(prog: drgn.Program, table: KallsymsTable) -> int:
    """As many as there are offsets: ``kallsyms_relative_base`` follows them."""
    count = (table.relative_base - table.offsets) // 4
    with tolerated():
        # A symbol's offset is negative; what fills up to a multiple of 8 bytes is 0.
        count -= not prog.read_u32(table.offsets + 4 * (count - 1))
    return count


def _read_tokens(prog: drgn.Program, table: KallsymsTable) -> list[bytes]:
    """What each code stands for."""
    size = table.token_index - table.token_table
    if not 0 < size <= _MAX_TOKENS_BYTES:
        raise LookupError(f"its tokens would have {size} bytes")
    text = available(prog, table.token_table, size)
    starts: tuple[int, ...] = ()
    with tolerated():
        starts = struct.unpack(f"<{_TOKENS}H", prog.read(table.token_index, 2 * _TOKENS))
    if not starts or starts[0] or any(a >= b for a, b in pairwise(starts)):
        tokens = _split_tokens(text)  # the index is damaged
    else:
        tokens = [_token(text, start) for start in starts]
    # A character that occurs in names keeps its own code: these do in every kernel.
    return [
        bytes((code,)) if token == _LOST and code in _LETTERS_OF_NAMES else token
        for code, token in enumerate(tokens)
    ]


def _token(text: Available, start: int) -> bytes:
    end = text.data.find(b"\0", start, start + _MAX_TOKEN)
    if text.hole_from(start)[0] <= max(start, end):
        return _LOST
    if end < 0:
        raise LookupError("its tokens are damaged")
    return text.data[start:end]


def _split_tokens(text: Available) -> list[bytes]:
    """The tokens one after the other, as the table has them; those around a hole are lost."""
    first, last = text.hole_from(0)[0], text.holes[-1][1] if text.holes else 0
    tokens = text.data[:first].split(b"\0")[:_TOKENS]
    if text.holes:
        tokens.pop()  # cut off
        behind = text.data[last:].rstrip(b"\0").split(b"\0")[1:][: _TOKENS - len(tokens)]
        tokens += [_LOST] * (_TOKENS - len(tokens) - len(behind)) + behind
    if len(tokens) < _TOKENS or max(map(len, tokens)) >= _MAX_TOKEN:
        raise LookupError("its tokens are damaged")
    return tokens
