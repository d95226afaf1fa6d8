"""Types of C in one line, read from left to right: what the table of variables is written in.

========================  ==================================================
``*T``                    pointer to T
``[8]T``, ``[]T``         array of 8, of unknown length
``[*]T``                  array as long as the symbol
``[NAME]T``               array as long as the enumerator NAME says
``const T``               and ``volatile T``
``fn(T,T,...)R``          function that takes T, T and more, and returns R
``struct 16{x@0 T;}``     struct without a name: 16 bytes, x at bit 0
``x@3:5 T;``              a bit-field: 5 bits from bit 3 on
``union 8{...}``          the same for a union
``enum{NAME}``            the enum without a name that has the enumerator NAME
anything else             a name: ``struct foo``, ``u32``, ``unsigned long``
========================  ==================================================

C itself writes these inside out, and drgn's parser of C has no functions. Names
are looked up in the program only when a type is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import drgn

_LENGTH = re.compile(r"\[(\w*|\*)\]")
_ANONYMOUS = re.compile(r"(struct|union) (\d+)\{")
_ENUM = re.compile(r"enum\{(\w+)\}")
_MEMBER = re.compile(r"(\w*)@(\d+)(?::(\d+))? ")
_NAME = re.compile(r"\w+(?: \w+)*")
_QUALIFIERS = {
    "const ": drgn.Qualifiers.CONST,
    "volatile ": drgn.Qualifiers.VOLATILE,
}


class _Member(NamedTuple):
    """A member of a struct or union without a name."""

    name: str | None
    type: drgn.Type
    bit_offset: int
    bits: int
    """Of a bit-field, else 0."""


class TypeText:
    """Turns texts into types of one program.

    :param enum_of: The enum type that has an enumerator of this name, and its value.
    """

    def __init__(
        self,
        prog: drgn.Program,
        enum_of: Callable[[str], drgn.Object | None],
    ) -> None:
        self._prog = prog
        self._enum_of = enum_of

    def type(self, text: str, size: int = 0) -> drgn.Type:
        """The type that ``text`` means.

        :param size: Bytes of the symbol, for ``[*]``.
        :raises LookupError: this program has no such type.
        :raises SyntaxError: the text means none.
        """
        found, end = self._type(text, 0, size)
        if end != len(text):
            raise SyntaxError(f"type {text!r} goes on at {end}")
        return found

    def _type(self, text: str, at: int, size: int = 0) -> tuple[drgn.Type, int]:
        for word, qualifier in _QUALIFIERS.items():
            if text.startswith(word, at):
                found, at = self._type(text, at + len(word), size)
                return found.qualified(found.qualifiers | qualifier), at
        if text.startswith("*", at):
            found, at = self._type(text, at + 1)
            return self._prog.pointer_type(found), at
        if text.startswith("[", at):
            return self._array(text, at, size)
        if text.startswith("fn(", at):
            return self._function(text, at + 3)
        enum = _ENUM.match(text, at)
        if enum:
            return self._constant(enum[1]).type_.unqualified(), enum.end()
        record = _ANONYMOUS.match(text, at)
        if record:
            return self._record(text, record)
        name = _NAME.match(text, at)
        if name is None:
            raise SyntaxError(f"type {text!r} has no name at {at}")
        if name[0] == "void":
            return self._prog.void_type(), name.end()
        return self._prog.type(name[0]), name.end()

    def _constant(self, name: str) -> drgn.Object:
        found = self._enum_of(name)
        if found is None:
            raise LookupError(f"no enumerator {name}")
        return found

    def _array(self, text: str, at: int, size: int) -> tuple[drgn.Type, int]:
        length = _LENGTH.match(text, at)
        if length is None:
            raise SyntaxError(f"type {text!r} has no array at {at}")
        element, at = self._type(text, length.end())
        count: int | None
        if length[1] == "*":
            count = size // drgn.sizeof(element)
        elif length[1].isdecimal():
            count = int(length[1])
        else:
            count = int(self._constant(length[1]).value_()) if length[1] else None
        return self._prog.array_type(element, count), at

    def _function(self, text: str, at: int) -> tuple[drgn.Type, int]:
        parameters = []
        variadic = False
        while not text.startswith(")", at):
            if text.startswith("...", at):
                variadic = True
                at += 3
                continue
            found, at = self._type(text, at)
            parameters.append(drgn.TypeParameter(found))
            if text.startswith(",", at):
                at += 1
        result, at = self._type(text, at + 1)
        return self._prog.function_type(result, parameters, variadic), at

    def _record(self, text: str, record: re.Match[str]) -> tuple[drgn.Type, int]:
        members: list[_Member] = []
        at = record.end()
        while not text.startswith("}", at):
            head = _MEMBER.match(text, at)
            if head is None:
                raise SyntaxError(f"type {text!r} has no member at {at}")
            found, at = self._type(text, head.end())
            members.append(_Member(head[1] or None, found, int(head[2]), int(head[3] or 0)))
            if not text.startswith(";", at):
                raise SyntaxError(f"type {text!r} has a member without an end at {at}")
            at += 1
        size = int(record[2])
        if record[1] == "union":
            return self._prog.union_type(None, size, self._members(members)), at + 1
        if _overlap(members):
            members, size = _laid_out(members)
        return self._prog.struct_type(None, size, self._members(members)), at + 1

    def _members(self, members: Sequence[_Member]) -> list[drgn.TypeMember]:
        return [
            drgn.TypeMember(
                drgn.Object(self._prog, one.type, bit_field_size=one.bits)
                if one.bits
                else one.type,
                one.name,
                one.bit_offset,
            )
            for one in members
        ]


def _overlap(members: Sequence[_Member]) -> bool:
    """Whether a member is larger here than where the table was made: another configuration."""
    return any(
        not one.bits and one.bit_offset + 8 * _size(one.type) > following.bit_offset
        for one, following in pairwise(members)
    )


def _laid_out(members: Sequence[_Member]) -> tuple[list[_Member], int]:
    """The members where a compiler puts them, and the size of all.

    :raises LookupError: there are bit-fields among them.
    """
    found = []
    end, widest = 0, 1
    for one in members:
        if one.bits:
            raise LookupError("a struct with bit-fields is another one in this kernel")
        align = int(drgn.alignof(one.type))
        end, widest = -(-end // align) * align, max(widest, align)
        found.append(one._replace(bit_offset=8 * end))
        end += _size(one.type)
    return found, -(-end // widest) * widest


def _size(kind: drgn.Type) -> int:
    """Bytes; an array without a length at the end of a struct has none."""
    return int(drgn.sizeof(kind)) if kind.is_complete() else 0
