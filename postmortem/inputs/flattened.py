"""makedumpfile's flattened form (``-F``): a stream of (offset, size, bytes) records.

A 4096-byte header, then records with big-endian 64-bit offset and size in
front, ended by a record with -1 in both. Later records overwrite earlier
ones: makedumpfile writes the dump's header again at the end.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator

from postmortem.errors import UnreadableInputError
from postmortem.inputs.source import Progress, Source, temporary_file

SIGNATURE = b"makedumpfile\0\0\0\0"
HEADER_BYTES = 4096
MAX_RECORDS = 1 << 22
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
        self._size = 0
        self._longest = 0
        self._records: list[tuple[int, int, int, int]] = []
        self._scan(stop_after)
        self._records.sort()

    def _scan(self, stop_after: int | None) -> None:
        position = HEADER_BYTES
        limit = self.source.size
        while position < limit and len(self._records) < MAX_RECORDS:
            head = self.source.pread(16, position)
            if len(head) < 16:
                return
            offset, size = _RECORD.unpack(head)
            if offset == -1 and size == -1:
                self.ended = True
                return
            if offset < 0 or size <= 0 or offset + size > 1 << 62:
                return
            position += 16
            kept = min(size, limit - position)
            self.lost_bytes = size - kept
            if kept > 0:
                self._records.append((offset, len(self._records), kept, position))
                self._size = max(self._size, offset + kept)
                self._longest = max(self._longest, kept)
            position += size
            if stop_after is not None and position > stop_after:
                return

    @property
    def size(self) -> int:
        return self._size

    def in_file_order(self) -> Iterator[tuple[int, bytes]]:
        """``(offset, bytes)`` of all records as they were written, in bounded pieces."""
        for start, _, size, position in sorted(self._records, key=lambda record: record[1]):
            for at in range(0, size, _PIECE):
                yield start + at, self.source.pread(min(_PIECE, size - at), position + at)

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self._records)

    def pread(self, count: int, offset: int) -> bytes:
        count = min(count, self._size - offset)
        if count <= 0 or offset < 0:
            return b""
        out = bytearray(count)
        first = bisect_left(self._records, (offset - self._longest, 0, 0, 0))
        hits = []
        for index in range(first, len(self._records)):
            start, order, size, position = self._records[index]
            if start >= offset + count:
                break
            if start + size > offset:
                hits.append((order, start, size, position))
        for _, start, size, position in sorted(hits):
            low, high = max(start, offset), min(start + size, offset + count)
            data = self.source.pread(high - low, position + low - start)
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
