"""Machine check banks: what the status register says.

Layout of IA32_MCi_STATUS: Intel SDM volume 3, "Machine-Check Architecture".
"""

from __future__ import annotations

_FLAGS = (
    (63, "valid"),
    (62, "overflow"),
    (61, "uncorrected"),
    (60, "enabled"),
    (59, "misc valid"),
    (58, "address valid"),
    (57, "context corrupt"),
)
_LEVELS = ("L0", "L1", "L2", "generic")
_TRANSACTIONS = ("instruction", "data", "generic", "")
_REQUESTS = (
    "error",
    "read",
    "write",
    "data read",
    "data write",
    "instruction fetch",
    "prefetch",
    "eviction",
    "snoop",
)
_MEMORY = ("memory", "memory read", "memory write", "memory address/command", "memory scrub")


def decode(status: str) -> dict[str, str]:
    """The fields of a status register printed in hex; empty if it is no number."""
    try:
        value = int(status, 16)
    except ValueError:
        return {}
    code = value & 0xFFFF
    flags = [name for bit, name in _FLAGS if value >> bit & 1]
    uncorrected, corrupt = value >> 61 & 1, value >> 57 & 1
    return {
        "mcacod": f"{code:04x}",
        "mscod": f"{value >> 16 & 0xFFFF:04x}",
        "flags": ", ".join(flags),
        "severity": "fatal" if corrupt else "uncorrected" if uncorrected else "corrected",
        "meaning": _meaning(code),
    }


def _meaning(code: int) -> str:
    """Simple and compound error codes (bit 12 only says that corrected errors are filtered)."""
    code &= 0xEFFF
    simple = {
        0: "no error",
        1: "unclassified",
        2: "microcode ROM parity",
        3: "external error",
        4: "functional redundancy check",
        5: "internal parity",
        0x400: "internal timer",
    }
    if code in simple:
        return simple[code]
    if code >> 7 & 0x1F == 1 and code < 0x100:
        kind = code >> 4 & 7
        return f"{_MEMORY[kind] if kind < len(_MEMORY) else 'memory'}, channel {code & 15}"
    if code >> 11 & 1:
        return f"bus or interconnect, {_LEVELS[code & 3]}"
    if code >> 8 & 1:
        request = code >> 4 & 15
        what = _REQUESTS[request] if request < len(_REQUESTS) else "request"
        cache = " ".join(filter(None, (_LEVELS[code & 3], _TRANSACTIONS[code >> 2 & 3], "cache")))
        return f"{cache}, {what}"
    if code >> 4 & 0xFFF == 1:
        return f"{_LEVELS[code & 3]} TLB {_TRANSACTIONS[code >> 2 & 3]}".strip()
    return "internal unclassified" if code >> 10 & 1 else f"code {code:#06x}"
