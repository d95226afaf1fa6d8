"""Where a command writes: standard output, or a file that is whole or untouched."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.steps import printing


class ReaderLeft(Exception):
    """Nobody reads our output any more. Not an OSError, which click would handle itself."""


def check_output(output: str | None, inputs: Iterable[str | None]) -> None:
    """Refuse to write over what is read, by whatever name it is called.

    :raises UsageError: ``output`` is one of the ``inputs``.
    """
    if output is None or output == "-":
        return
    for name in inputs:
        if name is None or name == "-":
            continue
        with contextlib.suppress(OSError, ValueError):
            found = Path(name).stat()
            if os.path.samestat(found, Path(output).stat()) and _is_kept(found):
                same = "" if name == output else f" is the same file as {name}:"
                raise UsageError(
                    f"-o {output}:{same} that would overwrite the input; choose another name"
                )


def _is_kept(found: os.stat_result) -> bool:
    """Whether writing to it destroys something: a terminal or a pipe can be both ends."""
    return stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)


@contextlib.contextmanager
def open_output(output: str | None = None) -> Iterator[IO[str]]:
    """Standard output, or the file ``output``, which is there when all of it is written."""
    printing()
    try:
        if output is None or output == "-":
            yield sys.stdout
            sys.stdout.flush()
        else:
            with _whole_file(Path(output)) as file:
                yield file
    except BrokenPipeError as exc:
        silence_stdout()
        raise ReaderLeft from exc
    except OSError as exc:
        if output is None:
            silence_stdout()
        name = output or "standard output"
        raise UsageError(f"{name} can't be written: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[str]]:
    """Written beside its place and then put there: on any failure the old file stays."""
    target = Path(os.path.realpath(path))  # a link stays a link
    mode = _mode(target)
    if mode is not None and not stat.S_ISREG(mode):
        with target.open("w", encoding="utf-8") as file:  # a pipe, a terminal, /dev/null
            yield file
        return
    beside = _unfinished(target, os.getpid())
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except PermissionError:
        if mode is None:
            raise
        # The file may be written though its folder may not.
        with target.open("w", encoding="utf-8") as file:
            yield file
        return
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            if mode is not None:
                os.fchmod(fd, stat.S_IMODE(mode))
            yield file
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _unfinished(target: Path, pid: int) -> Path:
    return target.with_name(f".{target.name[:200]}.{pid}.part")


def discard(output: str, pid: int) -> None:
    """Remove what a process that died has begun to write."""
    with contextlib.suppress(OSError):
        _unfinished(Path(os.path.realpath(output)), pid).unlink()


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def complain(text: str) -> None:
    """One sentence for the user on standard error."""
    with contextlib.suppress(OSError):
        print(f"postmortem: {clean(text)}", file=sys.stderr)


def silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing loudly."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
