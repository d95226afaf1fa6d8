"""Text in another dress than a kernel printed it: UTF-16 of Windows tools, base64 of mail.

Undone before anything counts lines: numbers are those of the text as a reader sees it.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from itertools import chain

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 512
"""Bytes of which every other one is looked at where no mark says how the text is written."""
_MOST = 0.9

_BASE64 = re.compile(rb"(?im)^content-transfer-encoding:[ \t]*base64[ \t]*\r?$")
_ENCODED = re.compile(rb"[A-Za-z0-9+/]{2,998}={0,2}")
_BINARY = bytes(set(range(32)) - set(b"\t\n\r\x0b\x0c\x1b\x08\x07"))
"""What no text has: an attached picture or archive is left out."""


def unicode_of(head: bytes) -> str | None:
    """Which encoding of wide characters a text begins in; ``None`` for one byte a letter."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    sample = head[: min(_SAMPLE, len(head) & ~1)]
    if len(sample) < 16:
        return None
    low, high = sample[0::2], sample[1::2]
    for name, letters, zeroes in (("utf-16-le", low, high), ("utf-16-be", high, low)):
        if zeroes.count(0) > _MOST * len(zeroes) and not letters.count(0):
            return name
    return None


def decoded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The text in one byte a letter (UTF-8), parts of a mail as they were before it was sent."""
    first = next(chunks, b"")
    name = unicode_of(first)
    whole = chain((first,), chunks) if first else iter(())
    if name is not None:
        yield from _recoded(whole, name)
    elif _BASE64.search(first) is not None:
        yield from _mail(whole)
    else:
        yield from whole


def _recoded(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(name)("replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _mail(chunks: Iterator[bytes]) -> Iterator[bytes]:
    part = _Part()
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield b"".join(map(part.line, lines))
    if rest:
        yield part.line(rest).rstrip(b"\n")


class _Part:
    """Line for line of a mail; what is between ``base64`` and a line that is none is decoded."""

    def __init__(self) -> None:
        self._announced = self._inside = self._binary = False
        self._rest = b""

    def line(self, raw: bytes) -> bytes:
        line = raw.rstrip(b"\r ")
        if self._inside:
            if _ENCODED.fullmatch(line):
                return self._decode(line)
            if line or self._rest:
                self._inside = False
                return self.end() + raw + b"\n"
            return b""
        if _BASE64.match(line):
            self._announced = True
        elif self._announced and not line:
            self._announced, self._inside, self._binary = False, True, False
        return raw + b"\n"

    def end(self) -> bytes:
        """What is left of a part that ends."""
        self._rest = b""
        return b"" if self._binary else b"\n"

    def _decode(self, line: bytes) -> bytes:
        text = self._rest + line
        whole = len(text) & ~3
        text, self._rest = text[:whole], text[whole:]
        try:
            found = base64.b64decode(text)
        except (binascii.Error, ValueError):
            return b""
        self._binary = self._binary or any(byte in _BINARY for byte in found[:64])
        return b"" if self._binary else found
