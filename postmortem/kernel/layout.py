"""Many members of many structs: read each struct in one piece, take them all out at once."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import drgn

from postmortem.dump.damage import damage

_CODES = {
    (1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h",
    (4, False): "I", (4, True): "i", (8, False): "Q", (8, True): "q",
}  # fmt: skip

_NUMBERS = (drgn.TypeKind.INT, drgn.TypeKind.BOOL, drgn.TypeKind.POINTER)


class Layout:
    """Where members lie in a struct; those that a kernel does not have are ``None``."""

    def __init__(self, kind: drgn.Type, members: Mapping[str, str]) -> None:
        """
        :param kind: A struct type.
        :param members: Paths of the members (``se.vruntime``) by the names that they get;
            of several, separated by ``|``, the first that there is.
        :raises LookupError: the struct has none of them.
        """
        places: dict[tuple[int, str, int], list[str]] = {}
        for name, paths in members.items():
            for path in paths.split("|"):
                place = _place(kind, path)
                if place is not None:
                    places.setdefault(place, []).append(name)
                    break
        if not places:
            raise LookupError(f"{kind.type_name()} has none of the members")
        self._places = places
        ordered = sorted(places)
        self.start = ordered[0][0]
        parts, at = ["<"], self.start
        for offset, code, size in ordered:
            if offset < at:
                raise LookupError("members overlap")
            parts.append(f"{offset - at}x{code}")
            at = offset + size
        self._struct = struct.Struct("".join(parts))
        self._names = [places[place][0] for place in ordered]
        self._aliases = [(other, names[0]) for names in places.values() for other in names[1:]]
        self.size = at - self.start

    def has(self, name: str) -> bool:
        """Whether this kernel has the member."""
        return name in self._names or any(name == other for other, _ in self._aliases)

    def read(self, prog: drgn.Program, address: int) -> dict[str, int]:
        """The members of the struct at ``address``; absent ones are left out.

        :raises drgn.FaultError: it is not in the dump.
        """
        raw = prog.read(address + self.start, self.size)
        found = dict(zip(self._names, self._struct.unpack(raw), strict=True))
        for other, name in self._aliases:
            found[other] = found[name]
        return found

    def readable(self, prog: drgn.Program, address: int) -> dict[str, int]:
        """Those members of the struct at ``address`` that are in the dump."""
        found = {}
        for (offset, code, size), names in self._places.items():
            try:
                (value,) = struct.unpack(f"<{code}", prog.read(address + offset, size))
            except damage():
                continue
            found.update(dict.fromkeys(names, value))
        return found


def _place(kind: drgn.Type, path: str) -> tuple[int, str, int] | None:
    """Offset, code and bytes of an integer or pointer; ``None`` if there is no such member."""
    try:
        offset = 0
        bare = _bare(kind)
        for name in path.split("."):
            if bare.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
                return None
            found = bare.member(name)
            if found.bit_field_size:
                return None
            offset += found.offset
            bare = _bare(found.type)
        size = int(drgn.sizeof(bare))
    except damage():
        return None
    if bare.kind not in _NUMBERS:
        return None
    code = _CODES.get((size, bare.kind == drgn.TypeKind.INT and bare.is_signed))
    return (offset, code, size) if code is not None else None


def _bare(kind: drgn.Type) -> drgn.Type:
    while kind.kind == drgn.TypeKind.TYPEDEF:
        kind = kind.type
    if kind.kind == drgn.TypeKind.ENUM:
        return _bare(kind.type) if kind.type is not None else kind
    return kind
