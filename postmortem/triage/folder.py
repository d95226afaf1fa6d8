"""A folder that pages are written to, and nothing outside of it.

Every step goes by an open folder and follows no link, so that what somebody puts there while
we write leads nowhere. A page is written beside its place and then put there: who reads
meanwhile sees the old one or the new one, whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from types import TracebackType

from postmortem.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,80}")
"""What a page or a folder of pages may be called: never a path."""


class Folder:
    """An open folder for pages; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """:raises UsageError: it can't be made or opened."""
        self._path = path
        self._subfolders: dict[str, int] = {}
        self.written = 0
        """Pages that were new or changed."""
        self.same = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._wrong("", error) from error

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd in (*self._subfolders.values(), self._fd):
            os.close(fd)

    def write(self, name: str, text: str) -> None:
        """Put a page there: ``index.html``, ``bucket/0123.html``; as it is if it is the same.

        :raises UsageError: it can't be written.
        """
        *above, last = name.split("/")
        if len(above) > 1 or not all(map(_NAME.fullmatch, (*above, last))):
            raise ValueError(f"{name!r} is no name of a page")
        data = text.encode("utf-8", "replace")
        try:
            fd = self._subfolder(above[0]) if above else self._fd
            if _content(fd, last, len(data)) == data:
                self.same += 1
                return
            _put(fd, last, data)
            self.written += 1
        except OSError as error:
            raise self._wrong(name, error) from error

    def _subfolder(self, name: str) -> int:
        if name not in self._subfolders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o777, dir_fd=self._fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._subfolders[name] = os.open(name, flags, dir_fd=self._fd)
        return self._subfolders[name]

    def _wrong(self, name: str, error: OSError) -> UsageError:
        return UsageError(f"{self._path / name} can't be written: {error.strerror or error}")


def _content(folder: int, name: str, size: int) -> bytes | None:
    """What is there already, if it is a file of that size."""
    try:
        fd = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder
        )
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read() if os.fstat(fd).st_size == size else None


def _put(folder: int, name: str, data: bytes) -> None:
    beside = f".{name}.{os.getpid()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):  # of a process with our number that was killed
        os.unlink(beside, dir_fd=folder)
    fd = os.open(beside, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise
