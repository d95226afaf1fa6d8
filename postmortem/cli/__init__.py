"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell says it."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and leave with its exit status."""
    try:
        _open_standard_files()
        from postmortem.cli.root import run

        status = run(args)
    except KeyboardInterrupt:  # while the modules are loaded: nothing is begun yet
        status = EXIT_INTERRUPTED
    _leave(status)


def _leave(status: int) -> NoReturn:
    """As ``sys.exit``, without taking apart a program and all its objects one by one."""
    from postmortem.steps import is_supervised

    if is_supervised() and threading.active_count() == 1:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _open_standard_files() -> None:
    """Where the caller has closed one of the three, it is /dev/null.

    Otherwise a dump would be opened in its place, and what is printed be written there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
