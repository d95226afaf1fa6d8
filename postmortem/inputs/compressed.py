"""Dumps and logs that were compressed once more, as a whole: gzip, xz, zstd, bzip2, lz4."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from postmortem.errors import UnknownInputError, UnreadableInputError
from postmortem.inputs.claimed import Claim
from postmortem.inputs.source import PlainFile, Progress, temporary_file
from postmortem.inputs.unpack import DamagedError, unpack

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
)
_COMMANDS = {"lz4": ("lz4", "-dc"), "lzop": ("lzop", "-dc")}
"""For what Python has no decompressor: the tool that everybody who made such a file has."""

_CHUNK = 1 << 20
_READ_AHEAD = 1 << 16
"""zstd is fed in pieces so small that a system call for each would be a fifth of the time."""
_HOLE = 1 << 16
MAX_BYTES = 1 << 44
"""Nothing bigger than 16 TiB is unpacked; the free space of the disk ends it sooner."""


def detect(head: bytes) -> str | None:
    """The outer compression that ``head`` starts with."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return None


def read_head(source: PlainFile, name: str, count: int, shown: str) -> bytes:
    """The first ``count`` decompressed bytes; fewer when the data ends or is broken there."""
    out = bytearray()
    for data, _ in _stream(source, name, shown, step=1 << 14):
        out += data
        if len(out) >= count:
            break
    return bytes(out[:count])


def read_all(path: Path, limit: int) -> bytes:
    """The whole text of a compressed log, at most ``limit`` bytes."""
    source = PlainFile(path)
    try:
        name = detect(source.pread(16, 0))
        if name is None:
            return source.pread(limit, 0)
        return read_head(source, name, limit, path.name)
    finally:
        source.close()


class Unpacked:
    """A decompressed dump in a file without a name, gone when it is closed."""

    def __init__(self, source: PlainFile, name: str, shown: str, progress: Progress | None) -> None:
        self.broken = False
        """The compressed data ended early or is damaged; what came before is there."""
        self.excess = False
        """More came out than the dump's own headers know of; the rest was left packed."""
        self.file = temporary_file(shown)
        try:
            self._unpack(source, name, shown, progress)
        except BaseException:
            self.file.close()
            raise

    def _unpack(self, source: PlainFile, name: str, shown: str, progress: Progress | None) -> None:
        size = 0
        claim = Claim(_Written(self.file))
        try:
            for data, consumed in _stream(source, name, shown, step=_CHUNK):
                # Zero pages are most of many dumps: leave them as holes.
                for at in range(0, len(data), _HOLE):
                    piece = data[at : at + _HOLE]
                    if piece.count(0) == len(piece):
                        self.file.seek(len(piece), os.SEEK_CUR)
                    else:
                        self.file.write(piece)
                size += len(data)
                if size > MAX_BYTES:
                    raise UnknownInputError(
                        f"{shown} decompresses to more than {MAX_BYTES >> 40} TiB: that is no dump"
                    )
                if claim.exceeded(size):
                    self.excess = True
                    break
                if progress:
                    progress(f"decompressing {name}", consumed, source.size)
                if consumed < 0:
                    self.broken = True
            self.file.flush()
            self.file.truncate(size)
        except OSError as error:
            raise UnreadableInputError(
                f"{shown} can't be decompressed: {error.strerror} after {size >> 20} MiB;"
                " set TMPDIR to a directory with room"
            ) from None


class _Written:
    """What was written so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @property
    def size(self) -> int:
        return self._file.tell()

    def pread(self, count: int, offset: int) -> bytes:
        self._file.flush()
        data = os.pread(self._file.fileno(), count, offset)
        # What ends in a hole is not there yet for the file system.
        return data.ljust(max(min(count, self.size - offset), 0), b"\0")


def _stream(source: PlainFile, name: str, shown: str, step: int) -> Iterator[tuple[bytes, int]]:
    """Decompressed pieces with the compressed bytes read so far (-1: the data broke off).

    Every read is bounded, whatever the data expands to.
    """
    if name in _COMMANDS:
        yield from _stream_command(source, name, shown, step)
        return
    with os.fdopen(os.dup(source.fd), "rb", buffering=_READ_AHEAD) as raw:
        raw.seek(0)
        try:
            for data in unpack(name, raw.read):
                for at in range(0, len(data), step):
                    yield data[at : at + step], raw.tell()
        except DamagedError:
            yield b"", -1


def _stream_command(
    source: PlainFile, name: str, shown: str, step: int
) -> Iterator[tuple[bytes, int]]:
    import shutil
    import subprocess

    command = _COMMANDS[name]
    if shutil.which(command[0]) is None:
        raise UnknownInputError(
            f"{shown} is {name} data and the {command[0]} command is not installed:"
            f" install it, or decompress the file first"
        )
    os.lseek(source.fd, 0, os.SEEK_SET)
    with subprocess.Popen(
        command, stdin=source.fd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            while data := process.stdout.read(step):
                yield data, os.lseek(source.fd, 0, os.SEEK_CUR)
        finally:
            process.kill()
        if process.wait() not in (0, -9):
            yield b"", -1
