"""An event's print format becomes a Python function. Source: include/trace/stages/.

A print format is C: a format string and expressions over ``REC``, the event. pycparser reads it,
and each node becomes a closure over the unpacked fields ``v`` and the bytes ``d`` of an event. No
text of the dump is ever executed, and what is not understood is refused with a reason
(:class:`NotUnderstood`); the caller then shows the fields as they are.
"""

from __future__ import annotations

import operator
import re
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from postmortem.trace import vsprintf
from postmortem.trace.formats import EventFormat, Field

MAX_CHARS = 65536
_MAX_DEPTH = 400
_MAX_CACHE = 1 << 16
_MASK = (1 << 64) - 1
_CODES = {
    (1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h",
    (4, False): "I", (4, True): "i", (8, False): "Q", (8, True): "q",
}  # fmt: skip

Evaluate = Callable[[Sequence[Any], bytes], Any]


class NotUnderstood(Exception):
    """This print format can't be evaluated; the text says why."""


class Environment(Protocol):
    """What a print format refers to outside of the event."""

    def constant(self, name: str) -> int | None:
        """An enumerator of the kernel, or a variable that is a number."""

    def type_size(self, name: str) -> tuple[int, bool] | None:
        """Bytes of a type that is a number, and whether it is signed; ``None``: no such type."""

    def size(self, name: str) -> int | None:
        """Bytes of any type: ``struct page``."""

    def string(self, address: int) -> str:
        """The kernel's string at an address."""

    def symbol(self, address: int, offset: bool) -> str:
        """``%pS``, and ``%ps`` without offset."""

    def pointer(self, address: int) -> str:
        """``%p``"""


class Node(NamedTuple):
    """An expression that can be evaluated for an event."""

    of: Evaluate
    kind: str
    """``int``; ``str``; ``bytes``: memory in the event; ``pair``, ``name``."""
    bits: int = 64
    signed: bool = True
    constant: Any = None
    """Its value if that is the same for every event."""
    place: int | None = None
    """Of the unpacked field that it is, as it is."""
    element: tuple[int, bool] = (1, False)
    """Of memory: bytes of what it points to, and whether that is signed."""
    step: int = 0
    """Of a pointer to memory of the kernel: bytes of what it points to."""
    where: Callable[[bytes], tuple[int, int]] | None = None
    """Of a string in the event: its place and length."""


class Layout:
    """Where the numbers and arrays of an event are, unpacked at once."""

    def __init__(self, fields: Sequence[Field]) -> None:
        parts, at = ["<"], 0
        self.index: dict[str, int] = {}
        for one in sorted(fields, key=lambda one: one.offset):
            if one.offset < at or one.size <= 0 or one.offset > 1 << 16:
                continue  # overlaps another, or has its end where the event has
            code = _CODES.get((one.size, one.signed and not one.is_located))
            if one.is_array or code is None:
                code = f"{min(one.size, 1 << 16)}s"
            parts.append(f"{one.offset - at}x{code}" if one.offset > at else code)
            at = one.offset + one.size
            self.index[one.name] = len(self.index)
        self._struct = struct.Struct("".join(parts))
        self.unpack = self._struct.unpack_from
        self.bytes = self._struct.size


def printer(
    format: EventFormat, env: Environment, lead: str = "", end: str = ""
) -> Callable[[bytes], str]:
    """What gives the text of an event of this format.

    :param lead: What stands before the text: ``"name: "``.
    :raises NotUnderstood: its print format can't be evaluated.
    """
    text, arguments, layout = compiled(format, env)
    return filled_format_of(text, arguments, env, layout, end, lead)


def compiled(format: EventFormat, env: Environment) -> tuple[str, list[Node], Layout]:
    """The format string, its arguments, and how the event is unpacked for them.

    :raises NotUnderstood: its print format can't be evaluated.
    """
    tree = parse(format.print_fmt, env)
    layout = Layout(format.fields)
    text, arguments = _Compiler(format, layout, env).arguments(tree)
    return text, arguments, layout


def parse(text: str, env: Environment) -> list[Any]:
    """The format string and the arguments of a print format, as pycparser's nodes.

    :raises NotUnderstood: it is no C that is understood.
    """
    from pycparser import c_ast, c_parser

    if len(text) > MAX_CHARS:
        raise NotUnderstood(f"a print format of {len(text)} characters is too long")
    pieces = _STRING.split(text)
    # Odd pieces are string literals. Lists in braces are no expressions of C.
    code = [
        # A line feed in a literal is one that the preprocessor has made of \\n.
        piece.replace("\n", "\\n")
        if number % 2
        else piece.replace("{", "__pair(").replace("}", ")")
        for number, piece in enumerate(pieces)
    ]
    plain = " ".join(code[::2])
    if re.search(r"[;#\\@`$]", plain):
        raise NotUnderstood("its print format is more than expressions")
    words = {word for word in _CAST.findall(plain) if word not in _NO_TYPES}
    types = sorted(word for word in words if env.type_size(word) is not None)
    head = "".join(f"typedef int {word};\n" for word in types)
    try:
        tree = c_parser.CParser().parse(f"{head}int it = __args({''.join(code)}\n);")
    except (c_parser.ParseError, RecursionError, AssertionError) as exc:
        raise NotUnderstood(f"its print format is not understood: {str(exc)[:120]}") from None
    found = tree.ext[-1]
    call = found.init if isinstance(found, c_ast.Decl) else None
    if not isinstance(call, c_ast.FuncCall) or call.args is None or len(tree.ext) != len(types) + 1:
        raise NotUnderstood("its print format is no list of arguments")
    return list(call.args.exprs)


_STRING = re.compile(r'("(?:[^"\\]|\\.)*")', re.DOTALL)
_CAST = re.compile(r"\b[A-Za-z_]\w*\b")
_NO_TYPES = frozenset(
    re.findall(
        r"\w+",
        "REC struct union enum unsigned signed char short int long void const volatile sizeof"
        " _Bool float double __pair __args",
    )
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
}


def unescaped(literal: str) -> str:
    """The text of a C string literal, quotes included in ``literal``."""
    return _ESCAPE.sub(_escape, literal[1:-1])


def _escape(found: re.Match[str]) -> str:
    word = found[1]
    if word[0] == "x" and len(word) > 1:
        return chr(int(word[1:], 16))
    if word[0] in "01234567":
        return chr(int(word, 8) & 0xFF)
    return _ESCAPES.get(word, word)


def _fixed(value: Any, kind: str = "int", bits: int = 32, signed: bool = True) -> Node:
    return Node(lambda v, d: value, kind, bits, signed, constant=value)


def _wrap(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _as(node: Node, bits: int, signed: bool) -> Node:
    """The number converted to an integer type of C."""
    if node.kind != "int":
        raise NotUnderstood("a number is wanted where there is none")
    if node.constant is not None:
        value = _wrap(node.constant, bits, signed)
        return Node(lambda v, d: value, "int", bits, signed, constant=value)
    fits = (node.signed == signed and node.bits <= bits) or (signed and node.bits < bits)
    of = node.of
    if fits:
        return node._replace(bits=bits, signed=signed)
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    if signed:
        return Node(lambda v, d: ((of(v, d) & mask) ^ top) - top, "int", bits, True)
    return Node(lambda v, d: of(v, d) & mask, "int", bits, False)


def _divide(left: int, right: int) -> int:
    if not right:
        raise ValueError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide,
    "%": lambda left, right: left - _divide(left, right) * right,
    "<<": lambda left, right: left << (right & 63), ">>": lambda left, right: left >> (right & 63),
    "&": operator.and_, "|": operator.or_, "^": operator.xor, "==": operator.eq,
    "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_COMPARED = frozenset({"==", "!=", "<", "<=", ">", ">="})


class _Compiler:
    """Turns nodes of C into closures."""

    def __init__(self, format: EventFormat, layout: Layout, env: Environment) -> None:
        self._fields = {one.name: one for one in format.fields}
        self._layout, self._env = layout, env
        self._depth = 0

    def arguments(self, tree: list[Any]) -> tuple[str, list[Node]]:
        """The format string and what its conversions take."""
        text = self.value(tree[0]) if tree else None
        if text is None or not isinstance(text.constant, str):
            raise NotUnderstood("its print format does not begin with a format string")
        return text.constant, [self.value(node) for node in tree[1:]]

    def value(self, node: Any) -> Node:
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            raise NotUnderstood(f"{type(node).__name__} in a print format")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise NotUnderstood("its print format is nested too deep")
        found: Node = method(node)
        self._depth -= 1
        return found

    def number(self, node: Any) -> Node:
        found = self.value(node)
        if found.kind != "int":
            raise NotUnderstood("a number is wanted where there is none")
        return found

    # --- leaves

    def _Constant(self, node: Any) -> Node:
        if node.type == "string":
            return _fixed(unescaped(node.value), "str")
        if node.type == "char":
            return _fixed(ord(unescaped(node.value)[:1] or "\0"))
        digits = node.value.rstrip("uUlL")
        suffix = node.value[len(digits) :].lower()
        try:
            octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            number = int(digits, 8) if octal else int(digits, 0)
        except ValueError:
            raise NotUnderstood(f"the number {node.value}") from None
        decimal = digits.isdigit() and not octal
        unsigned = "u" in suffix
        bits = 64 if "l" in suffix or number >> (31 if decimal and not unsigned else 32) else 32
        if not unsigned and not decimal and number >> (bits - 1):
            unsigned = True
        return _fixed(_wrap(number, bits, not unsigned), bits=bits, signed=not unsigned)

    def _ID(self, node: Any) -> Node:
        if node.name == "REC":
            return Node(lambda v, d: d, "bytes")
        if node.name in ("true", "false", "NULL"):
            return _fixed(int(node.name == "true"))
        found = self._env.constant(node.name)
        if found is None:
            raise NotUnderstood(f"{node.name} is not known")
        return _fixed(found, bits=32 if -(1 << 31) <= found < 1 << 31 else 64)

    def _StructRef(self, node: Any) -> Node:
        if getattr(node.name, "name", None) != "REC":
            raise NotUnderstood("a member of something that is not the event")
        return self._field(node.field.name)

    def _field(self, name: str) -> Node:
        one = self._fields.get(name)
        if one is None:
            raise NotUnderstood(f"the event has no field {name}")
        offset, size = one.offset, one.size
        if one.is_array or (size not in (1, 2, 4, 8)):
            element = self._element(one)
            if size > 0:
                end = offset + size
                return Node(lambda v, d: d[offset:end], "bytes", element=element)
            return Node(lambda v, d: d[offset:], "bytes", element=element)
        index = self._layout.index.get(name)
        if index is None:
            raise NotUnderstood(f"the field {name} overlaps another")
        return Node(operator_index(index), "int", size * 8, one.signed, place=index)

    def _element(self, one: Field) -> tuple[int, bool]:
        base, _, rest = one.type.partition("[")
        base = base.strip()
        found = self._type_size(base)
        if found is not None:
            return found
        count = rest.rstrip("]")
        if count.isdigit() and int(count) and one.size % int(count) == 0:
            return one.size // int(count), one.signed
        return 1, False

    # --- operators

    def _UnaryOp(self, node: Any) -> Node:
        op = node.op
        if op == "sizeof":
            return self._sizeof(node.expr)
        if op == "&":
            return self._address(node.expr)
        if op == "*":
            return self._at(self.value(node.expr), _fixed(0))
        one = self.value(node.expr)
        if op == "!":
            of = one.of
            if one.constant is not None:
                return _fixed(int(not one.constant))
            return Node(lambda v, d: 0 if of(v, d) else 1, "int", 32)
        one = _promoted(self.number(node.expr))
        of = one.of
        if op == "+":
            return one
        if op not in ("-", "~"):
            raise NotUnderstood(f"the operator {op}")
        action = operator.neg if op == "-" else operator.invert
        if one.constant is not None:
            value = _wrap(action(one.constant), one.bits, one.signed)
            return _fixed(value, bits=one.bits, signed=one.signed)
        found = Node(lambda v, d: action(of(v, d)), "int", 128, True)
        return _as(found, one.bits, one.signed)

    def _address(self, expr: Any) -> Node:
        found = self.value(expr)
        if found.kind == "bytes":
            return found
        name = getattr(getattr(expr, "field", None), "name", None)
        one = self._fields.get(name) if name else None
        if one is None:
            raise NotUnderstood("the address of something that is no field")
        offset, end = one.offset, one.offset + one.size
        return Node(lambda v, d: d[offset:end], "bytes", element=(one.size, one.signed))

    def _ArrayRef(self, node: Any) -> Node:
        return self._at(self.value(node.name), self.number(node.subscript))

    def _at(self, memory: Node, index: Node) -> Node:
        if memory.kind != "bytes":
            raise NotUnderstood("a pointer that leads out of the event")
        size, signed = memory.element
        of, at = memory.of, index.of

        def element(v: Sequence[Any], d: bytes) -> int:
            start = at(v, d) * size
            part = of(v, d)[start : start + size]
            if start < 0 or len(part) < size:
                raise ValueError("an index behind the end of the event")
            return int.from_bytes(part, "little", signed=signed)

        return Node(element, "int", size * 8, signed)

    def _BinaryOp(self, node: Any) -> Node:
        op = node.op
        if op in ("&&", "||"):
            return self._logical(op == "&&", self.value(node.left), self.value(node.right))
        left, right = self.value(node.left), self.value(node.right)
        if left.kind == "bytes" and right.kind == "int" and op == "+":
            return self._moved(left, right)
        if left.kind != "int" or right.kind != "int":
            raise NotUnderstood(f"{op} of what is no number")
        step = left.step if op in ("+", "-") else 0
        left, right = _promoted(left), _promoted(right)
        if step:
            right = _times(right, step)
        if op in ("<<", ">>"):
            bits, signed = left.bits, left.signed
        else:
            bits = max(left.bits, right.bits)
            signed = all(one.signed or one.bits < bits for one in (left, right))
            left, right = _as(left, bits, signed), _as(right, bits, signed)
        action = _BINARY[op]
        if left.constant is not None and right.constant is not None:
            try:
                value = int(action(left.constant, right.constant))
            except ValueError as exc:
                raise NotUnderstood(str(exc)) from None
            if op in _COMPARED:
                return _fixed(value)
            return _fixed(_wrap(value, bits, signed), bits=bits, signed=signed)
        of = _combined(action, left, right)
        if op in _COMPARED:
            return Node(of, "int", 32)
        # What can't leave its type needs no mask.
        if op in ("&", "|", "^", ">>", "/", "%") or signed:
            return Node(of, "int", bits, signed)
        return _as(Node(of, "int", 256, True), bits, signed)

    def _moved(self, memory: Node, by: Node) -> Node:
        of, count, size = memory.of, by.of, memory.element[0]
        return Node(lambda v, d: of(v, d)[max(0, count(v, d) * size) :], "bytes",
                    element=memory.element)  # fmt: skip

    def _logical(self, both: bool, left: Node, right: Node) -> Node:
        one, two = left.of, right.of
        if both:
            return Node(lambda v, d: int(bool(one(v, d) and two(v, d))), "int", 32)
        return Node(lambda v, d: int(bool(one(v, d) or two(v, d))), "int", 32)

    def _TernaryOp(self, node: Any) -> Node:
        condition = self.value(node.cond)
        if condition.constant is not None:
            return self.value(node.iftrue if condition.constant else node.iffalse)
        left, right = self.value(node.iftrue), self.value(node.iffalse)
        when = condition.of
        if left.kind != right.kind:
            left, right = self._text_of(left), self._text_of(right)
        elif left.kind == "int":
            left, right = _promoted(left), _promoted(right)
            bits = max(left.bits, right.bits)
            signed = all(one.signed or one.bits < bits for one in (left, right))
            left, right = _as(left, bits, signed), _as(right, bits, signed)
        one, two = left.of, right.of
        return Node(lambda v, d: one(v, d) if when(v, d) else two(v, d), left.kind,
                    left.bits, left.signed, element=left.element)  # fmt: skip

    def _text_of(self, node: Node) -> Node:
        """What ``%s`` makes of it."""
        return Node(_string(node, self._env), "str")

    def _Cast(self, node: Any) -> Node:
        names, pointer = self._declared(node.to_type.type)
        one = self.value(node.expr)
        if pointer:
            if one.kind == "bytes":
                return one._replace(element=self._type_size(names) or (1, False))
            if one.kind != "int":
                return one
            return _as(one, 64, False)._replace(step=self._size(names))
        if one.kind != "int":
            return one  # (unsigned long)__get_str(x): where it lies is nowhere to be seen
        found = self._type_size(names)
        if found is None:
            raise NotUnderstood(f"the type {names}")
        return _as(one, found[0] * 8, found[1])

    def _declared(self, node: Any) -> tuple[str, bool]:
        """Name of a type, and whether it is a pointer to it."""
        kind = type(node).__name__
        if kind == "PtrDecl":
            return self._declared(node.type)[0], True
        if kind == "TypeDecl":
            return self._declared(node.type)
        if kind == "IdentifierType":
            return " ".join(node.names), False
        if kind in ("Struct", "Union", "Enum") and node.name:
            return f"{kind.lower()} {node.name}", False
        raise NotUnderstood("a cast to such a type")

    def _type_size(self, name: str) -> tuple[int, bool] | None:
        words = name.split()
        plain = [word for word in words if word not in ("const", "volatile", "int", "signed")]
        unsigned = "unsigned" in plain
        plain = [word for word in plain if word != "unsigned"]
        if not plain:
            return 4, not unsigned
        if len(plain) > 1 and plain[0] != "long":
            return (4, False) if plain[0] == "enum" else None
        size = {"char": 1, "short": 2, "long": 8, "_Bool": 1, "bool": 1}.get(plain[0])
        if size is not None:
            return size, not unsigned and plain[0] not in ("_Bool", "bool")
        return self._env.type_size(plain[0])

    def _size(self, name: str) -> int:
        """Bytes of what a pointer points to; 0 where pointers to it can't be moved."""
        if name == "void":
            return 1
        found = self._type_size(name)
        return found[0] if found is not None else self._env.size(name) or 0

    def _sizeof(self, expr: Any) -> Node:
        if type(expr).__name__ == "Typename":
            name, pointer = self._declared(expr.type)
            found = 8 if pointer else self._size(name)
            if not found:
                raise NotUnderstood(f"the size of {name}")
            return _fixed(found, bits=64, signed=False)
        name = getattr(getattr(expr, "field", None), "name", "")
        one = self._fields.get(name)
        if one is None:
            raise NotUnderstood("the size of something that is no field")
        return _fixed(one.size, bits=64, signed=False)

    # --- the helpers of include/trace/stages/

    def _FuncCall(self, node: Any) -> Node:
        name = getattr(node.name, "name", "")
        given = list(node.args.exprs) if node.args is not None else []
        method = getattr(self, f"_call{name}", None) if name.startswith("__") else None
        if method is None:
            method = {
                "IS_ERR": self._is_err, "be16_to_cpu": self._call__fswab16,
                "be32_to_cpu": self._call__fswab32, "ntohs": self._call__fswab16,
                "ntohl": self._call__fswab32, "be64_to_cpu": self._call__fswab64,
            }.get(name)  # fmt: skip
        if method is None:
            raise NotUnderstood(f"what {name or 'a function'}() does is not known")
        try:
            found: Node = method(*given)
        except TypeError:
            raise NotUnderstood(f"{name}() is given {len(given)} arguments") from None
        return found

    def _located(self, node: Any) -> Callable[[bytes], tuple[int, int]]:
        """Where the data of a dynamic array is, and how long."""
        name = getattr(node, "name", "")
        one = self._fields.get(name) if isinstance(name, str) else None
        if one is None or not one.is_located:
            raise NotUnderstood(f"the event has no dynamic array {name}")
        at = one.offset
        base = at + one.size if one.is_relative else 0
        unpack = struct.Struct("<I").unpack_from

        def where(d: bytes) -> tuple[int, int]:
            (word,) = unpack(d, at)
            return base + (word & 0xFFFF), word >> 16

        return where

    def _call__get_str(self, node: Any) -> Node:
        where = self._located(node)

        def text(v: Sequence[Any], d: bytes) -> str:
            start, length = where(d)
            if not length or start >= len(d):
                return ""
            end = d.find(0, start)
            return decoded(d[start : end if end >= 0 else len(d)])

        return Node(text, "str", where=where)

    def _call__get_dynamic_array(self, node: Any) -> Node:
        where = self._located(node)
        one = self._fields[node.name]
        element = self._type_size(one.type.split(" ", 1)[-1].partition("[")[0]) or (1, False)

        def data(v: Sequence[Any], d: bytes) -> bytes:
            start, length = where(d)
            return d[start : start + length]

        return Node(data, "bytes", element=element)

    def _call__get_dynamic_array_len(self, node: Any) -> Node:
        where = self._located(node)
        return Node(lambda v, d: where(d)[1], "int", 32)

    def _call__get_bitmask(self, node: Any) -> Node:
        of = self._call__get_dynamic_array(node).of
        return Node(lambda v, d: vsprintf.bitmask(of(v, d)), "str")

    _call__get_rel_str = _call__get_str
    _call__get_rel_dynamic_array = _call__get_sockaddr = _call__get_dynamic_array
    _call__get_rel_sockaddr = _call__get_dynamic_array
    _call__get_rel_dynamic_array_len = _call__get_dynamic_array_len
    _call__get_rel_bitmask = _call__get_cpumask = _call__get_rel_cpumask = _call__get_bitmask

    def _pairs(self, nodes: Sequence[Any]) -> list[tuple[int, str]]:
        found = []
        for node in nodes:
            exprs = node.args.exprs if type(node).__name__ == "FuncCall" and node.args else []
            if getattr(getattr(node, "name", None), "name", "") != "__pair" or len(exprs) != 2:
                raise NotUnderstood("a table that is none of values and names")
            value, name = self.value(exprs[0]), self.value(exprs[1])
            if not isinstance(value.constant, int):
                raise NotUnderstood("a table with values that are not constant")
            if not isinstance(name.constant, str):
                break  # { -1, NULL } ends a table
            found.append((value.constant & _MASK, name.constant))
        return found

    def _call__print_symbolic(self, value: Any, *table: Any) -> Node:
        of = self.number(value).of
        names: dict[int, str] = {}
        for number, name in self._pairs(table):
            names.setdefault(number, name)

        def text(v: Sequence[Any], d: bytes) -> str:
            number = of(v, d) & _MASK
            found = names.get(number)
            return found if found is not None else f"0x{number:x}"

        return Node(text, "str")

    def _call__print_flags(self, value: Any, delimiter: Any, *table: Any) -> Node:
        of = self.number(value).of
        between = self.value(delimiter).constant
        pairs = self._pairs(table)
        if not isinstance(between, str):
            between = ""
        known: dict[int, str] = {}

        def text(v: Sequence[Any], d: bytes) -> str:
            number = of(v, d) & _MASK
            found = known.get(number)
            if found is None:
                if len(known) > _MAX_CACHE:
                    known.clear()
                found = known[number] = flags_text(number, between, pairs)
            return found

        return Node(text, "str")

    _call__print_symbolic_u64 = _call__print_symbolic
    _call__print_flags_u64 = _call__print_flags

    def _memory(self, node: Any, length: Any, unit: int = 1) -> Evaluate:
        memory, count = self.value(node), self.number(length)
        if memory.kind != "bytes":
            raise NotUnderstood("memory outside of the event")
        of, much = memory.of, count.of
        return lambda v, d: of(v, d)[: max(0, much(v, d)) * unit]

    def _call__print_hex(self, buffer: Any, length: Any) -> Node:
        of = self._memory(buffer, length)
        return Node(lambda v, d: vsprintf.hex_lines(of(v, d)), "str")

    def _call__print_hex_str(self, buffer: Any, length: Any) -> Node:
        of = self._memory(buffer, length)
        return Node(lambda v, d: of(v, d).hex(), "str")

    def _call__print_array(self, buffer: Any, count: Any, size: Any) -> Node:
        unit = self.number(size).constant
        if not isinstance(unit, int) or unit not in (1, 2, 4, 8):
            raise NotUnderstood("an array of elements of odd size")
        of = self._memory(buffer, count, unit)
        return Node(lambda v, d: vsprintf.array(of(v, d), unit), "str")

    def _call__print_dynamic_array(self, name: Any, size: Any) -> Node:
        unit = self.number(size).constant
        if not isinstance(unit, int) or unit not in (1, 2, 4, 8):
            raise NotUnderstood("an array of elements of odd size")
        of = self._call__get_dynamic_array(name).of
        return Node(lambda v, d: vsprintf.array(of(v, d), unit), "str")

    def _call__print_ns_to_secs(self, value: Any) -> Node:
        of = self.number(value).of
        return Node(lambda v, d: (of(v, d) & _MASK) // 1_000_000_000, "int", 64, False)

    def _call__print_ns_without_secs(self, value: Any) -> Node:
        of = self.number(value).of
        return Node(lambda v, d: (of(v, d) & _MASK) % 1_000_000_000, "int", 32, False)

    def _call__builtin_expect(self, value: Any, _: Any) -> Node:
        return self.value(value)

    def _call__builtin_constant_p(self, _: Any) -> Node:
        return _fixed(0)

    def _swapped(self, value: Any, size: int) -> Node:
        of = _as(self.number(value), size * 8, False).of
        return Node(lambda v, d: int.from_bytes(of(v, d).to_bytes(size, "little"), "big"),
                    "int", size * 8, False)  # fmt: skip

    def _call__fswab16(self, value: Any) -> Node:
        return self._swapped(value, 2)

    def _call__fswab32(self, value: Any) -> Node:
        return self._swapped(value, 4)

    def _call__fswab64(self, value: Any) -> Node:
        return self._swapped(value, 8)

    _call__builtin_bswap16, _call__builtin_bswap32 = _call__fswab16, _call__fswab32
    _call__builtin_bswap64 = _call__fswab64

    def _is_err(self, value: Any) -> Node:
        of = _as(self.number(value), 64, False).of
        return Node(lambda v, d: int(of(v, d) >= _MASK - 4094), "int", 32)


def operator_index(index: int) -> Evaluate:
    """What takes one field out of the unpacked ones."""
    return lambda v, d: v[index]


def _promoted(node: Node) -> Node:
    """``int`` at least."""
    if node.bits >= 32:
        return node
    return node._replace(bits=32, signed=True)


def _times(node: Node, step: int) -> Node:
    """How far a pointer moves."""
    if node.constant is not None:
        return _fixed(node.constant * step, bits=64)
    of = node.of
    return Node(lambda v, d: of(v, d) * step, "int", 64, True)


def _combined(action: Callable[[Any, Any], Any], left: Node, right: Node) -> Evaluate:
    one, two, index, value = left.of, right.of, left.place, right.constant
    if index is not None and value is not None:
        return lambda v, d: action(v[index], value)
    if value is not None:
        return lambda v, d: action(one(v, d), value)
    return lambda v, d: action(one(v, d), two(v, d))


def flags_text(number: int, between: str, pairs: Sequence[tuple[int, str]]) -> str:
    """``trace_print_flags_seq()``"""
    parts = []
    for mask, name in pairs:
        if not number:
            break
        if number & mask == mask:
            parts.append(name)
            number &= ~mask
    if number:
        parts.append(f"0x{number:x}")
    return between.join(parts)


@lru_cache(maxsize=4096)
def decoded(raw: bytes) -> str:
    """Bytes of a string up to the first zero, as text."""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _string(node: Node, env: Environment) -> Evaluate:
    """What ``%s`` prints."""
    of = node.of
    if node.kind == "str":
        return of
    if node.kind == "bytes":
        return lambda v, d: decoded(of(v, d))
    if node.kind != "int":
        raise NotUnderstood("%s of what is no string")
    string = env.string
    return lambda v, d: string(of(v, d) & _MASK)


_SPEC = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+)?)?"
    r"(?P<size>hh|h|ll|l|L|q|j|z|Z|t)?(?:(?P<kind>[diouxXcs%])|(?P<pointer>p[A-Za-z0-9]*))"
)
_SIZES = {"hh": 8, "h": 16, None: 32}
_POINTERS = re.compile(r"p(?:[hH][CDN]?|bl?|[SsBFfKxeV]|[Mm][FR]?|U[bBlL]?|[Ii]4[hlbn]?|[Ii]6c?"
                       r"|[Ii]S[pfschnb]*)?")  # fmt: skip


