"""BPF Type Format: the kernel's own types, as they lie in its memory.

:class:`Btf` reads the format (Documentation/bpf/btf.rst in the kernel tree) and
knows no drgn; :class:`BtfTypes` turns its entries into ``drgn.Type`` objects,
each only when somebody asks for it. When drgn ships a reader of its own, only
:mod:`postmortem.dump.selfdescribe` has to change.

BTF comes from a dump: nothing in it is trusted. Every index is checked, chains
are bounded, and :class:`BtfError` is all that comes out.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

import drgn

MAGIC = 0xEB9F

# enum { BTF_KIND_... } in include/uapi/linux/btf.h
INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)

# 32-bit words after the 3-word header: fixed part, and part per element (vlen).
_EXTRA_FIXED = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_EXTRA_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
_NAMED = frozenset((INT, STRUCT, UNION, ENUM, TYPEDEF, FUNC, VAR, FLOAT, ENUM64, FWD))

_MAX_CHAIN = 64
"""Longest chain of typedefs, qualifiers and arrays that is followed."""
_MAX_ARRAY = 1 << 32


class BtfError(LookupError):
    """The BTF is damaged at the place that was asked for."""


class RawMember(NamedTuple):
    """A member of a struct or union."""

    name: str | None
    type_id: int
    bit_offset: int
    bit_size: int
    """0 if it is not a bit-field."""


class Btf:
    """One BTF section: vmlinux's, or a module's on top of vmlinux's.

    :param data: The section's bytes.
    :param base: What a split (module) BTF continues: its ids and string
        offsets start where those of the base end.
    :raises BtfError: it is no BTF, or its header contradicts its size.
    """

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        self.base = base
        if len(data) < 24:
            raise BtfError("BTF is shorter than its header")
        magic, _version, _flags, header, type_off, type_len, str_off, str_len = struct.unpack_from(
            "<HBBIIIII", data
        )
        if magic != MAGIC:
            raise BtfError(f"no BTF: magic is {magic:#x}")
        types_end = header + type_off + type_len
        strings_end = header + str_off + str_len
        if header < 24 or types_end > len(data) or strings_end > len(data) or type_len % 4:
            raise BtfError("BTF header contradicts its size")
        self._words = array("I")
        self._words.frombytes(data[header + type_off : types_end])
        self._strings = data[header + str_off : strings_end]
        self._first_string = base.string_end if base else 0
        self.first_id = base.end_id if base else 1
        self._where = array("I")
        self._by_name: dict[int, dict[int, int]] = {kind: {} for kind in range(1, 20)}
        self._ambiguous: set[tuple[int, int]] = set()
        self._index()

    def _index(self) -> None:
        """Note where each type starts and which names there are, in one pass."""
        words = self._words
        where = self._where
        end = len(words)
        fixed = [_EXTRA_FIXED.get(kind, 0) + 3 for kind in range(32)]
        each = [_EXTRA_EACH.get(kind, 0) for kind in range(32)]
        index = [self._by_name[k] if k in _NAMED else None for k in range(20)] + [None] * 12
        type_id = self.first_id
        at = 0
        while at + 3 <= end:
            info = words[at + 1]
            kind = (info >> 24) & 0x1F
            if not 1 <= kind <= ENUM64:
                raise BtfError(f"BTF type {type_id} is of unknown kind {kind}")
            where.append(at)
            name = words[at]
            names = index[kind]
            if name and names is not None and names.setdefault(name, type_id) != type_id:
                self._ambiguous.add((kind, name))
            at += fixed[kind] + each[kind] * (info & 0xFFFF)
            type_id += 1
        if at != end:
            raise BtfError("BTF ends in the middle of a type")

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
        end = self._strings.find(b"\0", start)
        if start < 0 or end < 0:
            raise BtfError(f"BTF has no string at {offset}")
        return self._strings[start:end].decode("utf-8", "replace")

    def has_string(self, name: bytes) -> bool:
        """Whether ``name`` is a whole string here: cheap, for asking before an index is made."""
        return b"\0" + name + b"\0" in self._strings

    def _name_offsets(self, name: bytes) -> Iterator[int]:
        if self.base is not None:
            yield from self.base._name_offsets(name)
        needle = b"\0" + name + b"\0"
        at = self._strings.find(needle)
        while at >= 0:
            yield self._first_string + at + 1
            at = self._strings.find(needle, at + 1)
        if self._strings.startswith(needle[1:]):  # a module's strings start without a NUL
            yield self._first_string

    def find(self, kind: int, name: str) -> int | None:
        """Id of the type of this kind and name in this section (not its base)."""
        names = self._by_name[kind]
        for offset in self._name_offsets(name.encode()):
            if offset in names:
                return names[offset]
        return None

    def is_ambiguous(self, kind: int, name: str) -> bool:
        """Whether several types of this kind share the name."""
        return any(
            (kind, offset) in self._ambiguous for offset in self._name_offsets(name.encode())
        )

    # --- one entry -----------------------------------------------------------

    def head(self, type_id: int) -> tuple[int, str, int, int, bool]:
        """``(kind, name, size or type id, vlen, kind_flag)`` of a type."""
        section = self.owner(type_id)
        at = section._where[type_id - section.first_id]
        name, info, size = section._words[at : at + 3]
        return (info >> 24) & 0x1F, self.string(name), size, info & 0xFFFF, bool(info >> 31)

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

    def enumerators(self, type_id: int) -> list[tuple[str, int]]:
        """``(name, value)`` of an enum."""
        kind, _name, _size, vlen, signed = self.head(type_id)
        result = []
        if kind == ENUM:
            words = self.tail(type_id, vlen * 2)
            for i in range(0, vlen * 2, 2):
                value = words[i + 1]
                # Before the sign flag (v6.0, 6089fb325cf7) all were shown as signed.
                if value >= 1 << 31 and (signed or value >= 0xFFFF0000):
                    value -= 1 << 32
                result.append((self.string(words[i]), value))
        else:
            words = self.tail(type_id, vlen * 3)
            for i in range(0, vlen * 3, 3):
                value = words[i + 1] | words[i + 2] << 32
                if signed and value >= 1 << 63:
                    value -= 1 << 64
                result.append((self.string(words[i]), value))
        return result

    def ids(self, *kinds: int) -> Iterator[int]:
        """Ids of all types of these kinds in this section."""
        words = self._words
        for number, at in enumerate(self._where, self.first_id):
            if (words[at + 1] >> 24) & 0x1F in kinds:
                yield number

    def constants(self) -> dict[str, int]:
        """Each enumerator's name and the id of its enum."""
        found: dict[str, int] = {}
        string = self.string
        words = self._words
        for type_id in self.ids(ENUM, ENUM64):
            at = self._where[type_id - self.first_id]
            info = words[at + 1]
            step = 2 if (info >> 24) & 0x1F == ENUM else 3
            first = at + 3
            for offset in words[first : first + step * (info & 0xFFFF) : step]:
                found.setdefault(string(offset), type_id)
        return found


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
        self._constants: dict[str, int] | None = None

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
        if self._constants is None:
            self._constants = self.btf.constants()
        type_id = self._constants.get(name)
        if type_id is None:
            return None
        for enumerator, value in self.btf.enumerators(type_id):
            if enumerator == name:
                return drgn.Object(self.prog, self.type(type_id), value)
        return None

    def function(self, name: str) -> drgn.Type | None:
        """The type of the function ``name``."""
        type_id = self.btf.find(FUNC, name)
        return self.type(self.btf.head(type_id)[2]) if type_id is not None else None

    def variable(self, name: str) -> drgn.Type | None:
        """The type of the variable ``name``: BTF has the per-CPU ones, newer kernels more."""
        type_id = self.btf.find(VAR, name)
        return self.type(self.btf.head(type_id)[2]) if type_id is not None else None

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
        result = self._build(type_id, depth + 1)
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
            make = prog.struct_type if kind == STRUCT else prog.union_type
            return make(name or None, size, self._members(type_id, kind))
        if kind in (ENUM, ENUM64):
            return self._enum(type_id, name, size, flag)
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
        return self.prog.int_type(name, size, bool(encoding & _INT_SIGNED))

    def _array(self, type_id: int, depth: int, *, flexible: bool) -> drgn.Type:
        element, _index, count = self.btf.tail(type_id, 3)
        if count >= _MAX_ARRAY:
            raise BtfError(f"BTF array {type_id} has {count} elements")
        element_type = self._type(element, depth)
        return self.prog.array_type(element_type, None if flexible and not count else count)

    def _members(self, type_id: int, kind: int) -> list[drgn.TypeMember]:
        raw = self.btf.members(type_id)
        result = []
        for number, member in enumerate(raw):
            last = kind == STRUCT and number == len(raw) - 1

            def make(member: RawMember = member, last: bool = last) -> drgn.Type | drgn.Object:
                return self._member(member, last)

            result.append(drgn.TypeMember(make, member.name, member.bit_offset))
        return result

    def _member(self, member: RawMember, last: bool) -> drgn.Type | drgn.Object:
        # BTF writes "char name[]" as an array of 0; as the last member it is
        # a flexible one, which drgn reads up to the NUL.
        if last and member.type_id and self.btf.head(member.type_id)[0] == ARRAY:
            return self._array(member.type_id, 0, flexible=True)
        found = self.type(member.type_id)
        if member.bit_size:
            return drgn.Object(self.prog, found, bit_field_size=member.bit_size)
        return found

    def _enum(self, type_id: int, name: str, size: int, signed: bool) -> drgn.Type:
        enumerators = [drgn.TypeEnumerator(n, v) for n, v in self.btf.enumerators(type_id)]
        if not enumerators and not size:
            return self.prog.enum_type(name or None)
        if size not in (1, 2, 4, 8):
            raise BtfError(f"BTF enum {name!r} has {size} bytes")
        signed = signed or any(e.value < 0 for e in enumerators)
        prefix = "" if signed else "unsigned "
        word = {1: "char", 2: "short", 4: "int", 8: "long"}[size]
        compatible = self.prog.int_type(prefix + word, size, signed)
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
        parameters = [
            drgn.TypeParameter(lambda t=t: self.type(t), self.btf.string(name) or None)
            for name, t in (pairs[:-1] if variadic else pairs)
        ]
        return self.prog.function_type(self._type(result, depth), parameters, variadic)
