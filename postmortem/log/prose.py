"""Is this text written by a person, with a log in it, instead of a log?

A paragraph is what no kernel prints: lines of about one width that run on into each other,
words and sentences, set apart by empty lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from postmortem.log.frames import is_frame
from postmortem.log.headers import match_header
from postmortem.log.lines import prefixed

_WORDS = 8
"""Fewer are a caption."""
_FEW = 3
"""So many lines of text may stand in any log: a login banner, advice of the boot scripts."""
_WORD = re.compile(r"[\"'(`*_\[]*[^\W\d_][^\W\d_'’-]*[\"')`*_\],.;:!?]*")
_SENTENCE = re.compile(r"[.!?:][\"')`*_]*(?:\s|$)")
_MARKS = re.compile(r"\s*(?:[>|#*+-]|\d{1,2}[.)])?\s*")


def is_document(lines: Iterable[str]) -> bool:
    """Is more of these lines somebody's text than what a kernel printed?"""
    prose = printed = 0
    for block in _blocks(lines):
        own = sum(map(_is_printed, block))
        printed += own
        if not own and _is_paragraph(block):
            prose += len(block)
    return prose > max(printed, _FEW)


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for line in lines:
        if line.strip(" \t>|"):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _is_printed(line: str) -> bool:
    text = _MARKS.sub("", line, count=1)
    return prefixed(line) or is_frame(text) or match_header(text) is not None


def _is_paragraph(block: Sequence[str]) -> bool:
    text = " ".join(_MARKS.sub("", line, count=1) for line in block)
    tokens = text.split()
    words = sum(_WORD.fullmatch(token) is not None for token in tokens)
    return words >= _WORDS and words * 4 >= len(tokens) * 3 and bool(_SENTENCE.search(text))
