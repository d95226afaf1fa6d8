"""Where kallsyms lies when nobody says it: found by its shape in the kernel image.

VMCOREINFO has had the addresses since v6.0. scripts/kallsyms.c lays all parts
out in one piece, in one of two orders::

    offsets, relative_base, num_syms, names, markers, [seqs_of_names,] token_table, token_index
    num_syms, names, markers, token_table, token_index, offsets, [relative_base,] seqs_of_names

The second is that of v6.4 and later (404bad70fcf7). Each part starts at a
multiple of 8 bytes, since v7.1 of 4.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import drgn

from postmortem.dump.available import available, read_available
from postmortem.dump.kallsyms_table import KallsymsTable

_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
"""Tokens 0x30 to 0x39: digits stand for themselves in every kernel."""
_FIRST_DIGIT = 0x30
_TOKENS = 256
_PER_BLOCK = 256

_IMAGE_BYTES = 96 << 20
"""How much of the kernel image is searched from _stext on."""
_CHUNK = 1 << 20
_TOKENS_BYTES = 16 << 10
"""More than the token table takes: 256 tokens of a few letters."""
_BEFORE = 1 << 20
_MAX_BEFORE = 16 << 20
"""How far before the token table names and offsets may start."""
_MARKER_STEP = range(2 * _PER_BLOCK, 128 * _PER_BLOCK)
"""Bytes that 256 compressed names may take; 3 to 8 thousand are usual."""
_FIRST_MARKERS = re.compile(rb"(?s)(?=\0{4}.[\x02-\x7f]\0\0)")
_MIN_MARKERS = 8
_MAX_CANDIDATES = 16
_INDEX_WITHIN = 2 << 10
"""Behind a hole, in which the index of lost tokens is looked for: they take 1 KiB."""
_INDEX_START = re.compile(rb"(?=\0\0[\x02-\x20]\0[\x04-\x40]\0)")
_BASE_AND_COUNT = re.compile(
    rb"(?s)(?=\0[\0\x10-\xf0].[\x80-\xff]\xff{4}(..[\0-\x3f]\0)\0{4}[\x01-\x7f])"
)
"""``kallsyms_relative_base`` in the image, ``kallsyms_num_syms``, the first name's length."""
_MIN_SYMBOLS = 1000
_LONG = 0x60
"""Codes of a name, which few have."""


def tables_by_shape(prog: drgn.Program, stext: int, data: int = 0) -> Iterator[KallsymsTable]:
    """All that looks like a kallsyms table, the likeliest first.

    :param stext: Address of ``_stext``.
    :param data: Any address in the kernel's .data: .rodata with the table ends
        shortly before it, so the search goes down from there.
    """
    chunks = range(stext & ~(_CHUNK - 1), stext + _IMAGE_BYTES, _CHUNK)
    below = [at for at in chunks if at < data]
    candidates = 0
    for at in [*reversed(below), *chunks[len(below) :]]:
        image, _missing = read_available(prog, at, _CHUNK + len(_DIGITS))
        found = image.find(_DIGITS)
        while found >= 0 and candidates < _MAX_CANDIDATES:
            candidates += 1
            tokens = _tokens_around(prog, at + found)
            if tokens is not None:
                yield from _tables_around(prog, *tokens)
            elif (cut := _tokens_without_index(prog, at + found)) is not None:
                yield from _tables_around(prog, *cut)
            found = image.find(_DIGITS, found + 1)
    yield from _tables_behind_holes(prog, chunks)


def _tables_behind_holes(prog: drgn.Program, chunks: range) -> Iterator[KallsymsTable]:
    """Tables whose tokens are on a page that is lost, and their index on the next one."""
    for at in chunks:
        for _start, end in available(prog, at, _CHUNK).holes:
            page = available(prog, at + end, _INDEX_WITHIN)
            if page.holes:
                continue
            for match in _INDEX_START.finditer(page.data):
                index = match.start()
                starts = _unpack_index(page.data, index) if index % 4 == 0 else None
                before = None if starts is None else _bytes_of_tokens(page.data[:index], starts)
                if before is not None:
                    where = at + end + index
                    yield from _tables_by_base(prog, where - before, where)


def _bytes_of_tokens(seen: bytes, starts: tuple[int, ...]) -> int | None:
    """How far before their index the tokens begin: those that are seen end where others begin."""
    for size in range(_align(starts[-1] + 1, 4), starts[-1] + _LONG, 4):
        first = size - len(seen)
        inside = [start - first for start in starts if start > first]
        if not any(seen[start - 1] for start in inside) and first >= 0:
            last = seen[max(0, starts[-1] - first) :]
            if len(last) - len(last.rstrip(b"\0")) in range(1, 9) and 0 not in last.rstrip(b"\0"):
                return size
    return None


def _tables_by_base(prog: drgn.Program, tokens: int, index: int) -> Iterator[KallsymsTable]:
    """The tables before these tokens: ``relative_base`` and the number of symbols lead them."""
    base = tokens - _MAX_BEFORE
    data, _missing = read_available(prog, base, _MAX_BEFORE)
    for match in _BASE_AND_COUNT.finditer(data):
        at = match.start()
        count = int.from_bytes(match[1], "little")
        if at % 8 == 0 and count > _MIN_SYMBOLS and _are_names(data, at + 16):
            offsets = base + at - _align(4 * count, 8)
            yield KallsymsTable(base + at + 16, tokens, index, base + at + 8, offsets, base + at)


