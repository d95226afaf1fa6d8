"""Inputs that can be read once: standard input, FIFOs, ``<(zcat log.gz)``.

The first block tells what it is, before anything is kept. A log streams. A dump is
read at random and so is copied into a file without a name: whatever ends this
process, nothing of it is left on the disk.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from postmortem.errors import UnknownInputError, UnreadableInputError
from postmortem.inputs.source import Progress, shown, temporary_file

STDIN = "standard input"
HEAD_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_RESERVE_BYTES = 256 << 20
"""Left free on the disk, which is not ours alone."""


class _Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes | None:
        """Up to ``size`` bytes, nothing at the end."""


def is_pipe(path: Path) -> bool:
    """Whether it can be read only once. A file on standard input can be read at will."""
    try:
        mode = os.fstat(_stdin_fd()).st_mode if str(path) == "-" else path.stat().st_mode
    except (OSError, ValueError):
        # Standard input without a descriptor is an object in memory; else a later look tells.
        return str(path) == "-"
    if str(path) == "-":
        return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode))
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _stdin_fd() -> int:
    return sys.stdin.fileno()


def stdin_as_file() -> Path:
    """The file that standard input was redirected from."""
    return Path(f"/proc/self/fd/{_stdin_fd()}")


class Pipe:
    """A pipe whose first block was read; :meth:`read` begins with it."""

    def __init__(self, path: Path) -> None:
        """
        :raises UnreadableInputError: it can't be read.
        :raises UnknownInputError: nothing is in it.
        """
        self.name = STDIN if str(path) == "-" else shown(path)
        try:
            self._file: _Reader = sys.stdin.buffer if str(path) == "-" else path.open("rb")
            self.head = self._first_block()
        except OSError as error:
            raise UnreadableInputError(
                f"{self.name} can't be read: {error.strerror or error}"
            ) from None
        if not self.head:
            raise UnknownInputError(f"{self.name} is empty: nothing was written to it")
        self._pending = self.head

    def _first_block(self) -> bytes:
        """A pipe gives what is in it just now: wait for a whole block or the end."""
        head = bytearray()
        while len(head) < HEAD_BYTES:
            piece = self._file.read(HEAD_BYTES - len(head))
            if not piece:
                break
            head += piece
        return bytes(head)

    def read(self, size: int = -1, /) -> bytes:
        """The first block, then what comes."""
        if self._pending:
            head, self._pending = self._pending, b""
            return head
        return self._file.read(size) or b""

    def kept(self, progress: Progress | None = None) -> IO[bytes]:
        """All of it in a file without a name.

        :raises UnreadableInputError: there is no room, or reading fails.
        """
        file = temporary_file(self.name)
        try:
            self._copy(file, progress)
        except OSError as error:
            file.close()
            raise UnreadableInputError(
                f"{self.name} can't be kept while it is read: {error.strerror};"
                " set TMPDIR to a directory with room"
            ) from None
        except BaseException:
            file.close()
            raise
        return file

    def _copy(self, file: IO[bytes], progress: Callable[[str, int, int], None] | None) -> None:
        size = checked = 0
        room = 0
        while piece := self.read(_PIECE_BYTES):
            if size + len(piece) > checked + room // 2 or not size:
                checked, room = size, _room(file, self.name, size)
            if piece.count(0) == len(piece):
                file.seek(len(piece), os.SEEK_CUR)  # most of many dumps is zeroes: holes
            else:
                file.write(piece)
            size += len(piece)
            if progress is not None:
                progress("reading " + self.name, size, 0)
        file.flush()
        file.truncate(size)


def _room(file: IO[bytes], name: str, size: int) -> int:
    """Bytes that may still be written.

    :raises UnreadableInputError: too few.
    """
    found = os.fstatvfs(file.fileno())
    room = found.f_bavail * found.f_frsize - _RESERVE_BYTES
    if room < _PIECE_BYTES:
        raise UnreadableInputError(
            f"{name} is a dump and has to be kept while it is read, and after"
            f" {size >> 20} MiB there is no more room: set TMPDIR to a directory with room,"
            " or give the dump as a file"
        )
    return room
