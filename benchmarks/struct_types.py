"""Compare the types of BTF with those of DWARF: ``python -m benchmarks.struct_types VMLINUX...``.

Every named struct, union, enum and typedef of a vmlinux's BTF is laid beside
the DWARF type of that name: size, members, offsets, bit-fields, enumerators,
and the types of members by name. DWARF has one entry per compilation unit, and
several different types may share a name: then any match counts.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import drgn

from benchmarks.vmlinux import Image, debug_program
from postmortem.dump import btf
from postmortem.dump.btf import Btf, BtfTypes

_KEYWORDS = {
    drgn.TypeKind.STRUCT: "struct",
    drgn.TypeKind.UNION: "union",
    drgn.TypeKind.ENUM: "enum",
}


def describe(found: drgn.Type, *, open_it: bool = False) -> object:
    """A type as nested tuples; named types inside by their names only."""
    return (str(found.qualifiers.value), _describe(found, open_it))


def _describe(found: drgn.Type, open_it: bool) -> object:
    kind = found.kind
    if kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        if found.tag is not None and not open_it:
            return f"{_KEYWORDS[kind]} {found.tag}"
        if not found.is_complete():
            return "incomplete"
        return (found.size, tuple(_member(member) for member in found.members))
    if kind == drgn.TypeKind.ENUM:
        if found.tag is not None and not open_it:
            return f"enum {found.tag}"
        if not found.is_complete():
            return "incomplete"
        values = tuple((e.name, e.value) for e in found.enumerators)
        return (found.type.size, found.type.is_signed, values)
    if kind == drgn.TypeKind.TYPEDEF:
        return describe(found.type) if open_it else found.name
    if kind == drgn.TypeKind.POINTER:
        return ("*", describe(found.type))
    if kind == drgn.TypeKind.ARRAY:
        # BTF cannot tell [0] from [].
        return (found.length or 0, describe(found.type))
    if kind == drgn.TypeKind.FUNCTION:
        parameters = tuple(describe(parameter.type) for parameter in found.parameters)
        return ("()", describe(found.type), parameters, found.is_variadic)
    if kind == drgn.TypeKind.VOID:
        return "void"
    signed = found.is_signed if kind == drgn.TypeKind.INT else None
    return (str(kind), found.name, found.size, signed)


def _member(member: drgn.TypeMember) -> object:
    return (member.name, member.bit_offset, member.bit_field_size, describe(member.type))


def compare(path: Path) -> tuple[Counter[str], list[str]]:
    """Counts of each outcome, and a line for each difference."""
    image = Image(path)
    start = image.symbols["__start_BTF"][0][0]
    data = image.prog.read(start, image.symbols["__stop_BTF"][0][0] - start)
    types = BtfTypes(image.prog, Btf(data))
    dwarf = debug_program(path)
    outcomes: Counter[str] = Counter()
    differences: dict[str, list[object]] = {}
    expected: dict[str, object] = {}
    for type_id in types.btf.ids(btf.STRUCT, btf.UNION, btf.ENUM, btf.ENUM64, btf.TYPEDEF):
        found = types.type(type_id)
        name = found.name if found.kind == drgn.TypeKind.TYPEDEF else found.tag
        if name is None:
            continue
        full = f"{_KEYWORDS.get(found.kind, '')} {name}".strip()
        if full not in expected:
            try:
                expected[full] = describe(dwarf.type(full), open_it=True)
            except (LookupError, SyntaxError):
                outcomes["not in DWARF"] += 1
                continue
            differences[full] = []
        differences[full].append(describe(found, open_it=True))
    lines = []
    for full, seen in differences.items():
        if expected[full] in seen:
            outcomes["equal" if len(seen) == 1 else "equal, name is shared"] += 1
        else:
            outcomes["differs"] += 1
            lines.append(f"{full}: {_first_difference(seen[0], expected[full])}")
    return outcomes, lines


def _first_difference(btf: object, dwarf: object) -> str:
    """Where two descriptions part, the way down to it left out."""
    if isinstance(btf, tuple) and isinstance(dwarf, tuple) and len(btf) == len(dwarf):
        for left, right in zip(btf, dwarf, strict=True):
            if left != right:
                name = f"{btf[0]}: " if len(btf) == 4 and isinstance(btf[0], str) else ""
                return name + _first_difference(left, right)
    return f"BTF {btf}, DWARF {dwarf}"


def main() -> None:
    """Print the outcome for each vmlinux."""
    for argument in sys.argv[1:]:
        began = time.perf_counter()
        outcomes, lines = compare(Path(argument))
        print(f"{Path(argument).name} ({time.perf_counter() - began:.1f} s): {dict(outcomes)}")
        for line in lines[:40]:
            print("  " + line)


if __name__ == "__main__":
    main()
