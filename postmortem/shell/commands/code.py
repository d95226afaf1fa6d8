"""Machine code: ``dis``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from postmortem.arch import arch_of
from postmortem.dump.damage import readable
from postmortem.errors import UsageError
from postmortem.kernel.code.disassembly import Instruction, decode
from postmortem.kernel.code.patched import Change, changes_between
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.render.clean import clean
from postmortem.shell.command import command

if TYPE_CHECKING:
    import drgn

    from postmortem.shell.session import Session

_MAX_BYTES = 256 << 10
_PAST = 16
"""Bytes: no instruction of any architecture is longer."""
_PLUS = re.compile(r"(?P<symbol>[\w.]+)\+(?P<offset>0x[0-9a-f]+|\d+)", re.IGNORECASE)


@command("dis", "code")
@click.option("-r", "reverse", is_flag=True, help="From the start of the function to ADDRESS.")
@click.option("-f", "forward", is_flag=True, help="From ADDRESS to the end of the function.")
@click.option("-x", "base", flag_value=16, type=int, help="Offsets in hexadecimal.")
@click.option("-d", "base", flag_value=10, type=int, default=10, help="Offsets in decimal.")
@click.option("-l", "lines", is_flag=True, help="File and line of each, where DWARF is found.")
@click.argument("address")
@click.argument("count", type=int, required=False)
def dis(
    session: Session,
    reverse: bool,
    forward: bool,
    base: int,
    lines: bool,
    address: str,
    count: int | None,
) -> None:
    """Disassemble a function, or COUNT instructions from ADDRESS on.

    ADDRESS is a symbol, symbol+offset, hexadecimal address or (expression). A bare symbol
    is shown whole; a bare address one instruction. What kprobes, ftrace, static keys and
    static calls put there is told, with the bytes before where they are kept.
    """
    if count is not None and count < 1:
        raise UsageError(f"dis: {count} instructions?")
    prog = session.prog
    symbols = Symbolizer.of(prog)
    start, whole = _place(session, address)
    symbol = symbols.symbol(start)
    if (reverse or forward or whole) and symbol is None:
        raise UsageError(f"dis: {start:#x} is in no function")
    first = start - symbol.offset if symbol and (reverse or (whole and not forward)) else start
    end = start + 1 if reverse else first + _MAX_BYTES
    if symbol and not reverse and (whole or forward) and count is None:
        end = start - symbol.offset + symbol.size
    limit = count if count is not None else (None if whole or reverse or forward else 1)
    shown = 0
    changed = {
        one.address: one for one in changes_between(prog, first, min(end, first + _MAX_BYTES))
    }
    for instruction in _instructions(prog, first, min(end, first + _MAX_BYTES), limit):
        if lines:
            _source(session, instruction.address)
        change = changed.get(instruction.address)
        note = f"\t; {clean(_now(prog, change))}" if change is not None else ""
        session.out.write(_line(instruction, symbols, base) + note + "\n")
        shown += 1
    if not shown:
        raise UsageError(f"dis: no instruction at {first:#x}")


def _now(prog: drgn.Program, change: Change) -> str:
    """Who changed an instruction, with the bytes that are there and those that were."""
    return change.text(readable(lambda: prog.read(change.address, change.size)) or b"")


def _place(session: Session, text: str) -> tuple[int, bool]:
    """An address, and whether the whole function is meant."""
    plus = _PLUS.fullmatch(text)
    name = plus["symbol"] if plus else text
    if text.startswith("("):
        from postmortem.shell.expression import evaluate

        value = evaluate(session.prog, text)
        address = value.address_ if "(" in value.type_.type_name() else value.value_()
        return int(address or 0), False
    try:
        found = session.prog.symbol(name)
    except LookupError:
        found = None
    if found is not None:
        return int(found.address) + (int(plus["offset"], 0) if plus else 0), plus is None
    try:
        return int(text, 16), False
    except ValueError:
        raise UsageError(f"dis: {text} is no symbol, address or expression") from None


def _instructions(
    prog: drgn.Program, start: int, end: int, limit: int | None
) -> Iterator[Instruction]:
    from postmortem.dump.available import read_available

    size = min(end - start + _PAST, _MAX_BYTES, limit * _PAST if limit else _MAX_BYTES)
    data, skipped = read_available(prog, start, size)
    if skipped or not data:
        data = prog.read(start, 1) + b""
    for number, instruction in enumerate(decode(data, start, arch_of(prog))):
        if instruction.address >= end or number == limit:
            return
        yield instruction


def _line(instruction: Instruction, symbols: Symbolizer, base: int) -> str:
    place = _named(instruction.address, symbols, base)
    text = as_binutils(instruction.text)
    if instruction.target is not None:
        text = f"{_BARE.get(instruction.mnemonic, instruction.mnemonic):<6} {instruction.target:#x}"
        if named := _named(instruction.target, symbols, base):
            text += f" {named}"
    return clean(f"{instruction.address:#x} {place}:") + "\t" + clean(text)


_SUFFIXED = frozenset({
    "adc", "add", "and", "bsf", "bsr", "bswap", "bt", "btc", "btr", "bts", "cmp", "cmpxchg", "dec",
    "div", "idiv", "imul", "inc", "lea", "mov", "movabs", "mul", "neg", "not", "or", "pop",
    "popcnt", "push", "rcl", "rcr", "rol", "ror", "sar", "sbb", "shl", "shld", "shr", "shrd",
    "sub", "test", "xadd", "xchg", "xor",
})  # fmt: skip
"""Instructions whose name may end in the size of what they work on."""
_BARE = {"callq": "call", "jmpq": "jmp", "retq": "ret", "leaveq": "leave", "iretq": "iretq",
         "pushfq": "pushf", "popfq": "popf"}  # fmt: skip


def as_binutils(text: str) -> str:
    """AT&T syntax as gdb and objdump write it: a size that a register tells has no letter.

    capstone always writes the letter: ``pushq %r15``, ``movq %rdi, %r12``.
    """
    mnemonic, blank, operands = text.partition(" ")
    if mnemonic in _BARE:
        mnemonic = _BARE[mnemonic]
    elif mnemonic[:-1] in _SUFFIXED and mnemonic[-1] in "bwlq":
        has_register = any(word.startswith("%") and ":" not in word for word in _operands(operands))
        immediate = operands.strip().startswith("$") and "," not in operands
        if has_register or (immediate and mnemonic == "pushq"):
            mnemonic = mnemonic[:-1]
    return f"{mnemonic:<6} {operands.strip()}".rstrip() if blank else mnemonic


def _operands(text: str) -> list[str]:
    """Operands; a comma in brackets is part of one."""
    return [word.strip() for word in re.split(r",(?![^(]*\))", text)]


def _named(address: int, symbols: Symbolizer, base: int) -> str:
    symbol = symbols.symbol(address)
    if symbol is None:
        return ""
    if base == 16 or symbol.offset:
        offset = f"+{symbol.offset:#x}" if base == 16 else f"+{symbol.offset}"
    else:
        offset = ""
    return f"<{symbol.function}{offset}>"


def _source(session: Session, address: int) -> None:
    dump = session.case.dump
    for line in dump.lines_at(address, is_return_address=False) if dump else ():
        session.out.write(clean(f"{line.file}: {line.line}") + "\n")
