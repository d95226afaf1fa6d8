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
from collections.abc import Callable

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
        members = []
        at = record.end()
        while not text.startswith("}", at):
            head = _MEMBER.match(text, at)
            if head is None:
                raise SyntaxError(f"type {text!r} has no member at {at}")
            found, at = self._type(text, head.end())
            value: drgn.Type | drgn.Object = found
            if head[3]:
                value = drgn.Object(self._prog, found, bit_field_size=int(head[3]))
            members.append(drgn.TypeMember(value, head[1] or None, int(head[2])))
            if not text.startswith(";", at):
                raise SyntaxError(f"type {text!r} has a member without an end at {at}")
            at += 1
        make = self._prog.struct_type if record[1] == "struct" else self._prog.union_type
        return make(None, int(record[2]), members), at + 1
