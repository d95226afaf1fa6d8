"""makedumpfile's flattened form (``-F``): a stream of (offset, size, bytes) records.

A 4096-byte header, then records with big-endian 64-bit offset and size in
front, ended by a record with -1 in both. Later records overwrite earlier
ones: makedumpfile writes the dump's header again at the end.
"""

from __future__ import annotations

import struct
from bisect import bisect_left

from postmortem.dump.source import Source

SIGNATURE = b"makedumpfile\0\0\0\0"
HEADER_BYTES = 4096
MAX_RECORDS = 1 << 22
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
