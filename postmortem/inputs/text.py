"""From files, directories and pipes to one stream of lines, whatever wrapped them.

Reads through compression, puts the pieces of pstore and netconsole in order, and
never holds more than a window of the input.
"""

from __future__ import annotations

import io
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from postmortem.errors import UnreadableInputError
from postmortem.inputs.encodings import decoded
from postmortem.inputs.unpack import DamagedError, unpack

CHUNK_BYTES = 1 << 18
BOMB_BYTES, BOMB_RATIO = 1 << 30, 1000
"""A compressed log that gives more than both is made to keep its reader busy."""
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
    problems: tuple[tuple[str, str], ...] = ()
    whole_bytes: int = 0
    """Size of the (compressed) file, 0 where that is not known."""

    def chunks(self) -> Iterator[bytes]:
        """The text in pieces. A damaged end is a problem, not an exception."""
        return decoded(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        size = lines = 0
        packed = isinstance(self.file, _Unpacked)  # only these may break off
        while True:
            try:
                chunk = self.file.read(CHUNK_BYTES)
            except DamagedError as error:
                self._breaks_off(str(error), size, lines)
                return
            except (OSError, ValueError) as error:
                self.problems += (("read to the end", f"{type(error).__name__}: {error}"),)
                return
            if not chunk:
                return
            size += len(chunk)
            lines += chunk.count(b"\n") if packed else 0
            yield chunk

    def _breaks_off(self, why: str, size: int, lines: int) -> None:
        """Say how much there is, and where the rest would be."""
        unread = "how much is not known"
        if isinstance(self.file, _Unpacked) and self.file.consumed < self.whole_bytes:
            left = self.whole_bytes - self.file.consumed
            unread = f"{left:,} of its {self.whole_bytes:,} compressed bytes were not used"
        missing = f"what the kernel printed after that is missing ({unread})"
        self.problems += (
            (
                "read the whole log",
                f"{why}: {size:,} bytes came out, up to line {lines + 1:,}; {missing},"
                " and the cause may be there",
            ),
        )


def open_source(path: str | Path, content: bytes | Readable | None = None) -> Stream:
    """Open a log for reading; ``-`` is standard input.

    :param content: bytes, or a pipe, to read instead of the file.
    :raises UnreadableInputError: the file is missing or may not be read.
    """
    name = str(path)
    try:
        if content is not None:
            file: Readable = io.BytesIO(content) if isinstance(content, bytes) else content
        elif name == "-":
            file = sys.stdin.buffer
        elif Path(path).is_dir():
            return _open_pstore_directory(Path(path))
        else:
            file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - the stream owns it
    except OSError as error:
        raise UnreadableInputError(f"{name}: {error.strerror or error}") from error
    try:
        head = file.read(4096) or b""
    except OSError as error:
        raise UnreadableInputError(f"{name}: {error.strerror or error}") from error
    stream = Stream(name, _Rest(head, file))
    packed = _compression(head, name)
    if packed == "lz4":
        why = "it is compressed with lz4: decompress it first"
        return Stream(name, io.BytesIO(), problems=(("read as a log", why),))
    if packed:
        stream = Stream(name, _decompress(packed, stream.file), whole_bytes=_size_of(path))
        head = stream.file.peek() if isinstance(stream.file, _Unpacked) else b""
    if head.startswith(_DUMPS):
        why = "it is a memory dump: postmortem analyze reads those"
        return Stream(name, io.BytesIO(), problems=(("read as a log", why),))
    if _PART.match(head):
        return _reorder(name, stream)
    return stream


def _size_of(path: str | Path) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


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
    if kind == "zlib":
        data = b"".join(iter(lambda: file.read(CHUNK_BYTES) or b"", b""))
        return io.BytesIO(_inflate(data[:MAX_PSTORE_BYTES]))
    return _Unpacked(kind, file)


class _Unpacked:
    """What is inside a compressed file, up to where it is damaged."""

    def __init__(self, kind: str, file: Readable) -> None:
        self.consumed = 0
        """Compressed bytes read so far."""
        self._produced = 0
        self._source = file
        self._pieces = unpack(kind, self._read)
        self._ready = b""
        self._damage: DamagedError | None = None

    def _read(self, size: int) -> bytes:
        data = self._source.read(size) or b""
        self.consumed += len(data)
        return data

    def peek(self) -> bytes:
        """The first bytes, which stay to be read."""
        try:
            self._ready = self.read(CHUNK_BYTES)
        except DamagedError:
            self._ready = b""  # raised again when somebody reads
        return self._ready

    def read(self, size: int = -1, /) -> bytes:
        """About ``size`` bytes; the damage is raised when nothing before it is left."""
        found, self._ready = [self._ready], b""
        length = len(found[0])
        while length < max(size, 1) and self._damage is None:
            try:
                piece = next(self._pieces, None)
            except DamagedError as error:
                self._damage = error
                break
            if piece is None:
                break
            found.append(piece)
            length += len(piece)
            self._produced += len(piece)
            if self._produced > max(BOMB_BYTES, BOMB_RATIO * self.consumed):
                self._damage = DamagedError(
                    f"the data expands to more than {BOMB_RATIO} times its size, as no log does"
                )
        if not length and self._damage is not None:
            raise self._damage
        return b"".join(found)


def _inflate(data: bytes) -> bytes:
    for bits in (-15, 15):
        engine = zlib.decompressobj(bits)
        try:
            return engine.decompress(data, MAX_PSTORE_BYTES)
        except zlib.error:
            continue
    return data


# --- pstore: pieces of the log, newest text first -------------------------------------

# head and tail write a line with the name before each of several files, and a newline before it.
_PART = re.compile(
    rb"(?:\n?==> [^\n]{1,300} <==\r?\n)?"
    rb"(?:Panic|Oops|Emergency|Emerg|Restart|Reboot|Halt|Poweroff|Shutdown|Unknown)"
    rb"#(?P<count>\d{1,9}) Part ?(?P<part>\d{1,9})\r?\n"
)
_RAMOOPS = re.compile(rb"====\d+\.\d+(?:-[CD])?\n")
_PSTORE_FILE = re.compile(r"(?:dmesg|console)-[a-z]+[\w.-]*-(?P<id>\d+)(?:\.enc\.z)?$|dmesg\.txt$")


def _reorder(name: str, stream: Stream) -> Stream:
    """Parts of a dump in one file, back into the order of writing; so are its lines counted."""
    data = b"".join(stream.chunks())[:MAX_PSTORE_BYTES]
    matches = list(_PART.finditer(data))
    ends = [*(match.start() for match in matches[1:]), len(data)]
    pieces = sorted(
        (int(match["count"]), -int(match["part"]), match.end(), end)
        for match, end in zip(matches, ends, strict=True)
    )
    # A record is cut where its size is used up, mid-line: the next one goes on there.
    joined = b"".join(data[start:end] for _, _, start, end in pieces)
    return Stream(name, io.BytesIO(joined), problems=stream.problems)


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
