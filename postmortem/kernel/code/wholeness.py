"""Does the code of a function hold together? Code with a changed bit often does not.

x86 instructions have no fixed length: one other bit, and the processor reads what follows at
other places. What a compiler made decodes from the first byte to the last; its branches go to
starts of instructions, its calls to starts of functions, and the unwind table (ORC) has
entries at starts of instructions only. Code for which that is not so is not what was built
(of 1,500 functions of a healthy 6.1 none is such), and if one bit near the fault makes it so
again, a bit may have changed. Often several would, and code with a changed bit may hold
together as well: of 150 bits flipped at random 43 were seen. So this is a hint; a vmlinux
beside the dump knows (:mod:`postmortem.kernel.code.text_flip`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import drgn

from postmortem.arch import arch_of
from postmortem.arch.model import engine
from postmortem.dump.damage import damage
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import Symbolizer

_MAX_FUNCTION = 16 << 10
_MAX_FUNCTIONS = 16
"""Of which the code is looked at: it takes 20 ms each."""
_BEFORE = 16
"""Bytes before the fault in which the change is looked for: one instruction, at least."""
_AT = 15
"""No instruction is longer."""
_BRANCHES = ("j", "call", "loop")
_BREAKPOINT = 0xCC
_ENTRY_BYTES = 4
_MAX_ORC = 64 << 20


@dataclass(frozen=True)
class Torn:
    """Code that does not hold together, and the bytes of which one may be to blame."""

    function: str
    reason: str
    """What is wrong with it, with a place in the function."""
    offsets: tuple[int, ...]
    """Bytes of the function, ascending: one other bit in any of them makes it whole."""

    @property
    def where(self) -> str:
        """The bytes in words."""
        first = f"{self.function}+{self.offsets[0]:#x}"
        if len(self.offsets) == 1:
            return f"the byte at {first}"
        return f"one of {len(self.offsets)} bytes from {first} to +{self.offsets[-1]:#x}"


def torn_code(prog: drgn.Program, pc: int) -> Torn | None:
    """What is wrong with the function at ``pc``, if one bit near there would mend it.

    ``None`` if it holds together, if no single bit explains that it does not, or if it can't
    be read.

    :param pc: Address of the instruction that failed.
    """
    known = _known(prog)
    if pc not in known:
        known[pc] = _torn(prog, pc) if len(known) < _MAX_FUNCTIONS else None
    return known[pc]


@fact
def _known(prog: drgn.Program) -> dict[int, Torn | None]:
    return {}


def _torn(prog: drgn.Program, pc: int) -> Torn | None:
    if arch_of(prog).name != "x86_64":
        return None
    symbol = Symbolizer.of(prog).symbol(pc)
    if symbol is None or not symbol.is_code or not symbol.offset < symbol.size <= _MAX_FUNCTION:
        return None
    start = pc - symbol.offset
    try:
        data = prog.read(start, symbol.size)
    except damage():
        return None
    check = _Check(prog, start, symbol.size)
    wrong = check.fault(data)
    if wrong is None:
        return None
    near = range(max(0, symbol.offset - _BEFORE), min(symbol.size, symbol.offset + _AT))
    mending = tuple(at for at in near if _mends(check, data, at))
    return Torn(symbol.function, wrong, mending) if mending else None


def _mends(check: _Check, data: bytes, at: int) -> bool:
    """Whether one other bit in a byte makes the code whole; a probe's ``int3`` is no damage."""
    if data[at] == _BREAKPOINT:
        return False
    return any(
        check.fault(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]) is None
        for bit in range(8)
    )


class _Check:
    """What is known of a function besides its code."""

    def __init__(self, prog: drgn.Program, start: int, size: int) -> None:
        self._start, self._end = start, start + size
        self._engine = _engine(prog)
        self._symbolizer = Symbolizer.of(prog)
        self._places = _unwind_places(prog).between(start, start + size)

    def fault(self, data: bytes) -> str | None:
        """The first thing that no compiler makes; ``None`` if there is none."""
        starts: set[int] = set()
        branches: list[tuple[int, int]] = []
        at = self._start
        for address, size, mnemonic, operands in self._engine.disasm_lite(data, at):
            starts.add(address)
            at = address + size
            if operands.startswith("0x") and mnemonic.startswith(_BRANCHES):
                target = int(operands, 16)
                if self._start <= target < self._end:
                    branches.append((address, target))
                elif mnemonic.startswith("call") and self._inside_of_a_function(target):
                    return f"the call at +{address - self._start:#x} goes into a function's middle"
        if at != self._end:
            return f"at +{at - self._start:#x} is no instruction"
        for address, target in branches:
            if target not in starts:
                return (
                    f"the jump at +{address - self._start:#x} goes into the middle of an"
                    f" instruction, +{target - self._start:#x}"
                )
        for place in self._places:
            if place not in starts:
                return (
                    f"the unwind table has an instruction at +{place - self._start:#x}, where"
                    " the code has none"
                )
        return None

    def _inside_of_a_function(self, target: int) -> bool:
        symbol = self._symbolizer.symbol(target)
        return symbol is not None and 0 < symbol.offset < symbol.size


@fact
def _engine(prog: drgn.Program) -> Any:
    return engine(arch_of(prog).code)


@dataclass(frozen=True)
class _Places:
    """Addresses that the unwind table has entries for, ascending; worked out when asked for."""

    start: int
    distances: Sequence[int]

    def between(self, low: int, high: int) -> list[int]:
        """Those from ``low`` up to ``high``, without it."""
        numbers = range(len(self.distances))
        first = bisect_left(numbers, low, key=self._at)
        return [
            self._at(number) for number in numbers[first : bisect_left(numbers, high, key=self._at)]
        ]

    def _at(self, number: int) -> int:
        return self.start + number * _ENTRY_BYTES + self.distances[number]


@fact
def _unwind_places(prog: drgn.Program) -> _Places:
    """The kernel's ORC entries; none if they can't be read."""
    try:
        start = prog.symbol("__start_orc_unwind_ip").address
        size = prog.symbol("__stop_orc_unwind_ip").address - start
        data = prog.read(start, size) if 0 < size <= _MAX_ORC else b""
    except damage():
        return _Places(0, ())
    return _Places(start, memoryview(data[: len(data) // _ENTRY_BYTES * _ENTRY_BYTES]).cast("i"))
