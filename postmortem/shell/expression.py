"""C expressions over the dump: ``((struct task_struct *)0xff...)->mm->pgd[3] & ~0xfff``.

pycparser reads the C; here each node becomes an operation on ``drgn.Object``, which
knows C's rules of promotion and pointer arithmetic.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import drgn
from pycparser import c_ast, c_parser

from postmortem.errors import UsageError

MAX_CHARS = 4096
_MAX_DEPTH = 200

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "%": operator.mod, "<<": operator.lshift, ">>": operator.rshift, "&": operator.and_,
    "|": operator.or_, "^": operator.xor, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg, "+": operator.pos, "~": operator.invert,
}  # fmt: skip

_WORD = re.compile(r"[A-Za-z_]\w*")
# Names that C gives a meaning, which are no typedefs of a kernel.
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "struct union enum unsigned signed char short int long void const volatile sizeof"
        " _Bool float double",
    )
)
_SUFFIXES = re.compile(r"[uUlL]+$")
_ESCAPES = {"n": 10, "t": 9, "0": 0, "\\": 92, "'": 39, "r": 13}


def evaluate(prog: drgn.Program, text: str) -> drgn.Object:
    """The value of a C expression.

    :raises UsageError: it is no expression, or something in it is not known.
    :raises drgn.FaultError: it reads memory that is not in the dump.
    """
    if len(text) > MAX_CHARS:
        raise UsageError(f"an expression of {len(text)} characters is too long")
    node = _read(prog, text)
    try:
        return _Evaluation(prog).value(node)
    except (TypeError, OverflowError, ZeroDivisionError, AttributeError) as exc:
        raise UsageError(f"{text}: {exc}") from None


def _read(prog: drgn.Program, text: str) -> Any:
    """The expression as a tree. C can't be read without knowing which names are types."""
    types = {name for name in _WORD.findall(text) if name not in _KEYWORDS and _is_type(prog, name)}
    head = "".join(f"typedef int {name};\n" for name in sorted(types))
    # A dollar or a stray brace would end the wrapper and begin another sentence of C.
    if re.search(r"[;{}#\"$@`]", text):
        raise UsageError(f"{text}: not a C expression")
    try:
        tree = c_parser.CParser().parse(f"{head}int it = ({text}\n);")
    except (c_parser.ParseError, RecursionError, AssertionError):
        raise UsageError(f"{text}: not a C expression") from None
    found = tree.ext[-1]
    if not isinstance(found, c_ast.Decl) or found.init is None:
        raise UsageError(f"{text}: not a C expression")
    return found.init


def _is_type(prog: drgn.Program, name: str) -> bool:
    """Whether a name is a typedef here; a variable of that name is what is meant then."""
    try:
        return bool(prog.type(name).kind == drgn.TypeKind.TYPEDEF)
    except (LookupError, SyntaxError):
        return False


class _Evaluation:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._depth = 0

    def value(self, node: Any) -> drgn.Object:
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            raise UsageError(f"{type(node).__name__} is no part of an expression here")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UsageError("the expression is nested too deep")
        result: drgn.Object = method(node)
        self._depth -= 1
        return result

    def _ID(self, node: c_ast.ID) -> drgn.Object:
        try:
            return self._prog[node.name]
        except KeyError:
            pass
        try:
            address = self._prog.symbol(node.name).address
        except LookupError:
            raise UsageError(f"{node.name}: no variable, function or constant") from None
        # A symbol whose type nothing tells is a number, as assembler sees it.
        return drgn.Object(self._prog, "unsigned long", address)

    def _Constant(self, node: c_ast.Constant) -> drgn.Object:
        if node.type == "char":
            inner = node.value[1:-1]
            code = _ESCAPES.get(inner[1:]) if inner.startswith("\\") else ord(inner)
            if code is None:
                raise UsageError(f"{node.value}: which character?")
            return drgn.Object(self._prog, "char", code)
        digits = _SUFFIXES.sub("", node.value)
        suffix = node.value[len(digits) :].lower()
        octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
        try:
            number = int(digits, 8) if octal else int(digits, 0)
        except ValueError:
            raise UsageError(f"{node.value}: not a number that this shell reads") from None
        if number >= 1 << 64:
            raise UsageError(f"{node.value} has more than 64 bits")
        return drgn.Object(self._prog, self._type_of(number, suffix, digits), number)

    @staticmethod
    def _type_of(number: int, suffix: str, digits: str) -> str:
        unsigned = "u" in suffix or number >= 1 << 63
        if "l" not in suffix:
            if not unsigned and number < 1 << 31:
                return "int"
            if number < 1 << 32 and (unsigned or not digits.isdigit()):
                return "unsigned int"
        return "unsigned long" if unsigned else "long"

    def _UnaryOp(self, node: c_ast.UnaryOp) -> drgn.Object:
        if node.op == "sizeof":
            return self._size(node.expr)
        value = self.value(node.expr)
        if node.op == "*":
            return value[0]
        if node.op == "&":
            return value.address_of_()
        if node.op == "!":
            return drgn.Object(self._prog, "int", not value)
        if node.op not in _UNARY:
            raise UsageError(f"{node.op} would change something; a dump does not change")
        result: drgn.Object = _UNARY[node.op](value)
        return result

    def _size(self, node: Any) -> drgn.Object:
        of = self._type(node) if isinstance(node, c_ast.Typename) else self.value(node).type_
        return drgn.Object(self._prog, "unsigned long", drgn.sizeof(of))

    def _BinaryOp(self, node: c_ast.BinaryOp) -> drgn.Object:
        if node.op in ("&&", "||"):
            left = bool(self.value(node.left))
            both = left and bool(self.value(node.right)) if node.op == "&&" else (
                left or bool(self.value(node.right)))  # fmt: skip
            return drgn.Object(self._prog, "int", both)
        result = _BINARY[node.op](self.value(node.left), self.value(node.right))
        return result if isinstance(result, drgn.Object) else drgn.Object(
            self._prog, "int", bool(result))  # fmt: skip

    def _TernaryOp(self, node: c_ast.TernaryOp) -> drgn.Object:
        return self.value(node.iftrue if self.value(node.cond) else node.iffalse)

    def _StructRef(self, node: c_ast.StructRef) -> drgn.Object:
        value = self.value(node.name)
        try:
            # crash and gdb take either for either, and so do fingers.
            return value.member_(node.field.name)
        except LookupError as exc:
            raise UsageError(str(exc)) from None

    def _ArrayRef(self, node: c_ast.ArrayRef) -> drgn.Object:
        return self.value(node.name)[self.value(node.subscript)]

    def _Cast(self, node: c_ast.Cast) -> drgn.Object:
        return drgn.cast(self._type(node.to_type), self.value(node.expr))

    def _type(self, node: Any) -> drgn.Type:
        try:
            return self._declared(node.type)
        except LookupError as exc:
            raise UsageError(str(exc)) from None

    def _declared(self, node: Any) -> drgn.Type:
        if isinstance(node, c_ast.PtrDecl):
            return self._prog.pointer_type(self._declared(node.type))
        if isinstance(node, c_ast.TypeDecl):
            return self._declared(node.type)
        if isinstance(node, c_ast.IdentifierType):
            return self._prog.type(" ".join(node.names))
        for kind in (c_ast.Struct, c_ast.Union, c_ast.Enum):
            if isinstance(node, kind) and node.name:
                return self._prog.type(f"{kind.__name__.lower()} {node.name}")
        raise UsageError("such a type can't be cast to here")
