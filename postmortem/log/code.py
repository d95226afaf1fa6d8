"""The ``Code:`` line: bytes around the program counter, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, cast

from postmortem.arch.operands import readable
from postmortem.model.frame import Frame
from postmortem.model.report import Code

_LINE = re.compile(r"(?:Code|code): ?(?P<words>.*)|Instruction dump:(?P<dump>.*)")
_WORD = re.compile(r"[<(]?(?P<hex>[0-9a-f]{2}|[0-9a-f]{4}|[0-9a-f]{8})[>)]?$")
_WORDS = re.compile(r"(?:[<(]?(?:[0-9a-f]{2}|[0-9a-f]{4}|[0-9a-f]{8})[>)]?(?: +|$))*")
_BYTES = re.compile(r"((?:[0-9a-f]{2} )*)[<(]([0-9a-f]{2})[>)]((?: [0-9a-f]{2})*)")

MAX_WORDS = 256


class CodeReader:
    """Collects the words of a ``Code:`` line and its continuation lines."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._open = False
        self._done = False

    def feed(self, text: str) -> bool:
        """Take a line if it is part of the dump; only the first dump is kept."""
        match = _LINE.match(text)
        if match is not None:
            words = match["words"] if match["words"] is not None else match["dump"]
            if words.startswith(("Unable to access", "Bad ")):
                return True
            if not self._done and not any("<" in w or "(" in w for w in self.words):
                self.words = []
                self._open = True
                self._take(words or "")
            return True
        if self._open and text and all(map(_WORD.match, text.split())):
            return self._take(text)
        self._open = False
        return False

    def end(self) -> None:
        """A line that is none of it came."""
        self._open = False

    def _take(self, text: str) -> bool:
        words = text.split()
        if len(words) <= MAX_WORDS - len(self.words) and _WORDS.fullmatch(text):
            self.words += words
            return True
        for word in words[: MAX_WORDS - len(self.words)]:
            if not _WORD.match(word):
                self._open = False
                break
            self.words.append(word)
        return True

    def result(self, arch: str | None) -> Code | None:
        """The bytes in memory order; ``None`` without a marked word.

        :param arch: where it is known; else the width of the words tells.
        """
        if arch is None:
            # x86 prints bytes; of those who print words arm64 is the one met most.
            wide = any(len(word.strip("<>()")) == 8 for word in self.words)
            arch = "aarch64" if wide else "x86_64"
        marked = _BYTES.fullmatch(" ".join(self.words))
        if marked is not None:
            raw = bytes.fromhex(f"{marked[1]}{marked[2]}{marked[3]}")
            return Code(raw, len(marked[1]) // 3, arch)
        data = bytearray()
        trap = None
        for word in self.words:
            if len(word) == 2:
                data.append(int(word, 16))
                continue
            digits = word.strip("<>()")
            if word != digits:
                trap = len(data)
            raw = bytes.fromhex(digits)
            # Words are printed as numbers; memory is little endian except on these.
            data += raw if arch in ("s390", "mips") or len(raw) == 1 else raw[::-1]
        return None if trap is None else Code(bytes(data), trap, arch)


@dataclass(frozen=True)
class Instruction:
    """One disassembled instruction."""

    offset: int
    """From the start of the dump, bytes."""
    data: bytes
    text: str
    trapping: bool = False


_BRANCH = {
    "x86_64": re.compile(r"(?P<head>(?:j\w+|call\w?|loop\w*|xbegin) +)(?P<to>0x[0-9a-f]+|\d+)$"),
    "aarch64": re.compile(
        r"(?P<head>(?:b|bl|b\.\w+|bc\.\w+|cbn?z|tbn?z) +(?:\w+, )*)#(?P<to>0x[0-9a-f]+|\d+)$"
    ),
}
_BRANCH["i386"] = _BRANCH["x86_64"]
_BITS = {"i386": 32}
_X86 = ("x86_64", "i386")


def disassemble(code: Code, place: Frame | None = None) -> list[Instruction]:
    """All instructions of the dump, the trapping one marked; calls and jumps say whereto.

    :param place: Where it trapped: a target in the same function is named by it.
    """
    return [replace(item, text=_with_target(item, code, place)) for item in _instructions(code)]


def _with_target(item: Instruction, code: Code, place: Frame | None) -> str:
    """Whereto a branch goes: the dump has no addresses, so capstone's target is none either."""
    pattern = _BRANCH.get(code.arch)
    match = pattern.match(item.text) if pattern is not None else None
    if match is None:
        return item.text
    bits = _BITS.get(code.arch, 64)
    target = int(match["to"], 0)
    if target >= 1 << (bits - 1):
        target -= 1 << bits
    if place is not None and place.function and place.offset is not None and place.size:
        inside = place.offset + target - code.trap
        if 0 <= inside < place.size:
            return f"{match['head']}{place.function}+{inside:#x}"
    return f"{match['head']}.{target - item.offset:+#x}"


def _instructions(code: Code) -> list[Instruction]:
    """All instructions, as the disassembler has them.

    Where instructions have many lengths the dump begins in the middle of one:
    the start is chosen so that an instruction boundary falls on the trap.
    """
    import capstone  # only here: most callers never disassemble

    engine = _engine(capstone, code)
    if engine is None:
        return []
    starts = range(min(15, code.trap + 1)) if code.arch in ("x86_64", "i386") else (code.trap % 2,)
    before: list[Instruction] = []
    for start in starts:
        before = _run(engine, code.data[start : code.trap], start, code.arch)
        end = before[-1].offset + len(before[-1].data) if before else start
        if end == code.trap and not any(i.text == "(bad)" for i in before):
            break
    after = _run(engine, code.data[code.trap :], code.trap, code.arch)
    if after:
        after[0] = Instruction(after[0].offset, after[0].data, after[0].text, True)
    return [*before, *after]


def _engine(capstone: object, code: Code) -> object | None:
    c = capstone
    table = {
        "x86_64": ("CS_ARCH_X86", ("CS_MODE_64",)),
        "i386": ("CS_ARCH_X86", ("CS_MODE_32",)),
        "aarch64": ("CS_ARCH_ARM64", ("CS_MODE_ARM",)),
        "arm": ("CS_ARCH_ARM", ("CS_MODE_ARM",)),
        "riscv": ("CS_ARCH_RISCV", ("CS_MODE_RISCV64", "CS_MODE_RISCVC")),
        "ppc64": ("CS_ARCH_PPC", ("CS_MODE_64", "CS_MODE_LITTLE_ENDIAN")),
        "s390": ("CS_ARCH_SYSZ", ("CS_MODE_BIG_ENDIAN",)),
        "mips": ("CS_ARCH_MIPS", ("CS_MODE_MIPS64", "CS_MODE_BIG_ENDIAN")),
    }
    if code.arch not in table:
        return None
    name, modes = table[code.arch]
    mode = 0
    for part in modes:
        mode |= getattr(c, part)
    engine: Any = c.Cs(getattr(c, name), mode)  # type: ignore[attr-defined]
    if name == "CS_ARCH_X86":
        engine.syntax = c.CS_OPT_SYNTAX_ATT  # type: ignore[attr-defined]  # as decodecode does
    return cast("object", engine)


def _run(engine: object, data: bytes, base: int, arch: str) -> list[Instruction]:
    found: list[Instruction] = []
    at = 0
    step = 1 if arch in ("x86_64", "i386") else 2 if arch in ("arm", "riscv", "s390") else 4
    while at < len(data) and len(found) < MAX_WORDS:
        done = at
        for _, size, mnemonic, operands in engine.disasm_lite(data[at:], base + at):  # type: ignore[attr-defined]
            found.append(
                Instruction(
                    base + done,
                    data[done : done + size],
                    f"{mnemonic:<6} {_readable(operands, arch)}".rstrip(),
                )
            )
            done += size
        if done == at:  # capstone gives up at the first byte that it doesn't know
            found.append(Instruction(base + at, data[at : at + step], "(bad)"))
            done += step
        at = done
    return found


def _readable(operands: str, arch: str) -> str:
    return readable(operands) if arch in _X86 else operands