def _are_names(data: bytes, at: int) -> bool:
    """Whether some hundred names may begin here: each has a length, and not a long one."""
    for _ in range(_PER_BLOCK):
        if at >= len(data) or not 0 < data[at] < _LONG:
            return False
        at += 1 + data[at]
    return True


def _tokens_around(prog: drgn.Program, digits: int) -> tuple[int, int] | None:
    """Addresses of ``kallsyms_token_table`` and ``_index`` if ``digits`` is in the former."""
    start = (digits & ~7) - _TOKENS_BYTES
    data, _missing = read_available(prog, start, 2 * _TOKENS_BYTES)
    end = digits - start
    for _ in range(_TOKENS - _FIRST_DIGIT):
        end = data.find(b"\0", end) + 1
        if not end:
            return None
    for index_at in (_align(end, 4), _align(end, 8)):
        starts = _unpack_index(data, index_at)
        if starts is None:
            continue
        table = digits - start - starts[_FIRST_DIGIT]
        # The index is right if there is the end of a token before each start.
        if table >= 0 and not any(data[table + at - 1] for at in starts[1:]):
            return start + table, start + index_at
    return None


def _tokens_without_index(prog: drgn.Program, digits: int) -> tuple[int, int] | None:
    """Address of ``kallsyms_token_table``, and of a hole behind that has swallowed the index.

    Counted back from the digits: the 48 tokens before them, behind the NUL of what precedes.
    """
    start = digits - _TOKENS_BYTES
    found = available(prog, start, 2 * _TOKENS_BYTES)
    end = found.hole_from(_TOKENS_BYTES)[0]
    if end == len(found.data):
        return None
    at = _TOKENS_BYTES
    for _ in range(_FIRST_DIGIT):
        at = found.data.rfind(b"\0", 0, at - 1) + 1
        if not at:
            return None
    if (start + at) % 4 or not found.has(at - 1, _TOKENS_BYTES):
        return None
    return start + at, start + end + 4  # what begins there, a token is cut off by


def _unpack_index(data: bytes, at: int) -> tuple[int, ...] | None:
    try:
        starts = struct.unpack_from(f"<{_TOKENS}H", data, at)
    except struct.error:
        return None
    rising = all(starts[i] < starts[i + 1] for i in range(_TOKENS - 1))
    return starts if not starts[0] and rising and starts[-1] < _TOKENS_BYTES else None


def _tables_around(prog: drgn.Program, tokens: int, index: int) -> Iterator[KallsymsTable]:
    """The tables that these tokens may belong to."""
    size = _BEFORE
    while size <= _MAX_BEFORE:
        data, missing = read_available(prog, tokens - size, size)
        if missing == size:
            return
        for num_syms, names, count in _names_before(data):
            base = tokens - size
            behind = index + 2 * _TOKENS
            for offsets, relative_base in (
                *_offsets_behind(behind, count),
                *_offsets_before(base + num_syms, count),
            ):
                yield KallsymsTable(
                    base + names, tokens, index, base + num_syms, offsets, relative_base
                )
        size *= 4


def _offsets_behind(behind: int, count: int) -> Iterator[tuple[int, int]]:
    yield behind, _align(behind + 4 * count, 8)
    yield behind, 0


def _offsets_before(num_syms: int, count: int) -> Iterator[tuple[int, int]]:
    base = num_syms - 8
    yield base - _align(4 * count, 8), base


def _names_before(data: bytes) -> Iterator[tuple[int, int, int]]:
    """``(offset of num_syms, offset of names, number of symbols)`` in what ends with the tokens."""
    for markers_at, markers in _runs_of_markers(data):
        # Names end in front of the markers, less than a block's worth behind the last one.
        latest = markers_at - markers[-1]
        earliest = max(8, latest - _MARKER_STEP.stop)
        low, high = (len(markers) - 1) * _PER_BLOCK, len(markers) * _PER_BLOCK
        for names in range(latest & ~3, earliest, -4):
            for num_syms in (names - 4, names - 8):
                count = int.from_bytes(data[num_syms : num_syms + 4], "little")
                if low < count <= high and _fits(data, names, markers[1]):
                    yield num_syms, names, count


def _runs_of_markers(data: bytes) -> Iterator[tuple[int, list[int]]]:
    """Places in ``data`` where a 0 is followed by numbers that rise as markers do."""
    runs = 0
    for match in _FIRST_MARKERS.finditer(data):
        markers = _rising(data, match.start()) if match.start() % 4 == 0 else []
        if len(markers) >= _MIN_MARKERS:
            yield match.start(), markers
            yield match.start(), markers[:-1]  # what lies behind the last one may go on by chance
            runs += 1
            if runs == _MAX_CANDIDATES:
                return


def _rising(data: bytes, at: int) -> list[int]:
    markers = [0]
    for offset in range(at + 4, len(data) - 3, 4):
        value = int.from_bytes(data[offset : offset + 4], "little")
        if value - markers[-1] not in _MARKER_STEP:
            break
        markers.append(value)
    return markers


def _fits(data: bytes, names: int, second_marker: int) -> bool:
    """Whether the 257th name starts where the second marker says."""
    at = names
    for _ in range(_PER_BLOCK):
        if at + 1 >= len(data):
            return False
        length = data[at]
        if length & 0x80:
            at += 1
            length = length & 0x7F | data[at] << 7
        at += 1 + length
    return at - names == second_marker


def _align(value: int, by: int) -> int:
    return -(-value // by) * by
