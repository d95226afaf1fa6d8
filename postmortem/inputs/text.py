"""From files, directories and pipes to one stream of lines, whatever wrapped them.

Reads through compression, puts the pieces of pstore and netconsole in order, and
never holds more than a window of the input.
"""

from __future__ import annotations

import io
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from postmortem.errors import UnreadableInputError

CHUNK_BYTES = 1 << 17
MAX_PSTORE_BYTES = 64 << 20
"""pstore holds kilobytes; more than this is read as a plain log."""

_DUMPS = (b"\x7fELF", b"KDUMP   ", b"DISKDUMP", b"makedumpfile\0")
"""How memory dumps begin, which hold the phrases of every report as format strings."""

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
)


class Readable(Protocol):
    """All that is asked of a file."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Up to ``size`` bytes; nothing at the end."""


@dataclass
class Stream:
    """An input as bytes, decompressed, in the order in which the kernel wrote them."""

    path: str
    file: Readable
    line_numbers: Sequence[int] | None = None
    """Original line number of each line, where the order was changed."""
    problems: tuple[tuple[str, str], ...] = ()

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces. A damaged end is a problem, not an exception."""
        while True:
            try:
                chunk = self.file.read(CHUNK_BYTES)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                self.problems += (("read to the end", f"{type(error).__name__}: {error}"),)
                return
            except Exception as error:  # lzma and zstd have errors of their own
                self.problems += (("decompress to the end", str(error) or type(error).__name__),)
                return
            if not chunk:
                return
            yield chunk


def open_source(path: str | Path, content: bytes | None = None) -> Stream:
    """Open a log for reading; ``-`` is standard input.

    :param content: bytes to read instead of the file.
    :raises UnreadableInputError: the file is missing or may not be read.
    """
    name = str(path)
    try:
        if content is not None:
            file: Readable = io.BytesIO(content)
        elif name == "-":
            file = sys.stdin.buffer
        elif Path(path).is_dir():
            return _open_pstore_directory(Path(path))
        else:
            file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - the stream owns it
    except OSError as error:
        raise UnreadableInputError(f"{name}: {error.strerror or error}") from error
    try:
        head = _peek(file)
    except OSError as error:
        raise UnreadableInputError(f"{name}: {error.strerror or error}") from error
    stream = Stream(name, _Rest(head, file))
    packed = _compression(head, name)
    if packed:
        stream = Stream(name, _decompress(packed, stream.file))
        head = _peek(stream.file, stream)
        stream.file = _Rest(head, stream.file)
    if head.startswith(_DUMPS):
        why = "it is a memory dump: postmortem analyze reads those"
        return Stream(name, io.BytesIO(), problems=(("read as a log", why),))
    if _PART.match(head):
        return _reorder(name, stream)
    return stream


def _peek(file: Readable, stream: Stream | None = None) -> bytes:
    try:
        return file.read(4096) or b""
    except OSError:
        raise
    except Exception as error:
        if stream is not None:
            stream.problems += (("decompress", str(error) or type(error).__name__),)
        return b""


class _Rest:
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: Readable) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._file.read(size) or b""


def _compression(head: bytes, name: str) -> str | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if name.endswith((".enc.z", ".z")) and head:
        return "zlib"  # pstore's deflate, with or without zlib's header
    return None


def _decompress(kind: str, file: Readable) -> Readable:
    source = io.BufferedReader(_AsRaw(file))
    if kind == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=source)
    if kind == "xz":
        import lzma

        return lzma.LZMAFile(source)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2File(source)
    if kind == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    if kind == "zlib":
        data = source.read(MAX_PSTORE_BYTES)
        return io.BytesIO(_inflate(data))
    raise UnreadableInputError(f"compressed with {kind}: decompress it first")


class _AsRaw(io.RawIOBase):
    def __init__(self, file: Readable) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer)) or b""
        if len(data) > len(buffer):  # the first bytes come as they were read
            self._file = _Rest(data[len(buffer) :], self._file)
            data = data[: len(buffer)]
        buffer[: len(data)] = data
        return len(data)


def _inflate(data: bytes) -> bytes:
    for bits in (-15, 15):
        engine = zlib.decompressobj(bits)
        try:
            return engine.decompress(data, MAX_PSTORE_BYTES)
        except zlib.error:
            continue
    return data


# --- pstore: pieces of the log, newest text first -------------------------------------

_PART = re.compile(
    rb"(?:Panic|Oops|Emergency|Emerg|Restart|Reboot|Halt|Poweroff|Shutdown|Unknown)"
    rb"#(?P<count>\d{1,9}) Part ?(?P<part>\d{1,9})\r?\n"
)
_RAMOOPS = re.compile(rb"====\d+\.\d+(?:-[CD])?\n")
_PSTORE_FILE = re.compile(r"(?:dmesg|console)-[a-z]+[\w.-]*-(?P<id>\d+)(?:\.enc\.z)?$|dmesg\.txt$")


def _reorder(name: str, stream: Stream) -> Stream:
    """Parts of a dump in one file, back into the order of writing."""
    data = b"".join(stream.chunks())[:MAX_PSTORE_BYTES]
    starts = [match.start() for match in _PART.finditer(data)]
    pieces = []
    line = 1
    counted = 0
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        match = _PART.match(data, start)
        assert match is not None
        line += data.count(b"\n", counted, match.end())
        counted = match.end()
        pieces.append((int(match["count"]), -int(match["part"]), data[match.end() : end], line))
    pieces.sort(key=lambda piece: piece[:2])
    numbers: list[int] = []
    joined = bytearray()
    for _, _, text, first_line in pieces:
        # A record is cut where its size is used up, mid-line: the next one goes on there.
        lines = text.count(b"\n") + (not text.endswith(b"\n"))
        continues = bool(joined) and not joined.endswith(b"\n")
        numbers.extend(range(first_line + continues, first_line + lines))
        joined += text
    return Stream(name, io.BytesIO(bytes(joined)), numbers, stream.problems)


def _open_pstore_directory(path: Path) -> Stream:
    """All records of /sys/fs/pstore or a systemd-pstore directory as one log."""
    files = [
        file for file in sorted(path.iterdir()) if file.is_file() and _PSTORE_FILE.match(file.name)
    ]
    if not files:
        raise UnreadableInputError(
            f"{path}: a directory without pstore records; name the log in it"
        )
    whole = bytearray()
    for file in files[:1000]:
        data = file.read_bytes()[:MAX_PSTORE_BYTES]
        if file.name.endswith(".z"):
            data = _inflate(data)
        ramoops = _RAMOOPS.match(data)
        if ramoops is not None:
            data = data[ramoops.end() :]
        # A part of a dump goes on in the next one, perhaps in the middle of a line.
        whole += data if data.endswith(b"\n") or _PART.match(data) else data + b"\n"
    data = bytes(whole)
    stream = Stream(str(path), io.BytesIO(data))
    return _reorder(str(path), stream) if _PART.match(data) else stream


def is_pstore_directory(path: Path) -> bool:
    """Does this directory hold the records of one machine's pstore?"""
    try:
        return any(_PSTORE_FILE.match(file.name) for file in path.iterdir())
    except OSError:
        return False
