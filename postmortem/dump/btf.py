"""BPF Type Format: the kernel's own types, as they lie in its memory.

:class:`Btf` reads the format (Documentation/bpf/btf.rst in the kernel tree) and
knows no drgn; :class:`BtfTypes` turns its entries into ``drgn.Type`` objects,
each only when somebody asks for it. When drgn ships a reader of its own, only
:mod:`postmortem.dump.selfdescribe` has to change.

BTF comes from a dump: nothing in it is trusted. Every index is checked, chains
are bounded, types that contain themselves are refused, and :class:`BtfError` is
all that comes out.

What BTF cannot say: ``[0]`` and ``[]`` are the same, and pahole before v1.27
wrote ``int x[2][3]`` as ``int x[6]``.
"""

from __future__ import annotations

import bisect
import re
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import drgn

from postmortem.dump.btf_gaps import Behind

MAGIC = 0xEB9F

# enum { BTF_KIND_... } in include/uapi/linux/btf.h
INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)

# 32-bit words after the 3-word header: fixed part, and part per element (vlen).
_EXTRA_FIXED = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_EXTRA_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
_NAMED = frozenset((INT, STRUCT, UNION, ENUM, TYPEDEF, FUNC, VAR, FLOAT, ENUM64))
_SIZED = frozenset((INT, STRUCT, UNION, ENUM, FLOAT, ENUM64))
_ALIASES = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))

_MAX_CHAIN = 64
"""Longest chain of typedefs, qualifiers and arrays that is followed."""
_MAX_STRUCT_BYTES = 16 << 20
_MAX_ARRAY_BYTES = 1 << 32
_MAX_NAME = 1024
_MAX_SAME_STRINGS = 16
"""BTF has each string once; this is what a damaged one may have."""
_POINTER_BYTES = 8
_MAX_GAPS = 400
"""Damaged places behind which types are looked for again."""
_MAX_GAP = 1 << 13
"""Words that one of them may take."""
_SAMPLED = 3000
_MIN_SOUND = 64
"""So many types in a row that make sense are types."""
_UNUSED = 0x60FF0000
"""Bits of a type's second word that mean nothing."""


class BtfError(LookupError):
    """The BTF is damaged at the place that was asked for."""


class RawMember(NamedTuple):
    """A member of a struct or union."""

    name: str | None
    type_id: int
    bit_offset: int
    bit_size: int
    """0 if it is not a bit-field."""


class _Steps(dict[int, tuple[int, "dict[int, int] | None"]]):
    """By the info word of a type: words up to the next type, and the index of names it goes to."""

    def __init__(self, by_name: dict[int, dict[int, int]]) -> None:
        super().__init__()
        self._by_name = by_name

    def __missing__(self, info: int) -> tuple[int, dict[int, int] | None]:
        kind = (info >> 24) & 0x1F
        if not INT <= kind <= ENUM64:
            raise BtfError(f"unknown kind {kind}")
        step = 3 + _EXTRA_FIXED.get(kind, 0) + _EXTRA_EACH.get(kind, 0) * (info & 0xFFFF)
        found = self[info] = step, self._by_name.get(kind)
        return found


def _strings_start(data: bytes, type_len: int, str_off: int, str_len: int) -> int:
    """Where the strings begin that follow the types; 0 if nothing looks like them.

    The types' length, the strings' offset and the strings' length say the same, so that one
    of them may be damaged. Else by what they look like: text and NULs to the end.
    """
    size = len(data)
    for at in (24 + str_off, 24 + type_len, size - str_len):
        if at % 4 == 0 and 24 < at < size and _NAMES.match(data, at):
            return at
    first = max(24, len(data.rstrip(_TEXT)))
    return next((at for at in range(first & ~3, size - 64, 4) if _NAMES.match(data, at)), 0)


_NAMES = re.compile(rb"\0(?:[ -~]+\0){8}")
_TEXT = bytes((0, *range(0x20, 0x7F)))


