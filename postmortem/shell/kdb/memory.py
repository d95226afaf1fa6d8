"""``md`` and its kin: memory in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.shell.kdb.state import MAX_LINES, WORD, State, number

_OPTIONS = {16: "x", 10: "d", 8: "o"}


def md(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    width = int(kdb.env.get("BYTESPERWORD", str(WORD)))
    count = int(kdb.env.get("MDCOUNT", "8"))
    repeat = None
    if match := re.fullmatch(r"md([1248])(?:c(\d+))?", name):
        width = int(match[1])
        repeat = int(match[2]) if match[2] else None
    symbolic, physical = name == "mds", name == "mdp"
    if words:
        address = kdb.address(words[0])
    elif kdb.next is not None:
        address, width = kdb.next, kdb.width
    else:
        raise UsageError(f"{name}: an address is wanted")
    if len(words) > 1:
        count = number(words[1])
    radix = number(words[2]) if len(words) > 2 else int(kdb.env.get("RADIX", "16"))
    if radix not in _OPTIONS:
        raise UsageError("Illegal value for RADIX use 8, 10 or 16")
    if symbolic:
        width, repeat = WORD, count
    elif repeat is None:
        repeat = count * 16 // width
    address &= ~(width - 1)
    kdb.width = width
    yield from _lines(kdb, address, min(repeat, MAX_LINES), width, radix,
                           symbolic=symbolic, physical=physical)  # fmt: skip


def _lines(
    kdb: State, address: int, repeat: int, width: int, radix: int, *, symbolic: bool, physical: bool
) -> Iterator[str]:
    per_line = 1 if symbolic else 16 // width
    while repeat > 0:
        zeros = _zeros(kdb, address, repeat, width, physical=physical)
        shown = min(per_line, repeat)
        yield _line(kdb, address, shown, per_line, width, radix,
                         symbolic=symbolic, physical=physical)  # fmt: skip
        address += width * shown
        repeat -= shown
        whole = (zeros + per_line - 1) // per_line
        if whole > 2:
            skipped = per_line * (whole - 2)
            end = address + width * skipped - 1
            yield f"0x{address:016x}-0x{end:016x} zero suppressed"
            address += width * skipped
            repeat -= skipped
    kdb.next = address


def _zeros(kdb: State, address: int, limit: int, width: int, *, physical: bool) -> int:
    """How many words from here on are zero."""
    for count in range(limit):
        word = _word(kdb, address + count * width, width, physical=physical)
        if word is None or word:
            return count
    return limit


def _line(
    kdb: State, address: int, count: int, per_line: int, width: int, radix: int,
    *, symbolic: bool, physical: bool,
) -> str:  # fmt: skip
    text = f"phys 0x{address:016x} " if physical else f"0x{address:016x} "
    chars, done = "", 0
    for _ in range(count):
        word = _word(kdb, address, width, physical=physical)
        if word is None:
            break
        text += f"{word:0{2 * width}{_OPTIONS[radix]}} "
        named = _symbol(kdb, word) if symbolic else None
        if named is not None:
            text += named
        else:
            chars += "".join(
                chr(byte) if 32 <= byte < 127 else "." for byte in word.to_bytes(width, "little")
            )
        address += width
        done += 1
    return text + " " * ((per_line - done) * (2 * width + 1) + 1) + f" {chars}"


def _word(kdb: State, address: int, width: int, *, physical: bool) -> int | None:
    try:
        return int.from_bytes(kdb.session.prog.read(address, width, physical), "little")
    except damage():
        return None


def _symbol(kdb: State, address: int) -> str | None:
    """``kdb_symbol_print()``: a name with the offset into it."""
    found = Symbolizer.of(kdb.session.prog).symbol(address)
    if found is None:
        return None
    module = f"[{found.module}]" if found.module else ""
    offset = f"+{found.offset:#x}" if found.offset else ""
    return f"{module}{found.function}{offset}"


def mdr(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if len(words) != 2:
        raise UsageError("mdr: an address and a number of bytes are wanted")
    address, count = kdb.address(words[0]), min(number(words[1]), 1 << 20)
    kdb.next = address + count
    yield kdb.session.prog.read(address, count).hex()


def per_cpu(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if not 1 <= len(words) <= 3:
        raise UsageError("per_cpu: a variable, and perhaps bytes and a CPU are wanted")
    start = kdb.address(words[0])
    width = number(words[1]) if len(words) > 1 else WORD
    width = width or WORD
    if width not in (1, 2, 4, 8):
        raise UsageError("Illegal width value")
    wanted = number(words[2]) if len(words) > 2 else None
    offsets = kdb.session.prog["__per_cpu_offset"]
    online = kdb.online()
    if wanted is not None and wanted not in online:
        yield f"cpu {wanted} is not online"
        return
    for cpu in online:
        if wanted is None or cpu == wanted:
            address = (start + int(offsets[cpu])) & ((1 << 64) - 1)
            yield f"{cpu:5} " + _line(
                kdb, address, 1, 1, width, 16, symbolic=width == WORD, physical=False
            )
