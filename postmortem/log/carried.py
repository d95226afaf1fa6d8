"""What a whole text went through on its way here: a web page, a mailer, a logger's objects.

Told from its first piece and undone for all of it, line for line, so that lines keep
their numbers.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from postmortem.log.prefix import is_wrapped, rejoin
from postmortem.log.quoted_printable import decode, is_encoded
from postmortem.log.wrappers import find_wrapper, unwrap

_HEAD_BYTES = 1 << 16
_LINES = 360
_MAX_LINE = 1 << 16

# Colours whose escape character something made visible: cat -v, rsyslog, a log inside a string.
_COLOUR = re.compile(rb"(?:\^\[|#033|\\(?:x1[bB]|033|e|u001[bB])|\xe2\x90\x9b)\[[0-9;]{0,16}[mK]")
_TAG = re.compile(
    rb"</?(?:br|p|pre|code|tt|span|div|font|li|[uo]l|t[dr]|html|head|body|b|i)"
    rb"(?: [^<>]{0,200})?/?>",
    re.I,
)
_ENTITY = re.compile(rb"&(?:nbsp|lt|gt|amp|quot|#\d{1,4}|#[xX][0-9a-fA-F]{1,4});")
_PAGE = re.compile(rb"(?i)<br ?/?>|<(?:pre|code|span|td|tt)[ >]|&nbsp;|&#x?[0-9a-f]{2,4};")


_JOURNAL = re.compile(rb'\b_TRANSPORT"? ?[=:] ?"?kernel\b')
_PRINTABLE = re.compile(rb"(?im)^content-transfer-encoding:[ \t]*quoted-printable[ \t]*\r?$")


def is_journal(first: bytes) -> bool:
    """Does a journal's export say that there are messages of the kernel in it?"""
    return _JOURNAL.search(first) is not None


def lines_of(head: bytes) -> list[str]:
    """The first lines of a text."""
    lines = head[:_HEAD_BYTES].split(b"\n")[:_LINES]
    return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


def undone(first: bytes, chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes], bool]:
    """The first piece and the others as a console would have shown them.

    The last of the three says whether a line may hold several messages
    (:data:`~postmortem.log.wrappers.INNER_NEWLINE`).
    """
    inside = False
    if _COLOUR.search(first) is not None:
        first, chunks = _again(_by_line(chain((first,), chunks), _without_colours))
    if _PAGE.search(first, 0, _HEAD_BYTES) is not None:
        first, chunks = _again(_by_line(chain((first,), chunks), _without_tags))
    if b"=" in first and (_PRINTABLE.search(first) or is_encoded(lines_of(first))):
        first, chunks = _again(decode(chain((first,), chunks)))
    wrapper = find_wrapper(first[:_HEAD_BYTES])
    if wrapper is not None:
        inside = True
        first, chunks = _again(unwrap(chain((first,), chunks), wrapper))
    elif is_wrapped(lines_of(first)):
        first, chunks = _again(rejoin(chain((first,), chunks)))
    return first, chunks, inside


def _again(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    return next(chunks, b""), chunks


def _by_line(chunks: Iterable[bytes], change: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """A change that looks at one line at a time, made to whole lines of each piece."""
    rest = b""
    for chunk in chunks:
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > _MAX_LINE:
            whole, newline, rest = whole + newline + rest, b"", b""
        yield change(whole) + newline
    yield change(rest)


def _without_colours(text: bytes) -> bytes:
    return _COLOUR.sub(b"", text)


def _without_tags(text: bytes) -> bytes:
    return _ENTITY.sub(_letter, _TAG.sub(b"", text))


def _letter(match: re.Match[bytes]) -> bytes:
    text = html.unescape(match[0].decode()).replace("\xa0", " ")
    return text.encode("utf-8", "replace") if text.isprintable() else b" "