class Btf:
    """One BTF section: vmlinux's, or a module's on top of vmlinux's.

    :param data: The section's bytes.
    :param base: What a split (module) BTF continues: its ids and string
        offsets start where those of the base end.
    :param holes: what of the bytes is missing, and zero instead.
    :param places: byte offset of each type by its id, 0 where that is not known; asked only
        if the types break off.
    :raises BtfError: it is no BTF, or its header contradicts its size.
    """

    def __init__(
        self,
        data: bytes,
        base: Btf | None = None,
        holes: Sequence[tuple[int, int]] = (),
        places: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self.base = base
        if len(data) < 24:
            raise BtfError("BTF is shorter than its header")
        magic, _version, _flags, header, type_off, type_len, str_off, str_len = struct.unpack_from(
            "<HBBIIIII", data
        )
        types_end = header + type_off + type_len
        strings_end = header + str_off + str_len
        sound = header >= 24 and types_end <= len(data) >= strings_end and not type_len % 4
        mended = ""
        if magic != MAGIC or not sound:
            # Where it lies is known by its symbols: the sections are told by their shape.
            types_end = _strings_start(data, type_len, str_off, str_len)
            if not types_end:
                why = "BTF header contradicts its size"
                raise BtfError(why if magic == MAGIC else f"no BTF: magic is {magic:#x}")
            header, type_off, str_off, strings_end = 24, 0, types_end - 24, len(data)
            mended = "the header is damaged: types and names were told by their shape"
        self._words = array("I")
        self._words.frombytes(data[header + type_off : types_end])
        self._strings = data[header + str_off : strings_end]
        self._types_start = start = header + type_off
        self._gaps = [((a - start) // 4, -((start - b) // 4)) for a, b in holes]
        self._places = places
        start = header + str_off
        self._holes = [(a - start, b - start) for a, b in holes if b > start]
        self._first_string = base.string_end if base else 0
        self.first_id = base.end_id if base else 1
        self._where = array("I")
        self._by_name: dict[int, dict[int, int]] = {kind: {} for kind in _NAMED}
        self._repeated: list[int] = []
        """Types whose name, or lack of one, another type of that kind has too."""
        self.damage = ". ".join(filter(None, (mended, self._index())))
        """Why the types break off, if they do; those before are good."""
        self._names: dict[int, dict[str, int]] = {}
        self._constants: dict[str, int] | None = None
        self._signs: bool | None = None

    def _index(self) -> str:
        """Note where each type starts and which names there are, in one pass."""
        broken: list[str] = []
        at = self._index_from(0, broken)
        places = self._places() if broken and self._places is not None else ()
        if places:
            lost = self._index_by([(at - self._types_start) // 4 for at in places])
            return f"{broken[0]}. {lost} are lost"
        lost_in_all = 0
        while at < len(self._words) and len(broken) < _MAX_GAPS:
            resumed = self._resume(at)
            if resumed is None:
                break
            absent = len(self._words)
            self._words.extend((0, 0, 0))  # a type of no kind, for those that were lost
            if self._where and not any(self._words[at - 3 : at]):
                self._where[-1] = absent  # its end lies in the hole
            at, lost = resumed
            self._where.extend([absent] * lost)
            lost_in_all += lost
            at = self._index_from(at, broken, absent)
        if lost_in_all:
            broken[1:] = [f"{lost_in_all} are lost in {len(broken)} places", *broken[1:][-1:]]
        return ". ".join(broken)

    def _index_by(self, told: Sequence[int]) -> int:
        """Index anew by the word at which each type is said to be; how many are lost even so."""
        words, absent = self._words, len(self._words)
        words.extend((0, 0, 0))  # a type of no kind, for those that are lost
        self._where, self._repeated = array("I"), []
        for known in self._by_name.values():
            known.clear()
        steps = _Steps(self._by_name)
        lost, at = 0, 0
        while at < absent and (at >= 0 or self.end_id < len(told)):
            type_id = self.end_id
            said = told[type_id] if type_id < len(told) else -1
            at = next((place for place in (said, at) if self._is_type(place, absent)), -1)
            if at < 0:
                self._where.append(absent)
                lost += 1
                continue
            step, names = steps[words[at + 1]]
            whole = at + step <= absent and not self._in_gap(at, at + step)
            self._where.append(at if whole else absent)
            lost += not whole
            if whole and names is not None and names.setdefault(words[at], type_id) != type_id:
                self._repeated.append(type_id)
            at += step
        return lost

    def _in_gap(self, start: int, end: int) -> bool:
        """Whether some of these words are not in the dump."""
        number = bisect.bisect_right(self._gaps, start, key=itemgetter(1))
        return number < len(self._gaps) and self._gaps[number][0] < end

    def _is_type(self, at: int, end: int) -> bool:
        """Whether the word may be the first of a type: it has a kind, and a name or none."""
        if not 0 <= at <= end - 3:
            return False
        name, info = self._words[at : at + 2]
        if not INT <= info >> 24 & 0x1F <= ENUM64 or info & _UNUSED:
            return False
        start = name - self._first_string
        return start <= 0 or (start < len(self._strings) and not self._strings[start - 1])

    def _index_from(self, at: int, broken: list[str], limit: int = 0) -> int:
        """Index from a word on; where the types break off, and why in ``broken``."""
        words = self._words
        note = self._where.append
        repeat = self._repeated.append
        steps = _Steps(self._by_name)
        end = limit or len(words)
        type_id = self.end_id
        try:
            while at < end:
                step, names = steps[words[at + 1]]
                note(at)
                if names is not None and names.setdefault(words[at], type_id) != type_id:
                    repeat(type_id)
                at += step
                type_id += 1
        except (BtfError, IndexError) as exc:
            broken.append(f"types break off at {type_id}: {exc}")
            return at
        if at != end:
            self._where.pop()
            broken.append(f"type {type_id - 1} is cut off")
        return len(words)

    def _resume(self, broken: int) -> tuple[int, int] | None:
        """Where sound types begin again behind a damaged word, and how many were lost."""
        end = len(self._words)
        before = [where for where in self._where[-_SAMPLED:-1] if where < broken]
        at = broken + 1
        while at < min(end, broken + _MAX_GAP):
            starts = self._sound_types(at, end)
            if starts:
                behind = Behind(self._words, starts, before, self.end_id, self._bytes_of)
                lost = behind.lost((at - broken) // 3 + 2)
                if lost is not None:
                    return at, lost
                at = starts[-1]
            at += 1
        return None

    def _bytes_of(self, type_id: int) -> int | None:
        try:
            kind, _, size = self.resolve(type_id)
        except (BtfError, IndexError):
            return None
        return size if kind in _SIZED or kind == PTR else None

    def _sound_types(self, at: int, end: int) -> list[int]:
        """Where the types from a word on begin, up to one that makes no sense; none if few do."""
        found: list[int] = []
        while at + 2 < end and len(found) < _SAMPLED:
            if not self._is_type(at, end):
                break
            info = self._words[at + 1]
            kind = info >> 24 & 0x1F
            found.append(at)
            at += 3 + _EXTRA_FIXED.get(kind, 0) + _EXTRA_EACH.get(kind, 0) * (info & 0xFFFF)
        else:
            return found if found and at <= end else found[:-1]
        return found[:-1] if len(found) > _MIN_SOUND else []  # the last one may be cut off

    @property
    def string_end(self) -> int:
        """First string offset after this section's strings."""
        return self._first_string + len(self._strings)

    @property
    def end_id(self) -> int:
        """First type id after this section's types."""
        return self.first_id + len(self._where)

    def owner(self, type_id: int) -> Btf:
        """The section (this or its base) that holds ``type_id``."""
        section: Btf | None = self
        while section is not None:
            if section.first_id <= type_id < section.end_id:
                return section
            section = section.base
        raise BtfError(f"BTF has no type {type_id}")

    def string(self, offset: int) -> str:
        """The string at ``offset`` ('' for 0)."""
        if offset < self._first_string and self.base is not None:
            return self.base.string(offset)
        start = offset - self._first_string
        end = self._strings.find(b"\0", start, start + _MAX_NAME)
        if end < 0:
            raise BtfError(f"BTF has no string at {offset}")
        if self._holes and any(a <= end and start < b for a, b in self._holes):
            return f"lost_name_{offset}"  # no cut one: that may be another's
        return self._strings[start:end].decode("utf-8", "replace")

    def _name_offsets(self, name: bytes) -> Iterator[int]:
        """Where ``name`` is a whole string: in a sound BTF at one place."""
        if self.base is not None:
            yield from self.base._name_offsets(name)
        needle = b"\0" + name + b"\0"
        if self._strings.startswith(needle[1:]):  # a module's strings start without a NUL
            yield self._first_string
        at = -1
        for _ in range(_MAX_SAME_STRINGS):
            at = self._strings.find(needle, at + 1)
            if at < 0:
                return
            yield self._first_string + at + 1

    def find(self, kind: int, name: str) -> int | None:
        """Id of the type of this kind and name in this section (not its base)."""
        if kind != FUNC:
            if kind not in self._names:
                self._names[kind] = self._decode(self._by_name[kind])
            return self._names[kind].get(name)
        # Half of all names are those of functions, and few are asked for: searching the
        # strings (1 ms at most) is cheaper than reading them all.
        functions = self._by_name[FUNC]
        for offset in self._name_offsets(name.encode()):
            if offset in functions:
                return functions[offset]
        return None

    def find_enum_of(self, constant: str) -> int | None:
        """Id of the enum that has this enumerator."""
        if self._constants is None:
            self._constants = self._decode(self._index_constants())
        return self._constants.get(constant)

    def _decode(self, by_offset: dict[int, int]) -> dict[str, int]:
        """An index by name, out of one by the names' offsets."""
        found: dict[str, int] = {}
        for offset, type_id in by_offset.items():
            try:
                found.setdefault(self.string(offset), type_id)
            except BtfError:
                continue
        return found

    def _index_constants(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for type_id in self._enums():
            _name, info, _size = self._header(type_id)
            step = _EXTRA_EACH[(info >> 24) & 0x1F]
            for offset in self.tail(type_id, step * (info & 0xFFFF))[::step]:
                found.setdefault(offset, type_id)
        return found

    def _enums(self) -> Iterator[int]:
        named = (self._by_name[kind].values() for kind in (ENUM, ENUM64))
        for type_id in chain(*named, self._repeated):  # what is cut off is none any more
            if self.kind(type_id)[0] in (ENUM, ENUM64):
                yield type_id

    @property
    def has_signs(self) -> bool:
        """Whether enums say that they are signed (since v6.0, 6089fb325cf7, and pahole v1.24)."""
        if self.base is not None:
            return self.base.has_signs
        if self._signs is None:
            self._signs = any(self._header(type_id)[1] >> 31 for type_id in self._enums())
        return self._signs

    # --- one entry -----------------------------------------------------------

    def _header(self, type_id: int) -> array[int]:
        section = self.owner(type_id)
        at = section._where[type_id - section.first_id]
        return section._words[at : at + 3]

    def head(self, type_id: int) -> tuple[int, str, int, int, bool]:
        """``(kind, name, size or type id, vlen, kind_flag)`` of a type."""
        name, info, size = self._header(type_id)
        return (info >> 24) & 0x1F, self.string(name), size, info & 0xFFFF, bool(info >> 31)

    def kind(self, type_id: int) -> tuple[int, int]:
        """``(kind, size or type id)`` of a type."""
        _name, info, size = self._header(type_id)
        return (info >> 24) & 0x1F, size

    def tail(self, type_id: int, count: int) -> array[int]:
        """``count`` words that follow the header of a type."""
        section = self.owner(type_id)
        at = section._where[type_id - section.first_id] + 3
        return section._words[at : at + count]

    def members(self, type_id: int) -> list[RawMember]:
        """Members of a struct or union."""
        _kind, _name, _size, vlen, flag = self.head(type_id)
        words = self.tail(type_id, vlen * 3)
        result = []
        for i in range(0, vlen * 3, 3):
            name, member_type, offset = words[i : i + 3]
            bits = 0
            if flag:
                bits, offset = offset >> 24, offset & 0xFFFFFF
            result.append(RawMember(self.string(name) or None, member_type, offset, bits))
        return result

    def enumerators(self, type_id: int) -> tuple[bool, list[tuple[str, int]]]:
        """Whether an enum is signed, and ``(name, value)`` of its enumerators."""
        kind, _name, _size, vlen, signed = self.head(type_id)
        step, bits = _EXTRA_EACH[kind], 32
        words = self.tail(type_id, vlen * step)
        values = list(words[1::step])
        if kind == ENUM64:
            bits = 64
            values = [low | high << 32 for low, high in zip(values, words[2::step], strict=True)]
        elif not signed and not self.has_signs:
            # Of the 45 enums of v5.10 with such numbers this is right for 38; the
            # others have flags in bit 31, or use ~0 for "none".
            signed = any(value >= 0xFFFF0000 for value in values)
        if signed:
            half = 1 << (bits - 1)
            values = [value - 2 * half if value >= half else value for value in values]
        return signed, list(zip(map(self.string, words[::step]), values, strict=True))

    def resolve(self, type_id: int) -> tuple[int, int, int]:
        """``(kind, id, bytes)`` of what a type is behind typedefs, qualifiers and arrays.

        Bytes are those of the whole array, 0 for what has no size.
        """
        count = 1
        for _ in range(_MAX_CHAIN):
            if not type_id:
                return 0, 0, 0
            kind, size = self.kind(type_id)
            if kind == ARRAY:
                type_id, _index, length = self.tail(type_id, 3)
                count *= length
                if count > _MAX_ARRAY_BYTES:
                    raise BtfError("BTF has an array larger than any memory")
            elif kind in _ALIASES:
                type_id = size
            else:
                size = size if kind in _SIZED else _POINTER_BYTES if kind == PTR else 0
                return kind, type_id, count * size
        raise BtfError(f"BTF type {type_id} is defined by itself")

    def check_member(self, parent: int, member: RawMember) -> None:
        """Refuse a member that is larger than its struct, or contains it."""
        kind, inner, size = self.resolve(member.type_id)
        if kind not in _SIZED and kind != PTR:
            raise BtfError(f"BTF member {member.name!r} has a type without a size")
        outer = self.kind(parent)[1]
        bits = member.bit_size or 8 * size
        if bits > 8 * size or member.bit_offset + bits > 8 * outer:
            raise BtfError(f"BTF member {member.name!r} does not fit into its struct")
        if member.bit_offset % 8 and not member.bit_size:
            raise BtfError(f"BTF member {member.name!r} starts in the middle of a byte")
        if size == outer and kind in (STRUCT, UNION):
            self._refuse_cycle(parent, inner)

    def _refuse_cycle(self, parent: int, inner: int) -> None:
        """Only structs of the same size can contain each other in a circle."""
        size = self.kind(parent)[1]
        waiting = [inner]
        for _ in range(_MAX_CHAIN):
            if not waiting:
                return
            current = waiting.pop()
            if current == parent:
                break
            for member in self.members(current):
                kind, found, bytes_ = self.resolve(member.type_id)
                if bytes_ == size and kind in (STRUCT, UNION):
                    waiting.append(found)
        raise BtfError(f"BTF struct {parent} contains itself")

    def refuse_function_cycle(self, function: int, parameter: int) -> None:
        """Refuse a function that takes itself: only a typedef or a struct between makes that C."""
        waiting = [parameter]
        for _ in range(_MAX_CHAIN):
            if not waiting:
                return
            current = waiting.pop()
            if current == function:
                break
            if not current:
                continue
            kind, _name, target, vlen, _flag = self.head(current)
            if kind == ARRAY:
                waiting.append(self.tail(current, 1)[0])
            elif kind in (PTR, VOLATILE, CONST, RESTRICT, TYPE_TAG, FUNC_PROTO):
                waiting.append(target)
            if kind == FUNC_PROTO:
                waiting += self.tail(current, 2 * vlen)[1::2]
        else:
            return
        raise BtfError(f"BTF function {function} takes itself as a parameter")

    def ids(self, *kinds: int) -> Iterator[int]:
        """Ids of all types of these kinds in this section."""
        words = self._words
        for number, at in enumerate(self._where, self.first_id):
            if (words[at + 1] >> 24) & 0x1F in kinds:
                yield number


_INT_SIGNED, _INT_BOOL = 1, 4
_QUALIFIERS = {
    CONST: drgn.Qualifiers.CONST,
    VOLATILE: drgn.Qualifiers.VOLATILE,
    RESTRICT: drgn.Qualifiers.RESTRICT,
}
_BY_DRGN_KIND = (
    (drgn.TypeKind.STRUCT, (STRUCT,)),
    (drgn.TypeKind.UNION, (UNION,)),
    (drgn.TypeKind.ENUM, (ENUM, ENUM64)),
    (drgn.TypeKind.TYPEDEF, (TYPEDEF,)),
    (drgn.TypeKind.INT, (INT,)),
    (drgn.TypeKind.BOOL, (INT,)),
    (drgn.TypeKind.FLOAT, (FLOAT,)),
)


class BtfTypes:
    """The types of one :class:`Btf` as ``drgn.Type`` objects of one program."""

    def __init__(
        self,
        prog: drgn.Program,
        btf: Btf,
        complete: Callable[[str], drgn.Type | None] | None = None,
        base: BtfTypes | None = None,
    ) -> None:
        """
        :param complete: Finds the definition of a forward declaration
            (``"struct foo"``), which may lie in another section.
        :param base: The types of the section that ``btf`` continues.
        """
        self.prog = prog
        self.btf = btf
        self._complete = complete
        self._base = base
        self._types: dict[int, drgn.Type] = {0: prog.void_type()}

    def continued(self, module: Btf) -> BtfTypes:
        """The types of a module's section on top of these."""
        return BtfTypes(self.prog, module, self._complete, self)

    def find(self, kinds: drgn.TypeKindSet, name: str) -> drgn.Type | None:
        """The type of one of these kinds and this name (without ``struct`` ...)."""
        for drgn_kind, btf_kinds in _BY_DRGN_KIND:
            if drgn_kind not in kinds:
                continue
            for kind in btf_kinds:
                type_id = self.btf.find(kind, name)
                if type_id is not None:
                    found = self.type(type_id)
                    if found.kind == drgn_kind:
                        return found
        return None

    def constant(self, name: str) -> drgn.Object | None:
        """The enumerator ``name`` as a value of its enum type."""
        type_id = self.btf.find_enum_of(name)
        if type_id is None:
            return None
        for enumerator, value in self.btf.enumerators(type_id)[1]:
            if enumerator == name:
                return drgn.Object(self.prog, self.type(type_id), value)
        return None

    def function(self, name: str) -> drgn.Type | None:
        """The type of the function ``name``."""
        type_id = self.btf.find(FUNC, name)
        return self.type(self.btf.kind(type_id)[1]) if type_id is not None else None

    def variable(self, name: str) -> drgn.Type | None:
        """The type of the variable ``name``: BTF has the per-CPU ones, newer kernels more."""
        type_id = self.btf.find(VAR, name)
        return self.type(self.btf.kind(type_id)[1]) if type_id is not None else None

    def type(self, type_id: int) -> drgn.Type:
        """The type ``type_id``.

        :raises BtfError: damaged BTF
        """
        return self._type(type_id, 0)

    def _type(self, type_id: int, depth: int) -> drgn.Type:
        cached = self._types.get(type_id)
        if cached is not None:
            return cached
        if self._base is not None and type_id < self.btf.first_id:
            return self._base._type(type_id, depth)
        if depth > _MAX_CHAIN:
            raise BtfError(f"BTF type {type_id} is defined by itself")
        try:
            result = self._build(type_id, depth + 1)
        except (ValueError, TypeError, OverflowError) as exc:  # drgn refuses it
            raise BtfError(f"BTF type {type_id} makes no sense: {exc}") from exc
        self._types[type_id] = result
        return result

    def _build(self, type_id: int, depth: int) -> drgn.Type:
        prog = self.prog
        kind, name, size, vlen, flag = self.btf.head(type_id)
        if kind == INT:
            return self._int(type_id, name, size)
        if kind == FLOAT:
            return prog.float_type(name, size)
        if kind == PTR:
            return prog.pointer_type(self._type(size, depth))
        if kind == ARRAY:
            return self._array(type_id, depth, flexible=False)
        if kind in (STRUCT, UNION):
            if size > _MAX_STRUCT_BYTES:
                raise BtfError(f"BTF struct {name!r} has {size} bytes")
            make = prog.struct_type if kind == STRUCT else prog.union_type
            return make(name or None, size, self._members(type_id, kind))
        if kind in (ENUM, ENUM64):
            return self._enum(type_id, name, size)
        if kind == FWD:
            return self._forward(name, "union" if flag else "struct")
        if kind == TYPEDEF:
            return prog.typedef_type(name, self._type(size, depth))
        if kind in _QUALIFIERS:
            inner = self._type(size, depth)
            return inner.qualified(inner.qualifiers | _QUALIFIERS[kind])
        if kind == FUNC_PROTO:
            return self._function(type_id, size, vlen, depth)
        if kind in (TYPE_TAG, FUNC, VAR):
            return self._type(size, depth)
        raise BtfError(f"BTF type {type_id} (kind {kind}) is no type of C")

    def _int(self, type_id: int, name: str, size: int) -> drgn.Type:
        encoding = self.btf.tail(type_id, 1)[0] >> 24
        if not 1 <= size <= 16:
            raise BtfError(f"BTF integer {name!r} has {size} bytes")
        if encoding & _INT_BOOL:
            return self.prog.bool_type(name, size)
        signed = bool(encoding & _INT_SIGNED)
        if name in ("char", "signed char") and not signed:
            signed = self._forgets_signs_of_chars()
        return self.prog.int_type(name, size, signed)

    def _forgets_signs_of_chars(self) -> bool:
        """Whether this BTF has "signed char" as unsigned: pahole before v1.22 (of v5.10) did.

        Then a plain char, unsigned since v6.2 (3bc753c06dd0), is of an older kernel, too.
        """
        section = self.btf.base or self.btf
        type_id = section.find(INT, "signed char")
        return type_id is not None and not section.tail(type_id, 1)[0] >> 24 & _INT_SIGNED

    def _array(self, type_id: int, depth: int, *, flexible: bool) -> drgn.Type:
        element, _index, count = self.btf.tail(type_id, 3)
        self.btf.resolve(type_id)  # not larger than memory
        element_type = self._type(element, depth)
        return self.prog.array_type(element_type, None if flexible and not count else count)

    def _members(self, type_id: int, kind: int) -> list[drgn.TypeMember]:
        raw = self.btf.members(type_id)
        result = []
        for number, member in enumerate(raw):
            last = kind == STRUCT and number == len(raw) - 1

            def make(member: RawMember = member, last: bool = last) -> drgn.Type | drgn.Object:
                return self._member(type_id, member, last)

            result.append(drgn.TypeMember(make, member.name, member.bit_offset))
        return result

    def _member(self, parent: int, member: RawMember, last: bool) -> drgn.Type | drgn.Object:
        self.btf.check_member(parent, member)
        # BTF writes "char name[]" as an array of 0; as the last member it is
        # a flexible one, which drgn reads up to the NUL.
        if last and self.btf.kind(member.type_id)[0] == ARRAY:
            return self._array(member.type_id, 0, flexible=True)
        found = self.type(member.type_id)
        if not member.bit_size:
            return found
        try:
            return drgn.Object(self.prog, found, bit_field_size=member.bit_size)
        except (ValueError, TypeError) as exc:
            raise BtfError(f"BTF bit-field {member.name!r} makes no sense: {exc}") from exc

    def _enum(self, type_id: int, name: str, size: int) -> drgn.Type:
        signed, values = self.btf.enumerators(type_id)
        if not values and not size:
            return self.prog.enum_type(name or None)
        if size not in (1, 2, 4, 8):
            raise BtfError(f"BTF enum {name!r} has {size} bytes")
        prefix = "" if signed else "unsigned "
        word = {1: "char", 2: "short", 4: "int", 8: "long"}[size]
        compatible = self.prog.int_type(prefix + word, size, signed)
        enumerators = [drgn.TypeEnumerator(*pair) for pair in values]
        return self.prog.enum_type(name or None, compatible, enumerators)

    def _forward(self, name: str, keyword: str) -> drgn.Type:
        if self._complete is not None:
            found = self._complete(f"{keyword} {name}")
            if found is not None:
                return found
        make = self.prog.struct_type if keyword == "struct" else self.prog.union_type
        return make(name)

    def _function(self, type_id: int, result: int, vlen: int, depth: int) -> drgn.Type:
        words = self.btf.tail(type_id, vlen * 2)
        pairs = [(words[i], words[i + 1]) for i in range(0, vlen * 2, 2)]
        variadic = bool(pairs) and pairs[-1] == (0, 0)
        if variadic:
            pairs.pop()
        parameters = [
            drgn.TypeParameter(lambda t=t: self._parameter(type_id, t), name)
            for name, t in ((self.btf.string(at) or None, t) for at, t in pairs)
        ]
        return self.prog.function_type(self._type(result, depth), parameters, variadic)

    def _parameter(self, function: int, type_id: int) -> drgn.Type:
        self.btf.refuse_function_cycle(function, type_id)
        return self.type(type_id)
