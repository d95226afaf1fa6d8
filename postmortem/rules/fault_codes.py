"""The CPU's own word for a fault, decoded: what the syndrome registers in a report say."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ESR = re.compile(r"\bESR = 0x(?P<esr>[0-9a-f]{1,16})")
_EXC = re.compile(r"Cause *: [0-9a-f]{8,16} \(ExcCode (?P<code>[0-9a-f]{2})\)")
_TRAP = re.compile(r"REGS: [0-9a-f]{8,16} TRAP: (?P<trap>[0-9a-f]{3,4})\b")

_DATA_ABORTS, _FETCH_ABORTS = (0x24, 0x25), (0x20, 0x21)
_STATUS = (
    "address size fault", "translation fault", "access flag fault", "permission fault",
)  # fmt: skip
_EXCEPTIONS = {
    0x1: "store to a page that is mapped read-only (Mod)",
    0x2: "load or fetch from an unmapped page (TLBL)",
    0x3: "store to an unmapped page (TLBS)",
    0x4: "load or fetch from an unaligned or forbidden address (AdEL)",
    0x5: "store to an unaligned or forbidden address (AdES)",
    0x6: "bus error on a fetch (IBE)",
    0x7: "bus error on a load or store (DBE)",
    0x9: "a break instruction (Bp)",
    0xA: "an instruction that the CPU does not have (RI)",
    0xD: "a trap instruction (Tr)",
}
"""MIPS: ExcCode in CP0 Cause."""
_TRAPS = {
    0x100: "system reset",
    0x200: "machine check",
    0x300: "data access fault",
    0x380: "data segment fault",
    0x400: "instruction access fault",
    0x480: "instruction segment fault",
    0x600: "unaligned access",
    0x700: "program check (a trap or an illegal instruction)",
    0x900: "decrementer interrupt",
}
"""PowerPC: vector of the exception."""


def decoded(texts: Iterable[str]) -> tuple[int, str] | None:
    """The first syndrome in lines of a report: the line's index and what it means."""
    for index, text in enumerate(texts):
        match = _ESR.search(text) if "ESR" in text else None
        if match is not None:
            said = _arm64(int(match["esr"], 16))
            return (index, said) if said else None
        match = _EXC.search(text) if "ExcCode" in text else None
        if match is not None:
            said = _EXCEPTIONS.get(int(match["code"], 16), "")
            return (index, f"ExcCode {match['code']}: {said}") if said else None
        match = _TRAP.search(text) if "TRAP:" in text else None
        if match is not None:
            said = _TRAPS.get(int(match["trap"], 16), "")
            return (index, f"trap {match['trap']}: {said}") if said else None
    return None


def _arm64(esr: int) -> str:
    """ESR_EL1 of an abort: class in bits 26-31, WnR bit 6, status code in bits 0-5."""
    kind, status = esr >> 26 & 0x3F, esr & 0x3F
    if kind in _DATA_ABORTS:
        what = "write" if esr >> 6 & 1 else "read"
    elif kind in _FETCH_ABORTS:
        what = "instruction fetch"
    else:
        return ""
    if status < 0x10:
        why = f"level {status & 3} {_STATUS[status >> 2]}"
    elif status == 0x10:
        why = "external abort: the bus or device answered with an error"
    elif status == 0x21:
        why = "alignment fault"
    else:
        return f"ESR {esr:#x}: {what}, status {status:#x}"
    return f"ESR {esr:#x}: {what}, {why}"
