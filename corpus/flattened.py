"""makedumpfile's flattened format, put back in order.

A flattened dump is what makedumpfile writes to a pipe: a header of one page, then
records of (offset, size, data), the numbers 64-bit big-endian, until both are -1.
Source: makedumpfile's makedumpfile.h, struct makedumpfile_header and
makedumpfile_data_header.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"makedumpfile\0\0\0\0"
HEADER_BYTES = 4096
_RECORD = struct.Struct(">qq")


class FlattenedError(Exception):
    """The stream is not flattened, or it ends too early."""


def rearrange(stream: BinaryIO, target: Path) -> int:
    """Write the plain dump to *target*; give the length of the flattened one in bytes."""
    if not stream.read(HEADER_BYTES).startswith(SIGNATURE):
        raise FlattenedError("makedumpfile wrote nothing")
    with target.open("wb") as out:
        while True:
            record = stream.read(_RECORD.size)
            if len(record) < _RECORD.size:
                raise FlattenedError("the flattened dump has no end")
            offset, size = _RECORD.unpack(record)
            if offset < 0:
                return stream.tell()
            out.seek(offset)
            out.write(stream.read(size))