def filled_format_of(
    text: str,
    arguments: Sequence[Node],
    env: Environment,
    layout: Layout,
    end: str = "",
    lead: str = "",
) -> Callable[[bytes], str]:
    """The C format with its arguments, as one format of Python's.

    :raises NotUnderstood: it has conversions that are not known, or wants more arguments.
    """
    parts: list[str] = [lead.replace("%", "%%")]
    nodes: list[Node] = []
    given = list(arguments)
    at = 0

    def take() -> Node:
        if not given:
            raise NotUnderstood("its print format wants more arguments than it has")
        return given.pop(0)

    while (found := _SPEC.search(text, at)) is not None:
        before = text[at : found.start()]
        if "%" in before:
            raise NotUnderstood(f"the conversion in {before!r}")
        parts.append(before)
        at = found.end()
        kind, pointer = found["kind"], found["pointer"]
        if kind == "%":
            parts.append("%%")
            continue
        width, precision = found["width"] or "", found["precision"]
        if pointer:
            letters = pointer[1:]
            if letters[:1] in ("h", "b") and width == "*":
                nodes.append(_sized(take(), take(), letters))
                parts.append("%s")
                at = _pointer_end(text, found)
                continue
            shown = _POINTERS.match(pointer)
            length = shown.end() if shown is not None else 1
            at = found.start("pointer") + length
            nodes.append(_pointer(take(), pointer[1:length], env))
            flags = found["flags"].replace("0", "").replace("#", "")
            parts.append(f"%{flags}{width}s")
            continue
        for star in (width, precision):
            if star == "*":
                nodes.append(_as(take(), 32, True))
        dot = f".{precision}" if precision is not None else "." if "." in found[0] else ""
        if kind == "s":
            nodes.append(Node(_string(take(), env), "str"))
            parts.append(f"%{found['flags'].replace('0', '')}{width}{dot}s")
            continue
        one = take()
        if one.kind == "bytes":
            raise NotUnderstood("an address within the event, printed as a number")
        if kind == "c":
            nodes.append(_as(one, 8, False))
            parts.append(f"%{found['flags']}{width}c")
            continue
        bits = _SIZES.get(found["size"], 64)
        nodes.append(_as(one, bits, kind in "di"))
        flags = found["flags"]
        if kind == "o":
            flags = flags.replace("#", "")
        parts.append(f"%{flags}{width}{dot}{'d' if kind in 'diu' else kind}")
    rest = text[at:]
    if "%" in rest:
        raise NotUnderstood(f"the conversion in {rest!r}")
    parts.extend((rest, end))
    return _filled("".join(parts), nodes, layout)


