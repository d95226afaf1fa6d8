"""makedumpfile's flattened form (``-F``): a stream of (offset, size, bytes) records.

A 4096-byte header, then records with big-endian 64-bit offset and size in
front, ended by a record with -1 in both. Later records overwrite earlier
ones: makedumpfile writes the dump's header again at the end.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from postmortem.errors import UnreadableInputError
from postmortem.inputs.source import Progress, Source, temporary_file

SIGNATURE = b"makedumpfile\0\0\0\0"
HEADER_BYTES = 4096
MAX_RECORDS = 1 << 21
"""Indexed at most: 50 MB, and while they are sorted 130 MB; makedumpfile writes far larger ones."""
_AHEAD = 1 << 12
"""Read at once where records are small."""
_PIECE = 1 << 20
_RECORD = struct.Struct(">qq")


class FlattenedFile:
    """The image that the records describe."""

    def __init__(self, source: Source, stop_after: int | None = None) -> None:
        """Index the records; ``stop_after`` bytes of the stream are enough for a first look."""
        self.source = source
        self.ended = False
        """The end record was found: the stream is whole."""
        self.lost_bytes = 0
        """Bytes of the last record that lie behind the end of the file."""
        self.too_many = False
        """There are more records than are indexed: only a copy in order shows the image."""
        self._size = 0
        self._longest = 0
        # Three words a record, and not a tuple: there may be millions.
        self._starts, self._sizes, self._positions = array("Q"), array("Q"), array("Q")
        for start, size, position in self._walk():
            if len(self._starts) == MAX_RECORDS:
                self.too_many = True
                break
            self._starts.append(start)
            self._sizes.append(size)
            self._positions.append(position)
            self._size = max(self._size, start + size)
            self._longest = max(self._longest, size)
            if stop_after is not None and position + size > stop_after:
                break
        self._order = array("I", sorted(range(len(self._starts)), key=self._starts.__getitem__))
        """The records by where they begin; later ones behind earlier ones."""

    def _walk(self) -> Iterator[tuple[int, int, int]]:
        """``(offset, size, position in the stream)`` of each record as they were written."""
        position = HEADER_BYTES
        limit = self.source.size
        self.ended, self.lost_bytes = False, 0
        ahead, ahead_from = b"", 0
        while position < limit:
            at = position - ahead_from
            if not 0 <= at <= len(ahead) - _RECORD.size:
                ahead, ahead_from, at = self.source.pread(_AHEAD, position), position, 0
                if len(ahead) < _RECORD.size:
                    return
            offset, size = _RECORD.unpack_from(ahead, at)
            if offset == -1 and size == -1:
                self.ended = True
                return
            if offset < 0 or size <= 0 or offset + size > 1 << 62:
                return
            position += _RECORD.size
            kept = min(size, limit - position)
            self.lost_bytes = size - kept
            if kept > 0:
                yield offset, kept, position
            position += size

    @property
    def size(self) -> int:
        return self._size

    def in_file_order(self) -> Iterator[tuple[int, bytes]]:
        """``(offset, bytes)`` of all records as they were written, in bounded pieces.

        Also those that are not indexed; :attr:`ended` and :attr:`lost_bytes` are true of all then.
        """
        for start, size, position in self._walk():
            for at in range(0, size, _PIECE):
                yield start + at, self.source.pread(min(_PIECE, size - at), position + at)

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self._starts)

    def pread(self, count: int, offset: int) -> bytes:
        count = min(count, self._size - offset)
        if count <= 0 or offset < 0:
            return b""
        out = bytearray(count)
        hits = []
        first = bisect_left(self._order, offset - self._longest, key=self._starts.__getitem__)
        for index in range(first, len(self._order)):
            number = self._order[index]
            start = self._starts[number]
            if start >= offset + count:
                break
            if start + self._sizes[number] > offset:
                hits.append(number)
        for number in sorted(hits):
            start = self._starts[number]
            low = max(start, offset)
            high = min(start + self._sizes[number], offset + count)
            data = self.source.pread(high - low, self._positions[number] + low - start)
            out[low - offset : low - offset + len(data)] = data
        return bytes(out)


def flattened_copy(flat: FlattenedFile, shown: str, progress: Progress | None) -> int:
    """The image in a temporary file; the descriptor belongs to the caller."""
    with temporary_file(shown) as file:
        fd = os.dup(file.fileno())
    done = 0
    try:
        for offset, data in flat.in_file_order():
            os.pwrite(fd, data, offset)
            done += len(data)
            if progress:
                progress("rearranging the flattened dump", done, flat.source.size)
    except OSError as error:
        os.close(fd)
        raise UnreadableInputError(
            f"{shown} can't be rearranged: {error.strerror} after {done >> 20} MiB;"
            " set TMPDIR to a directory with room"
        ) from None
    return fd
