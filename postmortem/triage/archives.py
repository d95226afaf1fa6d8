"""Archives of dumps and logs: tar, also compressed, and zip.

They are unpacked below a private temporary folder, within limits. Only regular files come out, each
below that folder: no link, no device, no name that leads elsewhere. What is left out is said.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from postmortem.errors import UnreadableInputError
from postmortem.inputs.compressed import detect
from postmortem.inputs.unpack import DamagedError, unpack

MAX_MEMBERS = 20_000
MAX_BYTES = 1 << 38
"""256 GiB come out of one archive at most; the free space of the disk ends it sooner."""
MAX_RATIO, RATIO_BYTES = 1000, 1 << 30
"""An archive that gives more than both, measured by its own size, is a bomb."""
_KEEP_FREE = 1 << 30
_BLOCK = 1 << 20
_NAME = 200
"""Bytes of a folder's or a file's name that every file system takes."""
_TAR = 257
"""Where ``ustar`` stands in the first block."""

PREFIX = "postmortem-triage-"


def is_archive(path: str) -> bool:
    """Whether a file is an archive, by its first bytes; also of a compressed one."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            head = file.read(1024)
            if head.startswith(b"PK\3\4"):
                return True
            name = detect(head)
            if name is None or name in ("lz4", "lzop"):
                return _is_tar(head)
            file.seek(0)
            return _is_tar(_first(name, file))
    except (OSError, ValueError):
        return False


def _is_tar(head: bytes) -> bool:
    return head[_TAR : _TAR + 5] == b"ustar" and tarfile_checks(head)


def tarfile_checks(head: bytes) -> bool:
    """The sum of a header's bytes is written in it (POSIX ustar)."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _first(name: str, file: IO[bytes]) -> bytes:
    out = b""
    with suppress(DamagedError):
        for piece in unpack(name, file.read):
            out += piece
            if len(out) >= 512:
                break
    return out[:512]


@contextmanager
def private_folder() -> Iterator[str]:
    """A folder that only this user can look into, gone afterwards; those of dead runs go, too."""
    base = Path(os.environ.get("TMPDIR") or "/var/tmp")
    with suppress(OSError):
        for old in base.glob(f"{PREFIX}*"):
            _remove_dead(old)
    try:
        folder = tempfile.mkdtemp(
            prefix=f"{PREFIX}{os.getpid()}-", dir=base if base.is_dir() else None
        )
    except OSError as error:
        raise UnreadableInputError(
            f"there is no temporary folder to unpack in ({error.strerror}): set TMPDIR"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_dead(folder: Path) -> None:
    number = folder.name[len(PREFIX) :].partition("-")[0]
    status = folder.lstat()
    if not number.isdigit() or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return
    if not Path(f"/proc/{int(number)}").exists():
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Unpacked:
    """What came out of an archive."""

    members: int = 0
    bytes: int = 0
    left_out: int = 0
    """Links, devices, names that lead elsewhere."""
    broken: str | None = None
    """Why not all came out."""


class _Enough(Exception):
    """A limit was met; the sentence says which."""


class _Member(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpack_all(path: str, folder: str) -> Unpacked:
    """Everything that is worth it, below ``folder``."""
    found = Unpacked()
    try:
        with Path(path).open("rb") as file:
            packed = os.fstat(file.fileno()).st_size
            limit = _Limit(found, packed, folder)
            head = file.read(4)
            file.seek(0)
            (_zip if head == b"PK\3\4" else _tar)(file, folder, limit)
    except _Enough as enough:
        found.broken = str(enough)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, DamagedError, EOFError) as error:
        found.broken = f"it is damaged: {str(error)[:200] or type(error).__name__}"
    except (NotImplementedError, RuntimeError, ValueError) as error:  # encrypted, unknown method
        found.broken = f"it can't be unpacked: {str(error)[:200]}"
    except OSError as error:
        found.broken = f"it can't be unpacked: {error.strerror or error}"
    return found


class _Limit:
    """Counts what comes out."""

    def __init__(self, found: Unpacked, packed: int, folder: str) -> None:
        self.found = found
        self._packed = max(packed, 1)
        self._room = max(0, shutil.disk_usage(folder).free - _KEEP_FREE)

    def member(self) -> None:
        self.found.members += 1
        if self.found.members > MAX_MEMBERS:
            raise _Enough(f"it holds more than {MAX_MEMBERS} files: unpack it yourself")

    def add(self, size: int) -> None:
        self.found.bytes += size
        if self.found.bytes > min(MAX_BYTES, self._room):
            raise _Enough("there is no room for all that is in it: set TMPDIR to a larger disk")
        if self.found.bytes > RATIO_BYTES and self.found.bytes > MAX_RATIO * self._packed:
            raise _Enough(f"it gives more than {MAX_RATIO} times its size: no archive of crashes")


def _tar(file: IO[bytes], folder: str, limit: _Limit) -> None:
    name = detect(file.read(16))
    file.seek(0)
    stream: IO[bytes] = file if name is None else io.BufferedReader(_Stream(name, file), _BLOCK)
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=1) as archive:
        for member in archive:
            limit.member()
            target = _target(folder, member.name)
            content = archive.extractfile(member) if member.isreg() else None
            if target is None or content is None:
                limit.found.left_out += not member.isdir()
                continue
            _write(target, content, limit)


def _zip(file: IO[bytes], folder: str, limit: _Limit) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            limit.member()
            target = _target(folder, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was not made on Unix
            if target is None or member.is_dir() or kind not in (0, stat.S_IFREG):
                limit.found.left_out += not member.is_dir()
                continue
            with archive.open(member) as content:
                _write(target, content, limit)


class _Stream(io.RawIOBase):
    """A compressed file as what is in it."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._pieces = unpack(name, file.read)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _target(folder: str, name: str) -> Path | None:
    """Where a member goes; ``None`` if its name leads out of the folder or is none."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or name.startswith("/") or "\0" in name or len(parts) > 60:
        return None
    short = [os.fsencode(part)[:_NAME] for part in parts]
    return Path(os.fsdecode(b"/".join([os.fsencode(folder), *short])))


def _write(target: Path, content: _Member, limit: _Limit) -> None:
    """A new file; zeros become a hole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except OSError as error:
        if error.errno in (28, 122):  # no space, over quota
            raise
        limit.found.left_out += 1  # twice the same name, or a file where a folder should be
        return
    with file:
        while block := content.read(_BLOCK):
            limit.add(len(block))
            if block.count(0) == len(block):
                file.seek(len(block), os.SEEK_CUR)
            else:
                file.write(block)
        file.truncate(file.tell())


def shown_problem(name: str, found: Unpacked) -> str | None:
    """One sentence about what did not come out; ``None`` if all did."""
    if found.broken is not None:
        return f"{found.members} files came out of it, then it ended: {found.broken}"
    if found.left_out:
        return f"{found.left_out} links or odd names in it were left out"
    return None
