"""Text as mail carries it (RFC 2045, 6.7): ``=3D`` for ``=``, long lines broken by a last ``=``."""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterable, Iterator

_WIDEST = 76
"""No encoded line is longer."""
_LONGEST = 16_384
"""Bytes that broken lines are joined to at most."""
_CODE = re.compile(r"=(?:[0-9A-F]{2}|$)")


def is_encoded(lines: Iterable[str]) -> bool:
    """Is every ``=`` the beginning of a code, and are there some?"""
    codes = 0
    for line in lines:
        if len(line) > _WIDEST:
            return False
        found = len(_CODE.findall(line))
        if found != line.count("="):
            return False
        codes += found
    return codes >= 2


def decode(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text as it was; empty lines keep the numbers of those behind a broken one right."""
    rest, whole, pieces = b"", b"", 0
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        out = []
        for raw in lines:
            line = raw.rstrip(b"\r ")
            if line.endswith(b"=") and len(whole) < _LONGEST:
                whole, pieces = whole + line[:-1], pieces + 1
                continue
            out.append(_plain(whole + line) + b"\n" * (pieces + 1))
            whole, pieces = b"", 0
        yield b"".join(out)
    yield _plain(whole + rest.rstrip(b"="))


def _plain(line: bytes) -> bytes:
    """One line; a coded end of line inside it would shift the numbers of all that follow."""
    return quopri.decodestring(line).replace(b"\r", b"").replace(b"\n", b" ")
