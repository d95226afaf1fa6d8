"""Register lines, as each architecture prints them."""

from __future__ import annotations

import re

_HEX = r"[0-9a-f]{8,16}"
# x86: RAX: 0..0 RBX: 0..0   arm: r10: 0..0  r9 : 0..0   arm64: x29: 0..0   riscv:  gp : 0..0
_NAMED = re.compile(
    rf"\b(?P<name>R[ABCD]X|R[SD]I|R[BS]P|R\d\d|E[ABCD]X|E[SD]I|E[BS]P|EFLAGS|CR\d|DR\d|[FG]S|ORIG_[RE]AX|PKRU"
    rf"|x\d{{1,2}}|r\d{{1,2}}|[ast]\d{{1,2}}|sp|fp|ip|gp|tp|pc|lr|ra|epc|psr|pstate|status|badaddr|cause|ssp"
    rf"|NIP|LR|CTR|CFAR|DAR|DSISR|MSR|XER|CR|TRAP|Hi|Lo|Status|Cause|BadVA|BADV|ERA|ESTAT)"
    rf" {{0,4}}: {{0,4}}(?:[0-9a-f]{{4}}:)?(?P<value>{_HEX})\b"
)
_MANY = re.compile(
    rf"(?P<name>GPR|Krnl GPRS|\$) ?(?P<first>\d{{0,2}}) *: *(?P<values>(?:{_HEX} *){{1,4}})"
)
_LOONGARCH = re.compile(rf"\b(?P<name>pc|ra|tp|sp|fp|u0|a\d|t\d|s\d) (?P<value>{_HEX})\b")
_NAMES = {"GPR": "r", "Krnl GPRS": "r", "$": "$"}


def read_registers(text: str, into: dict[str, int]) -> None:
    """Add the registers of one line; the first value of a name stays."""
    if ":" in text:
        for name, value in _NAMED.findall(text):
            into.setdefault(name.lower(), int(value, 16))
        text = text.strip()
        many = _MANY.match(text) if text.startswith(("GPR", "Krnl", "$")) else None
        if many is not None:
            first = int(many["first"] or 0)
            for index, value in enumerate(many["values"].split()):
                into.setdefault(f"{_NAMES[many['name']]}{first + index}", int(value, 16))
    elif text[:3] in ("pc ", "a0 ", "a4 ", "t0 ", "t4 ", "t8 ", "s1 ", "s5 "):
        for match in _LOONGARCH.finditer(text):
            into.setdefault(match["name"], int(match["value"], 16))
