"""Write a DWARF type as postmortem's table of global variables has it.

The other half, which reads it, is :mod:`postmortem.dump.typetext`; the notation
is described there.
"""

from __future__ import annotations

import drgn

_MAX_DEPTH = 24
_MAX_TEXT = 2000
"""Longer ones are anonymous structs of no use to anybody."""
_QUALIFIERS = (
    (drgn.Qualifiers.CONST, "const "),
    (drgn.Qualifiers.VOLATILE, "volatile "),
    (drgn.Qualifiers.RESTRICT, ""),
    (drgn.Qualifiers.ATOMIC, ""),
)
_KEYWORDS = {
    drgn.TypeKind.STRUCT: "struct",
    drgn.TypeKind.UNION: "union",
    drgn.TypeKind.CLASS: "struct",
    drgn.TypeKind.ENUM: "enum",
}


class InexpressibleError(ValueError):
    """The notation has no words for this type; the text says for what."""


def expression(found: drgn.Type) -> str:
    """The type in the table's notation.

    :raises InexpressibleError: it can't be said.
    """
    text = _write(found, 0)
    if len(text) > _MAX_TEXT:
        raise InexpressibleError("too long")
    return text


def _write(found: drgn.Type, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise InexpressibleError("too deep")
    words = "".join(word for bit, word in _QUALIFIERS if found.qualifiers & bit)
    kind = found.kind
    if kind == drgn.TypeKind.POINTER:
        return f"{words}*{_write(found.type, depth + 1)}"
    if kind == drgn.TypeKind.ARRAY:
        length = "" if found.length is None else found.length
        # An array is const because its elements are: DWARF says both, C only the latter.
        return f"[{length}]{_write(found.type, depth + 1)}"
    if kind == drgn.TypeKind.FUNCTION:
        return words + _function(found, depth)
    return words + _named(found, depth)


def _named(found: drgn.Type, depth: int) -> str:
    kind = found.kind
    if kind == drgn.TypeKind.VOID:
        return "void"
    keyword = _KEYWORDS.get(kind)
    if keyword is None:
        name = str(found.name)
        if not name.replace(" ", "").replace("_", "").isalnum() or not name.isascii():
            raise InexpressibleError("a name that C does not have")
        return name
    if found.tag is not None:
        if not found.tag.replace("_", "").isalnum() or not found.tag.isascii():
            raise InexpressibleError("a name that C does not have")
        return f"{keyword} {found.tag}"
    if not found.is_complete():
        raise InexpressibleError("an incomplete type without a name")
    if kind == drgn.TypeKind.ENUM:
        return f"enum{{{found.enumerators[0].name}}}"
    return f"{keyword} {found.size}{{{_members(found, depth)}}}"


def _function(found: drgn.Type, depth: int) -> str:
    parameters = [_write(parameter.type, depth + 1) for parameter in found.parameters]
    if found.is_variadic:
        parameters.append("...")
    return f"fn({','.join(parameters)}){_write(found.type, depth + 1)}"


def _members(found: drgn.Type, depth: int) -> str:
    return "".join(f"{_member(member, depth)};" for member in found.members)


def _member(member: drgn.TypeMember, depth: int) -> str:
    text = f"{member.name or ''}@{member.bit_offset}"
    if member.bit_field_size is not None:
        text += f":{member.bit_field_size}"
    return f"{text} {_write(member.type, depth + 1)}"
