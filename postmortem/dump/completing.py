"""Variables of a module whose DWARF only declares what the kernel's types are.

An object that drgn takes from a module's DWARF has that DWARF's types, and drgn completes a
declaration from DWARF alone: ``struct kmem_cache *`` of a module has no members, although BTF
has them. Such an object is given once more, with every declaration completed by its name.
"""

from __future__ import annotations

from collections.abc import Callable

import drgn

_RECORDS = {
    drgn.TypeKind.STRUCT: "struct",
    drgn.TypeKind.UNION: "union",
    drgn.TypeKind.CLASS: "class",
}
_MAX_DEPTH = 32
"""Pointers to arrays of pointers ...: C code has four."""


def complete_declarations(prog: drgn.Program) -> None:
    """Let objects be asked for here first, before DWARF of modules is loaded."""
    if "completed" not in prog.registered_object_finders():
        prog.register_object_finder("completed", _Completing(prog).find, enable_index=0)


class _Completing:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._asked: set[str] = set()
        """Names that are on their way to the other finders."""
        self._made: dict[int, tuple[drgn.Type, drgn.Type]] = {}
        """By ``id()`` of a struct: it, so that it stays, and what was made of it."""

    def find(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        """Find an object as ``Program.register_object_finder()`` describes."""
        if name in self._asked or not flags & drgn.FindObjectFlags.VARIABLE:
            return None
        self._asked.add(name)
        try:
            found = prog.object(name, flags, filename)
        except LookupError:
            return None
        finally:
            self._asked.discard(name)
        if found.address_ is None or found.type_.kind == drgn.TypeKind.FUNCTION:
            return found
        return drgn.Object(prog, self._completed(found.type_, 0), address=found.address_)

    def _completed(self, kind: drgn.Type, depth: int) -> drgn.Type:
        """The type itself if nothing in it is a mere declaration."""
        if depth > _MAX_DEPTH:
            return kind
        if kind.kind in _RECORDS:
            return self._record(kind)
        if kind.kind not in (drgn.TypeKind.POINTER, drgn.TypeKind.ARRAY, drgn.TypeKind.TYPEDEF):
            return kind
        inner = kind.type
        made = self._completed(inner, depth + 1)
        if made is inner:
            return kind
        if kind.kind == drgn.TypeKind.POINTER:
            return self._prog.pointer_type(made, kind.size, qualifiers=kind.qualifiers)
        if kind.kind == drgn.TypeKind.ARRAY:
            return self._prog.array_type(made, kind.length, qualifiers=kind.qualifiers)
        return self._prog.typedef_type(kind.name, made, qualifiers=kind.qualifiers)

    def _record(self, kind: drgn.Type) -> drgn.Type:
        """What BTF has by its name; else itself, its members completed when they are asked for."""
        named = self._named(kind)
        if named is not None:
            return named.qualified(kind.qualifiers)
        if not kind.is_complete():
            return kind
        if id(kind) not in self._made:
            self._made[id(kind)] = (kind, self._copy(kind))
        return self._made[id(kind)][1]

    def _named(self, kind: drgn.Type) -> drgn.Type | None:
        """A module may have a struct of its own with the name of another."""
        if kind.tag is None:
            return None
        try:
            named = self._prog.type(f"{_RECORDS[kind.kind]} {kind.tag}")
        except LookupError:
            return None
        if not named.is_complete() or not kind.is_complete():
            return named if named.is_complete() else None
        return named if _shape(named) == _shape(kind) else None

    def _copy(self, kind: drgn.Type) -> drgn.Type:
        make = {
            drgn.TypeKind.STRUCT: self._prog.struct_type,
            drgn.TypeKind.UNION: self._prog.union_type,
            drgn.TypeKind.CLASS: self._prog.class_type,
        }[kind.kind]
        members = [
            drgn.TypeMember(self._member(member), member.name, member.bit_offset)
            for member in kind.members
        ]
        return make(kind.tag, kind.size, members, qualifiers=kind.qualifiers)

    def _member(self, member: drgn.TypeMember) -> Callable[[], drgn.Type | drgn.Object]:
        def made() -> drgn.Type | drgn.Object:
            kind = self._completed(member.type, 0)
            if member.bit_field_size is None:
                return kind
            return drgn.Object(self._prog, kind, bit_field_size=member.bit_field_size)

        return made


def _shape(record: drgn.Type) -> tuple[int, list[tuple[str | None, int]]]:
    return record.size, [(member.name, member.bit_offset) for member in record.members]
