"""Types of the kernel's global variables, which BTF does not have.

They were read off the DWARF of Debian's kernels and lie in a file
(:mod:`postmortem.dump.globals_file`); a few that DWARF does not tell, or tells for
one configuration only, are in :mod:`postmortem.dump.globals_table`. A variable
exists if its symbol does, so an entry for one that came or went does no harm. Where
kernels differ, that type is taken which exists in the dump's BTF and fits the symbol's
size; of several, the one of the kernel whose structs are most like the dump's. What
a kernel calls itself is never asked.

``python -m benchmarks.globals VMLINUX`` compares the outcome with a kernel's DWARF.
Per-CPU variables are needed only for old kernels; BTF describes them since v5.12 and
is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import drgn

from postmortem.dump.globals_file import Candidate, VariableFile
from postmortem.dump.globals_table import GLOBALS
from postmortem.dump.typetext import TypeText

_CONDITION = re.compile(r"(.+) if (\w+ \w+)\.(\w+)$")
_OUTER_ARRAY = re.compile(r"\[(?:\d+)\](.+)")
_MAX_ARRAY_BYTES = 1 << 20
"""No array is larger: what looks so ends at the end of its section."""
_NONE = (LookupError, TypeError, SyntaxError, ValueError, OverflowError, drgn.FaultError)
KERNEL = ""
"""The owner of the variables of the kernel proper."""
ANY_MODULE = "*"


class Variable(NamedTuple):
    """Where a variable is, and of which type."""

    type: drgn.Type
    symbol: drgn.Symbol


class GlobalVariables:
    """Finds the types of one program's variables.

    :param enum_of: An enumerator by its name, as a value of its type.
    :param has_struct: Whether the kernel's BTF has a struct of this name.
    """

    def __init__(
        self,
        prog: drgn.Program,
        enum_of: Callable[[str], drgn.Object | None],
        has_struct: Callable[[str], bool],
        file: VariableFile | None = None,
    ) -> None:
        self._prog = prog
        self._texts = TypeText(prog, enum_of)
        self._has_struct = has_struct
        self._file = file or VariableFile()

    def find(
        self, name: str, symbols: Sequence[drgn.Symbol], owner: str = KERNEL
    ) -> Variable | None:
        """Type and symbol of the variable ``name``.

        :param symbols: All symbols of that name; their size is the distance to the
            next symbol, 0 if not known.
        :param owner: The module that they are of.
        """
        if owner == KERNEL and name in GLOBALS:
            for alternative in GLOBALS[name].split(" | "):
                found = self._fit(alternative, symbols)
                if found is not None:
                    return found
        candidates = [
            candidate
            for candidate in self._file.candidates(name)
            if owner in candidate.owners or (owner and ANY_MODULE in candidate.owners)
        ]
        found = self._choose(candidates, symbols)
        # The symbols of modules have sizes of their own, not distances.
        return found if found is None or owner == KERNEL or _agrees(found) else None

    def owners(self, name: str) -> set[str]:
        """Modules that have a variable of this name; :data:`ANY_MODULE` for many."""
        return {
            owner for candidate in self._file.candidates(name) for owner in candidate.owners
        } - {KERNEL}

    def _choose(
        self, candidates: Sequence[Candidate], symbols: Sequence[drgn.Symbol]
    ) -> Variable | None:
        fitting: dict[int, list[Variable]] = {}
        for closeness, candidate in self._by_closeness(candidates):
            found = self._fit(candidate.type, symbols)
            if found is not None:
                fitting.setdefault(min(closeness, 1), []).append(found)
        # What the kernel most like this one has, padding or not; else the best fit.
        for found in fitting.get(0, []):
            return found if len(symbols) == 1 or _only_type(fitting[0]) else None
        for found in sorted(fitting.get(1, []), key=_padding):
            return found
        for candidate in candidates:
            found = self._stretched(candidate.type, symbols)
            if found is not None:
                return found
        return None

    def _by_closeness(self, candidates: Sequence[Candidate]) -> list[tuple[int, Candidate]]:
        """Candidates, that of the kernel most like this one first (closeness 0)."""
        if len(candidates) < 2:
            return [(0, candidate) for candidate in candidates]
        order = self._nearest

        def closeness(candidate: Candidate) -> int:
            mask = candidate.kernels
            if not mask:
                return 0
            return next((n for n, kernel in enumerate(order) if mask >> kernel & 1), len(order))

        pairs = [(closeness(candidate), candidate) for candidate in candidates]
        return sorted(pairs, key=lambda pair: pair[0])

    @cached_property
    def _nearest(self) -> list[int]:
        """The kernels that were read, by how many of the telling structs agree."""
        marks = self._file.marks
        here = sum(self._has_struct(name) << bit for bit, name in enumerate(marks.structs))
        differ = [bin(here ^ mask).count("1") for mask in marks.kernels]
        return sorted(range(len(differ)), key=differ.__getitem__)

    def _fit(self, text: str, symbols: Sequence[drgn.Symbol]) -> Variable | None:
        """The first symbol that can be of the type."""
        for symbol in symbols:
            found = self._type(text, symbol)
            if found is not None and only_one(symbols, _sizeof(found)) == symbol:
                return Variable(found, symbol)
        return None

    def _type(self, text: str, symbol: drgn.Symbol) -> drgn.Type | None:
        with suppress(*_NONE):
            condition = _CONDITION.match(text)
            if condition:
                text, struct, member = condition.groups()
                if not self._prog.type(struct).has_member(member):
                    return None
            if "[*]" in text and not 0 < symbol.size <= _MAX_ARRAY_BYTES:
                return None
            return self._texts.type(text, symbol.size)
        return None

    def _stretched(self, text: str, symbols: Sequence[drgn.Symbol]) -> Variable | None:
        """An array whose length another configuration made another one."""
        array = _OUTER_ARRAY.match(text)
        found = self._fit(f"[*]{array[1]}", symbols) if array else None
        return found if found is not None and _sizeof(found.type) else None


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


def _only_type(found: Sequence[Variable]) -> bool:
    """Whether no two variables of one name are of different types at the same place."""
    return all(one.type == found[0].type for one in found if one.symbol == found[0].symbol)


def _padding(found: Variable) -> int:
    return int(found.symbol.size) - _sizeof(found.type)


def _agrees(found: Variable) -> bool:
    """Whether type and symbol have one size; the last member of a struct may be longer."""
    size = _sizeof(found.type)
    return size in (0, found.symbol.size) or found.type.kind == drgn.TypeKind.STRUCT


def _sizeof(found: drgn.Type) -> int:
    try:
        return int(drgn.sizeof(found))
    except TypeError:
        return 0
