"""The CPU's own word for a fault, decoded: what the syndrome registers in a report say.

Each architecture has a register in which the CPU says why it trapped, and each prints it
in its own way: ESR (arm64), FSR (arm), Cause (mips, riscv), ESTAT (loongarch), DSISR and the
vector (powerpc), interruption code and PSW (s390), error code (x86).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_STATUS = (
    "address size fault", "translation fault", "access flag fault", "permission fault",
)  # fmt: skip


def decoded(texts: Iterable[str]) -> tuple[int, str] | None:
    """The first syndrome in lines of a report: the line's index and what it means.

    Where the kernel spells the error code out itself (``#PF:``), there is nothing to add.
    """
    for index, text in enumerate(texts):
        if text.startswith("#PF:"):
            return None
        for literal, pattern, means in _REGISTERS:
            match = pattern.search(text) if literal in text else None
            said = means(match) if match is not None else ""
            if said:
                return index, said
    return None


# --- arm64: arch/arm64/include/asm/esr.h -----------------------------------------------

_DATA_ABORTS, _FETCH_ABORTS, _BREAK, _SERROR = (0x24, 0x25), (0x20, 0x21), 0x3C, 0x2F
_CLASSES = {
    0x00: "an instruction that the CPU does not know, or may not run there",
    0x07: "a floating-point or SIMD instruction that is switched off",
    0x0D: "a jump to where no landing pad is (BTI)",
    0x0E: "an illegal execution state",
    0x18: "a system register that may not be used there",
    0x19: "an SVE instruction that is switched off",
    0x1C: "a pointer whose authentication failed (FPAC)",
    0x22: "a program counter that is not aligned",
    0x26: "a stack pointer that is not aligned",
    0x27: "a memory copy instruction that was interrupted (MOPS)",
    0x2C: "a floating-point exception",
    0x2D: "a return address that differs from the guarded control stack (GCS)",
    0x30: "a hardware breakpoint",
    0x31: "a hardware breakpoint",
    0x32: "a single step",
    0x33: "a single step",
    0x34: "a watchpoint",
    0x35: "a watchpoint",
}
"""ESR bits 26 to 31 (EC) of traps that are no access to memory."""
_FAULTS = {
    0x10: "external abort: the bus or device answered with an error",
    0x11: "tag check fault (MTE)",
    0x18: "parity or ECC error of memory or cache",
    0x21: "alignment fault",
    0x30: "TLB conflict",
    0x31: "unsupported atomic access",
    0x34: "locked-down cache",
    0x35: "exclusive or atomic access to memory that does not support it",
}
"""Status codes without a level of the page tables."""
_BREAKS = (
    (0x800, 0x800, "BUG() or WARN()"),
    (0x900, 0x9FF, "KASAN (software tags)"),
    (0x5500, 0x55FF, "UBSAN"),
    (0x8000, 0x83FF, "CFI: an indirect call to a function of another type"),
    (0x004, 0x006, "a kprobe"),
    (0x400, 0x401, "kgdb"),
    (0xF000, 0xF000, "a division by 0 that the compiler saw"),
)
"""Immediate of BRK: first, last (arch/arm64/include/asm/brk-imm.h)."""


def _arm64(match: re.Match[str]) -> str:
    """ESR_EL1: class in bits 26-31, of an abort WnR in bit 6, status code in bits 0-5."""
    esr = int(match["esr"], 16)
    kind, status = esr >> 26 & 0x3F, esr & 0x3F
    if kind == _BREAK:
        number = esr & 0xFFFF
        known = next((what for low, high, what in _BREAKS if low <= number <= high), "")
        return f"ESR {esr:#x}: break instruction {number:#x}, {known}" if known else ""
    if kind == _SERROR:
        return f"ESR {esr:#x}: SError, the late answer to an access that failed"
    if kind in _DATA_ABORTS:
        what = "write" if esr >> 6 & 1 else "read"
    elif kind in _FETCH_ABORTS:
        what = "instruction fetch"
    else:
        return f"ESR {esr:#x}: {_CLASSES[kind]}" if kind in _CLASSES else ""
    return f"ESR {esr:#x}: {what}, {_why(status) or f'status {status:#x}'}"


def _why(status: int) -> str:
    if status < 0x10:
        return f"level {status & 3} {_STATUS[status >> 2]}"
    if 0x14 <= status <= 0x17:
        return f"external abort on a page table of level {status & 3}"
    if 0x1C <= status <= 0x1F:
        return f"parity or ECC error in a page table of level {status & 3}"
    return _FAULTS.get(status, "")


# --- arm: arch/arm/mm/fsr-2level.c, fsr-3level.c --------------------------------------

_FSR = {
    0x01: "alignment fault",
    0x03: "access flag fault on a section",
    0x04: "fault of a cache maintenance operation",
    0x05: "translation fault: no section is mapped there",
    0x06: "access flag fault on a page",
    0x07: "translation fault: no page is mapped there",
    0x08: "external abort: the bus or device answered with an error",
    0x09: "domain fault on a section",
    0x0B: "domain fault on a page",
    0x0C: "external abort on a first-level page table",
    0x0D: "permission fault on a section",
    0x0E: "external abort on a second-level page table",
    0x0F: "permission fault on a page",
    0x16: "external abort: late answer of a bus or device with an error",
    0x18: "parity error of memory",
}
_LPAE = 1 << 9
_FSR_WRITE = 1 << 11


def _arm(match: re.Match[str]) -> str:
    """FSR: status in bits 0-3 and 10 (0-5 with LPAE, bit 9), write in bit 11."""
    fsr = int(match["fsr"], 16)
    what = "write" if fsr & _FSR_WRITE else "read or fetch"
    why = _why(fsr & 0x3F) if fsr & _LPAE else _FSR.get(fsr & 0xF | fsr >> 6 & 0x10, "")
    return f"FSR {fsr:#x}: {what}, {why}" if why else ""


# --- mips, riscv, loongarch -------------------------------------------------------------

_EXCEPTIONS = {
    0x1: "store to a page that is mapped read-only (Mod)",
    0x2: "load or fetch from an unmapped page (TLBL)",
    0x3: "store to an unmapped page (TLBS)",
    0x4: "load or fetch from an unaligned or forbidden address (AdEL)",
    0x5: "store to an unaligned or forbidden address (AdES)",
    0x6: "bus error on a fetch (IBE)",
    0x7: "bus error on a load or store (DBE)",
    0x8: "a system call (Sys)",
    0x9: "a break instruction (Bp)",
    0xA: "an instruction that the CPU does not have (RI)",
    0xB: "a coprocessor that is switched off (CpU)",
    0xC: "an arithmetic overflow (Ov)",
    0xD: "a trap instruction (Tr)",
    0xE: "an exception of the vector unit (MSAFPE)",
    0xF: "a floating-point exception (FPE)",
    0x13: "a load from a page that may not be read (TLBRI)",
    0x14: "a fetch from a page that may not be executed (TLBXI)",
    0x15: "a vector unit that is switched off (MSADis)",
    0x17: "a watchpoint (WATCH)",
    0x18: "a machine check (MCheck)",
    0x1A: "the DSP unit, which is switched off (DSPDis)",
    0x1E: "a cache error (CacheErr)",
}
"""MIPS: ExcCode in CP0 Cause."""
_CAUSES = {
    0: "a fetch from an unaligned address",
    1: "access fault on a fetch: nothing answers there, or it is protected (PMP)",
    2: "an instruction that the CPU does not have",
    3: "a break instruction",
    4: "a load from an unaligned address",
    5: "access fault on a load: nothing answers there, or it is protected (PMP)",
    6: "a store to an unaligned address",
    7: "access fault on a store: nothing answers there, or it is protected (PMP)",
    8: "a system call",
    9: "a call to the firmware",
    12: "page fault on a fetch",
    13: "page fault on a load",
    15: "page fault on a store",
    18: "software check: control flow went where it may not (CFI)",
    19: "hardware error: corrupted data was used",
}
"""RISC-V: scause without its top bit, which is set for interrupts."""
_ECODES = {
    1: "load from a page that is not mapped (PIL)",
    2: "store to a page that is not mapped (PIS)",
    3: "fetch from a page that is not mapped (PIF)",
    4: "store to a page that is mapped read-only (PME)",
    5: "load from a page that may not be read (PNR)",
    6: "fetch from a page that may not be executed (PNX)",
    7: "a page of a higher privilege (PPI)",
    9: "an unaligned address (ALE)",
    10: "a bound that was crossed (BCE)",
    11: "a system call (SYS)",
    12: "a break instruction (BRK)",
    13: "an instruction that the CPU does not have (INE)",
    14: "an instruction that may not be used there (IPE)",
    15: "the floating-point unit, which is switched off (FPD)",
    16: "the 128-bit vector unit, which is switched off (SXD)",
    17: "the 256-bit vector unit, which is switched off (ASXD)",
    18: "a floating-point exception (FPE)",
    19: "a watchpoint (WPE)",
}
_BAD_ADDRESS = 8
"""LoongArch: ADEF (fetch) or ADEM (load or store), told by the subcode."""


def _mips(match: re.Match[str]) -> str:
    said = _EXCEPTIONS.get(int(match["code"], 16), "")
    return f"ExcCode {match['code']}: {said}" if said else ""


def _riscv(match: re.Match[str]) -> str:
    cause = int(match["cause"], 16)
    said = _CAUSES.get(cause, "")
    return f"cause {cause:#x}: {said}" if said else ""


def _loongarch(match: re.Match[str]) -> str:
    """ESTAT: Ecode in bits 16-21, EsubCode in bits 22-30."""
    estat = int(match["estat"], 16)
    code, sub = estat >> 16 & 0x3F, estat >> 22 & 0x1FF
    if code == _BAD_ADDRESS:
        return f"ESTAT {estat:#x}: {'load or store' if sub else 'fetch'} at a forbidden address"
    said = _ECODES.get(code, "")
    return f"ESTAT {estat:#x}: {said}" if said else ""


# --- powerpc ---------------------------------------------------------------------------

_TRAPS = {
    0x100: "system reset",
    0x200: "machine check",
    0x300: "data access fault",
    0x380: "data segment fault",
    0x400: "instruction access fault",
    0x480: "instruction segment fault",
    0x500: "external interrupt",
    0x600: "unaligned access",
    0x700: "program check (a trap or an illegal instruction)",
    0x800: "floating-point unit, which is switched off",
    0x900: "decrementer interrupt",
    0xC00: "system call",
    0xE40: "an instruction that the hypervisor must emulate",
    0xF60: "a facility that is switched off",
}
"""PowerPC: vector of the exception."""
_DSISR = (
    (0x40000000, "no page is mapped there"),
    (0x08000000, "the page's protection forbids it"),
    (0x00200000, "a protection key forbids it"),
)


def _ppc(match: re.Match[str]) -> str:
    said = _TRAPS.get(int(match["trap"], 16), "")
    return f"trap {match['trap']}: {said}" if said else ""


def _dsisr(match: re.Match[str]) -> str:
    """DSISR of a data access: store in bit 25, why in single bits."""
    value = int(match["dsisr"], 16)
    why = next((what for bit, what in _DSISR if value & bit), "")
    access = "store" if value & 0x02000000 else "load"
    return f"DSISR {value:#x}: {access}, {why}" if why else ""


# --- s390 ------------------------------------------------------------------------------

_PROGRAM = {
    0x01: "an instruction that the CPU does not have (operation)",
    0x02: "an instruction that may not be used there (privileged operation)",
    0x03: "an execute instruction that executes another (execute)",
    0x04: "the page's protection forbids it (protection)",
    0x05: "there is no such memory (addressing)",
    0x06: "a wrong or unaligned operand (specification)",
    0x07: "wrong data, or a compare-and-trap (data)",
    0x08: "an overflow of fixed-point arithmetic",
    0x09: "a fixed-point division by 0, or one that overflows",
    0x10: "no segment is mapped there (segment translation)",
    0x11: "no page is mapped there (page translation)",
    0x12: "a broken page table (translation specification)",
    0x13: "a special operation that may not be used there",
    0x1C: "a space switch",
    0x38: "no address space is there (ASCE type)",
    0x39: "no region is mapped there (first region table)",
    0x3A: "no region is mapped there (second region table)",
    0x3B: "no region is mapped there (third region table)",
    0x3D: "memory of a secure guest",
    0x40: "a monitor event: a BUG() or WARN()",
}
"""Interruption code of a program check (arch/s390/kernel/pgm_check.S)."""
_WAIT, _PROBLEM, _IO, _EXTERNAL = 1 << 49, 1 << 48, 1 << 57, 1 << 56
"""Bits of the first half of a PSW, counted from the right: wait, user mode, interrupts."""


def _s390(match: re.Match[str]) -> str:
    said = _PROGRAM.get(int(match["code"], 16) & 0x7F, "")
    return f"interruption code {match['code']}: {said}" if said else ""


def psw(text: str) -> str:
    """What a ``Krnl PSW`` line says: the mode of the CPU, and where it was; else empty."""
    match = _PSW.search(text)
    if match is None:
        return ""
    mask, address = int(match["mask"], 16), int(match["address"], 16)
    on = [name for bit, name in ((_IO, "I/O"), (_EXTERNAL, "external")) if mask & bit]
    mode = "user mode" if mask & _PROBLEM else "kernel mode"
    interrupts = f"{' and '.join(on)} interrupts on" if on else "interrupts off"
    waits = ", waiting" if mask & _WAIT else ""
    where = f" ({match['symbol']})" if match["symbol"] else ""
    return f"PSW at {address:#x}{where}: {mode}, {interrupts}{waits}"


# --- x86: error code of a page fault, of kernels that do not spell it out ----------------


def _x86(match: re.Match[str]) -> str:
    code = int(match["code"], 16)
    what = "instruction fetch" if code & 16 else "write" if code & 2 else "read"
    why = "the page's protection forbids it" if code & 1 else "no page is mapped there"
    if code & 8:
        why = "a reserved bit is set in the page table"
    mode = "user" if code & 4 else "kernel"
    return f"error code {code:#x}: {what} in {mode} mode, {why}"


_HEX = r"[0-9a-f]{1,16}"
_PSW = re.compile(
    r"Krnl PSW : (?P<mask>[0-9a-f]{16}) (?P<address>[0-9a-f]{16})"
    r"(?: \((?P<symbol>[^)\s]{1,250})(?: \[[\w-]+\])?\))?"
)
_REGISTERS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    ("ESR", re.compile(rf"\bESR = 0x(?P<esr>{_HEX})"), _arm64),
    (
        "Internal error: ",  # the ESR of a synchronous abort stands in the header alone
        re.compile(r"Internal error: (?!Oops)[^:\[]{1,80}: (?P<esr>(?:0{8})?[0-9a-f]{8}) \[#"),
        _arm64,
    ),
    ("ExcCode", re.compile(r"Cause *: [0-9a-f]{8,16} \(ExcCode (?P<code>[0-9a-f]{2})\)"), _mips),
    ("badaddr:", re.compile(rf"badaddr: {_HEX} cause: (?P<cause>{_HEX})"), _riscv),
    ("ESTAT", re.compile(rf"\bESTAT *: (?P<estat>{_HEX})"), _loongarch),
    ("TRAP:", re.compile(r"REGS: [0-9a-f]{8,16} TRAP: (?P<trap>[0-9a-f]{3,4})\b"), _ppc),
    ("DSISR:", re.compile(rf"\bDSISR: (?P<dsisr>{_HEX})"), _dsisr),
    (" ilc:", re.compile(r"(?:Oops|\b[a-z]+): (?P<code>[0-9a-f]{4}) ilc:\d"), _s390),
    (
        "Internal error: Oops: ",
        re.compile(r"Internal error: Oops: (?P<fsr>[0-9a-f]{1,4}) \[#"),
        _arm,
    ),
    ("Oops: ", re.compile(r"^\W*Oops: (?P<code>[0-9a-f]{4}) \[#"), _x86),
)
"""A phrase of the line, what is read of it, and what that means."""
