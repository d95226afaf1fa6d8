"""What the code of a function refers to: strings that it prints, functions that it calls.

Short strings also occur by chance, so that one is there says little; that the function has
its address says that it prints it (x86-64).
"""

from __future__ import annotations

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.memo import fact
from postmortem.kernel.rodata import Rodata, rodata

_MAX_FUNCTION = 1 << 16
_MASK = (1 << 64) - 1


class _Code:
    """Where the 32-bit words in a function's code can point to."""

    def __init__(self, prog: drgn.Program, function: str) -> None:
        symbol = prog.symbol(function)
        code = prog.read(symbol.address, min(symbol.size, _MAX_FUNCTION))
        self._targets: set[int] = set()
        for at in range(len(code) - 3):
            word = int.from_bytes(code[at : at + 4], "little", signed=True)
            self._targets.add(word & _MASK)  # an address as it is, sign-extended
            # lea disp32(%rip) and call rel32: counted from the end of the instruction, which
            # the displacement ends.
            self._targets.add((symbol.address + at + 4 + word) & _MASK)
        self._strings: set[str] | None = None

    def has(self, address: int) -> bool:
        """Whether it can point there."""
        return address in self._targets

    def strings(self, data: Rodata) -> set[str]:
        """What is at the places in read-only data that it can point to."""
        if self._strings is None:
            found = (data.string_at(address) for address in self._targets)
            self._strings = {text for text in found if text}
        return self._strings


@fact
def _known(prog: drgn.Program) -> dict[str, _Code | None]:
    return {}


def _code(prog: drgn.Program, function: str) -> _Code | None:
    known = _known(prog)
    if function not in known:
        try:
            known[function] = _Code(prog, function)
        except damage():
            known[function] = None
    return known[function]


def refers(prog: drgn.Program, function: str, text: str) -> bool:
    """Whether a function has the address of the string ``text``."""
    code = _code(prog, function)
    try:
        return code is not None and text in code.strings(rodata(prog))
    except damage():
        return False


def calls(prog: drgn.Program, function: str, callee: str) -> bool:
    """Whether a function calls another one by its name."""
    code = _code(prog, function)
    try:
        return code is not None and code.has(prog.symbol(callee).address)
    except damage():
        return False
