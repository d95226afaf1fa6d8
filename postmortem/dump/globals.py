"""Types of the kernel's global variables, which BTF does not have.

One table for all versions: a variable exists if its symbol does, so an entry
for a variable that came or went does no harm. Where a type changed, the
alternatives are listed newest first, and the first one that exists and fits the
symbol's size is taken. The table is compared with the kernels' DWARF by
``python -m benchmarks.globals VMLINUX``. Per-CPU variables are needed only for
old kernels; BTF describes them since v5.12 and is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import drgn

from postmortem.dump.globals_table import GLOBALS

_ARRAY = re.compile(r"(.+?)\s*\[([*~]|\w*[A-Za-z_]\w*)\]$")
_STRUCT = re.compile(r"struct \{(.*)\}$")
_CONDITION = re.compile(r"(.+) if (\w+ \w+)\.(\w+)$")
_MAX_ARRAY_BYTES = 1 << 20
"""No array in the table is larger: what looks so ends at the end of its section."""


def global_variable(
    prog: drgn.Program,
    name: str,
    symbols: Sequence[drgn.Symbol],
    constant: Callable[[str], int | None],
) -> tuple[drgn.Type, drgn.Symbol] | tuple[None, None]:
    """Type and symbol of the global variable ``name``.

    :param symbols: All symbols of that name; their size is the distance to the
        next symbol, 0 if not known.
    :param constant: Value of an enumerator.
    """
    spec = GLOBALS.get(name)
    for alternative in spec.split(" | ") if spec else ():
        for symbol in symbols:
            found = _parse(prog, alternative, symbol, constant)
            if found is not None and only_one(symbols, _sizeof(found)) == symbol:
                return found, symbol
    return None, None


def only_one(symbols: Sequence[drgn.Symbol], size: int) -> drgn.Symbol | None:
    """The symbol that a variable of ``size`` bytes must be; ``None`` if there may be several.

    Static variables of different files share names (``list``, ``head``); a
    wrong one would be worse than none.
    """
    fitting = [symbol for symbol in symbols if _fits(symbol, size)]
    if len(fitting) > 1:
        shared = [s for s in fitting if s.binding == drgn.SymbolBinding.GLOBAL]
        fitting = shared or [s for s in fitting if s.size == size]
    return fitting[0] if len(fitting) == 1 else None


def _fits(symbol: drgn.Symbol, size: int) -> bool:
    # Padding up to the next symbol counts, so the size of a symbol may be larger.
    # Its kind says nothing: 7.2's .data is executable for nm, so its variables are "T".
    return not symbol.size or size <= symbol.size


def _sizeof(found: drgn.Type) -> int:
    try:
        return int(drgn.sizeof(found))
    except TypeError:
        return 0


def _parse(
    prog: drgn.Program, text: str, symbol: drgn.Symbol, constant: Callable[[str], int | None]
) -> drgn.Type | None:
    """The type that one alternative of the table means for this symbol."""
    try:
        condition = _CONDITION.match(text)
        if condition:
            text, struct, member = condition.groups()
            if not prog.type(struct).has_member(member):
                return None
        anonymous = _STRUCT.match(text)
        if anonymous:
            return _anonymous_struct(prog, anonymous.group(1))
        array = _ARRAY.match(text)
        if array is None:
            return prog.type(text)
        element, length = prog.type(array.group(1)), array.group(2)
        if length in "*~":
            return prog.array_type(element, _length(prog, element, symbol, trim=length == "~"))
        count = constant(length)
        return None if count is None else prog.array_type(element, count)
    except (LookupError, TypeError, SyntaxError, ValueError, drgn.FaultError):
        return None


def _length(
    prog: drgn.Program, element: drgn.Type, symbol: drgn.Symbol, *, trim: bool
) -> int | None:
    """Elements up to the next symbol; ``None`` if that is too far away."""
    size = drgn.sizeof(element)
    if not 0 < symbol.size <= _MAX_ARRAY_BYTES:
        return None
    count = int(symbol.size // size)
    if trim:
        data = prog.read(symbol.address, count * size)
        count = -(-len(data.rstrip(b"\0")) // size)
    return count


def _anonymous_struct(prog: drgn.Program, body: str) -> drgn.Type:
    """Lay out ``type name; type name;`` as C does."""
    members = []
    at = 0
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        type_name, _, name = declaration.rpartition(" ")
        found = prog.type(type_name)
        align = drgn.alignof(found)
        at = -(-at // align) * align
        members.append(drgn.TypeMember(found, name, at * 8))
        at += drgn.sizeof(found)
    align = max(drgn.alignof(member.type) for member in members)
    return prog.struct_type(None, -(-at // align) * align, members)