def filled_format(text: str, packed: bytes, env: Environment) -> str:
    """``bstr_printf()``: a format of ``trace_printk()`` with its arguments packed in an event.

    Numbers are aligned to their size, those of 8 bytes to 4; strings lie between them.

    :raises ValueError: there are fewer bytes than arguments.
    """
    parts: list[str] = []
    at = place = 0

    def number(size: int, signed: bool) -> int:
        nonlocal place
        step = min(size, 4)
        place = (place + step - 1) & -step
        raw = packed[place : place + size]
        if len(raw) < size:
            raise ValueError("an argument is missing")
        place += size
        return int.from_bytes(raw, "little", signed=signed)

    def string() -> str:
        nonlocal place
        end = packed.find(0, place)
        raw = packed[place : end if end >= 0 else len(packed)]
        place += len(raw) + 1
        return raw.decode("utf-8", "backslashreplace")

    for found in _SPEC.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        kind, pointer = found["kind"], found["pointer"]
        if kind == "%":
            parts.append("%")
            continue
        width, precision = found["width"] or "", found["precision"]
        width, precision = (
            str(number(4, True)) if star == "*" else star for star in (width, precision)
        )
        flags = found["flags"]
        dot = f".{precision}" if precision is not None else ""
        if pointer:
            shown = _POINTERS.match(pointer)
            letters = pointer[1 : shown.end() if shown is not None else 1]
            at = found.start("pointer") + 1 + len(letters)
            plain = letters[:1] in ("S", "s", "x", "K", "e", "")
            value = _shown_pointer(number(8, False), letters, env) if plain else string()
            parts.append(f"%{flags.replace('0', '').replace('#', '')}{width}s" % value)
        elif kind == "s":
            parts.append(f"%{flags.replace('0', '')}{width}{dot}s" % string())
        elif kind == "c":
            parts.append(f"%{flags}{width}c" % number(1, False))
        else:
            bits = _SIZES.get(found["size"], 64)
            value_ = number(bits // 8, kind in "di")
            parts.append(f"%{flags}{width}{dot}{'d' if kind in 'diu' else kind}" % value_)
    parts.append(text[at:])
    return "".join(parts)


def _shown_pointer(address: int, letters: str, env: Environment) -> str:
    if letters[:1] in ("S", "s"):
        return env.symbol(address, letters[:1] == "S")
    if letters[:1] == "x":
        return f"{address:016x}"
    return env.pointer(address)


def _pointer_end(text: str, found: re.Match[str]) -> int:
    shown = _POINTERS.match(text, found.start("pointer"))
    return shown.end() if shown is not None else found.end()


def _filled(template: str, nodes: Sequence[Node], layout: Layout) -> Callable[[bytes], str]:
    unpack = layout.unpack
    indexes = [node.place for node in nodes]
    if not nodes:
        whole = template % ()
        return lambda d: whole
    if all(index is not None for index in indexes):
        take = operator.itemgetter(*indexes)
        if len(nodes) == 1:
            return lambda d: template % (take(unpack(d)),)
        return lambda d: template % take(unpack(d))
    functions = tuple(node.of for node in nodes)
    if len(functions) == 1:
        (only,) = functions
        return lambda d: template % (only(unpack(d), d),)
    if len(functions) == 2:
        one, two = functions

        def of_two(d: bytes) -> str:
            v = unpack(d)
            return template % (one(v, d), two(v, d))

        return of_two

    def of_many(d: bytes) -> str:
        v = unpack(d)
        return template % tuple([function(v, d) for function in functions])

    return of_many


def _sized(length: Node, memory: Node, letters: str) -> Node:
    """``%*ph``, ``%*pbl``: the length comes first; of bitmaps it is in bits."""
    way = vsprintf.of_bytes(letters)
    if memory.kind != "bytes" or way is None or length.kind != "int":
        raise NotUnderstood(f"%*p{letters} of memory outside of the event")
    of, much = memory.of, length.of
    show = way
    if letters[:1] == "b":
        return Node(lambda v, d: show(of(v, d)[: (max(0, much(v, d)) + 7) // 8]), "str")
    return Node(lambda v, d: show(of(v, d)[: max(0, much(v, d))]), "str")


def _pointer(node: Node, letters: str, env: Environment) -> Node:
    """What ``%pLETTERS`` prints."""
    of = node.of
    way = vsprintf.of_bytes(letters)
    if way is not None:
        if node.kind != "bytes":
            raise NotUnderstood(f"%p{letters} of memory outside of the event")
        show = way
        return Node(lambda v, d: show(of(v, d)), "str")
    if node.kind != "int":
        raise NotUnderstood(f"%p{letters} of an address within the event")
    if letters in ("S", "F", "B"):
        symbol = env.symbol
        return Node(lambda v, d: symbol(of(v, d) & _MASK, True), "str")
    if letters in ("s", "f"):
        symbol = env.symbol
        return Node(lambda v, d: symbol(of(v, d) & _MASK, False), "str")
    if letters == "x":
        return Node(lambda v, d: f"{of(v, d) & _MASK:016x}", "str")
    if letters == "e":
        pointer = env.pointer
        return Node(lambda v, d: vsprintf.error(of(v, d) & _MASK) or pointer(of(v, d) & _MASK),
                    "str")  # fmt: skip
    if letters in ("", "K"):
        pointer = env.pointer
        return Node(lambda v, d: pointer(of(v, d) & _MASK), "str")
    raise NotUnderstood(f"%p{letters}")
