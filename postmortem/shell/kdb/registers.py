"""``rd`` and ``ef``: registers of a CPU, and of an exception frame."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.errors import UsageError
from postmortem.shell.kdb.state import State


def rd(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    from postmortem.arch import arch_of

    known = dict(kdb.known_registers())
    if not known:
        raise UsageError("No current registers.  You may need to select another task")
    line = ""
    for register, digits in arch_of(kdb.session.prog).kgdb_registers:
        if register not in known:
            continue
        if line and len(line) + len(register) + 4 + digits > 80:
            yield line
            line = ""
        line += ("  " if line else "") + f"{register}: {known[register]:0{digits}x}"
    yield line


def ef(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    """``show_regs()`` of a ``struct pt_regs``, in its short form."""
    from postmortem.kernel.tasks.trace import Registers
    from postmortem.printers.show_stack import StackPrinter

    if len(words) != 1:
        raise UsageError("ef: one address is wanted")
    address = kdb.address(words[0])
    size = kdb.session.prog.type("struct pt_regs").size or 0
    data = kdb.session.prog.read(address, size)
    values = tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, 168, 8))
    printer = StackPrinter(kdb.session.prog)
    yield from printer.registers(Registers(values))
