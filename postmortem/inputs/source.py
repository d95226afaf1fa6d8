"""Bytes of a dump by position, whatever wraps them (a plain file, flattened records)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from postmortem.errors import UnreadableInputError


def shown(path: str | os.PathLike[str]) -> str:
    """A path for a message: nothing in it can reach the terminal as a control code."""
    return "".join(c if c.isprintable() else "?" for c in os.fsdecode(path))


Progress = Callable[[str, int, int], None]
"""Called with what is being done, bytes done and bytes in all."""


def temporary_file(name: str) -> IO[bytes]:
    """A file without a name, gone when it is closed; ``name`` is the dump's, for the message."""
    import tempfile

    directory = os.environ.get("TMPDIR") or "/var/tmp"
    try:
        return tempfile.TemporaryFile(
            prefix="postmortem-", dir=directory if Path(directory).is_dir() else None
        )
    except OSError as error:
        raise UnreadableInputError(
            f"{name} has to be unpacked and there is no temporary file for it"
            f" ({error.strerror}): set TMPDIR to a directory with room"
        ) from None


class Source(Protocol):
    """Positional reads over the image of a dump. A read past the end is short."""

    @property
    def size(self) -> int:
        """Bytes in the image."""
        ...

    def pread(self, count: int, offset: int) -> bytes:
        """At most ``count`` bytes from ``offset``."""
        ...


class PlainFile:
    """A file as it lies on the disk.

    Reads go through pread(2), never mmap(2): a file that shrinks under a
    mapping kills the process, and mapped pages count as resident memory.
    """

    def __init__(self, path: Path, fd: int | None = None) -> None:
        self.path = path
        self.fd = -1
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if fd is None else fd
        self._size = os.lseek(self.fd, 0, os.SEEK_END)

    @property
    def size(self) -> int:
        return self._size

    def pread(self, count: int, offset: int) -> bytes:
        if count <= 0 or not 0 <= offset < self._size:
            return b""
        return os.pread(self.fd, min(count, self._size - offset), offset)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if os is not None:  # the interpreter may be half taken apart by now
            self.close()
