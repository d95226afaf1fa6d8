"""The kernel's ``%p`` extensions over bytes of an event. Source: lib/vsprintf.c."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable

_SEPARATORS = {"C": ":", "D": "-", "N": ""}
_MAX_HEX = 64
_AF_INET, _AF_INET6 = 2, 10


def hex_string(data: bytes, letters: str = "") -> str:
    """``%*ph``: at most 64 bytes."""
    return data[:_MAX_HEX].hex(_SEPARATORS.get(letters[:1], " ")) if letters[:1] != "N" else (
        data[:_MAX_HEX].hex())  # fmt: skip


def hex_lines(data: bytes) -> str:
    """``__print_hex()``: pieces of 16 bytes, all of it."""
    return data.hex(" ")


def array(data: bytes, size: int) -> str:
    """``__print_array()``"""
    if size not in (1, 2, 4, 8):
        raise ValueError(f"elements of {size} bytes")
    parts = (data[at : at + size] for at in range(0, len(data) - size + 1, size))
    return "{" + ",".join(f"0x{int.from_bytes(part, 'little'):x}" for part in parts) + "}"


def bitmask(data: bytes) -> str:
    """``%*pb``: words of 32 bits, the highest first."""
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    bits = len(data) * 8
    top = bits % 32 or 32
    digits = [f"{word:08x}" for word in reversed(words)]
    if digits:
        digits[0] = f"{words[-1]:0{(top + 3) // 4}x}"
    return ",".join(digits)


def bit_list(data: bytes) -> str:
    """``%*pbl``: ``0-3,8``"""
    value = int.from_bytes(data, "little")
    parts = []
    bit, end = 0, len(data) * 8
    while bit < end:
        if not value >> bit & 1:
            bit += 1
            continue
        last = bit
        while last + 1 < end and value >> (last + 1) & 1:
            last += 1
        parts.append(str(bit) if last == bit else f"{bit}-{last}")
        bit = last + 1
    return ",".join(parts)


def mac(data: bytes, letters: str) -> str:
    """``%pM``, ``%pm``, ``%pMR``"""
    six = data[:6]
    if letters.startswith("MR"):
        six = six[::-1]
    if letters.startswith("m"):
        return six.hex()
    return six.hex("-" if letters.startswith("MF") else ":")


def uuid(data: bytes, letters: str) -> str:
    """``%pUb`` big endian, ``%pUl`` little endian, capitals for capitals."""
    sixteen = data[:16]
    if len(sixteen) < 16:
        raise ValueError("a UUID of less than 16 bytes")
    if letters[1:2] in ("l", "L"):
        sixteen = sixteen[3::-1] + sixteen[5:3:-1] + sixteen[7:5:-1] + sixteen[8:]
    digits = sixteen.hex()
    text = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return text.upper() if letters[1:2] in ("B", "L") else text


def address(data: bytes, letters: str) -> str:
    """``%pI4``, ``%pI6c``, ``%pISpc`` ..."""
    if letters.startswith(("I4", "i4")):
        four = data[:4]
        if "h" in letters[2:] or "l" in letters[2:]:
            four = four[::-1]
        return ".".join((f"{byte:03}" if letters[0] == "i" else f"{byte}") for byte in four)
    if letters.startswith(("I6", "i6")):
        return _address6(data[:16], letters)
    if letters.startswith(("IS", "iS")):
        family = int.from_bytes(data[:2], "little")
        port = int.from_bytes(data[2:4], "big")
        if family == _AF_INET:
            shown = address(data[4:8], "I4")
            return f"{shown}:{port}" if "p" in letters else shown
        if family == _AF_INET6:
            shown = _address6(data[8:24], "I6c" if "c" in letters else "I6")
            return f"[{shown}]:{port}" if "p" in letters else shown
        raise ValueError(f"a socket address of family {family}")
    raise ValueError(f"%p{letters}")


def _address6(data: bytes, letters: str) -> str:
    if len(data) < 16:
        raise ValueError("an IPv6 address of less than 16 bytes")
    if letters.startswith("I6c"):
        found = ipaddress.IPv6Address(data)
        # Only the mapped form ends in an IPv4 address; of others Python and C agree.
        if found.ipv4_mapped is not None:
            return f"::ffff:{found.ipv4_mapped}"
        return str(found)
    groups = (data[at : at + 2].hex() for at in range(0, 16, 2))
    return (":" if letters[0] == "I" else "").join(groups)


def error(value: int) -> str | None:
    """``%pe`` of an error pointer: ``-ENOENT``."""
    number = (1 << 64) - value
    if 0 < number <= 4095:
        name = errno.errorcode.get(number)
        return f"-{name}" if name else f"-{number}"
    return None


def of_bytes(letters: str) -> Callable[[bytes], str] | None:
    """What shows memory in the way of ``%pLETTERS``; ``None`` if that is no way for memory."""
    if letters[:1] in ("M", "m"):
        return lambda data: mac(data, letters)
    if letters[:1] == "U":
        return lambda data: uuid(data, letters)
    if letters[:2] in ("I4", "i4", "I6", "i6", "IS", "iS"):
        return lambda data: address(data, letters)
    if letters[:1] == "h":
        return lambda data: hex_string(data, letters[1:])
    if letters[:2] == "bl":
        return bit_list
    if letters[:1] == "b":
        return bitmask
    return None
