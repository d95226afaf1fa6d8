"""Start a shell: at a terminal, or over lines that are already written."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from postmortem.case import Case
from postmortem.errors import EXIT_LIMITED, EXIT_OK, UsageError
from postmortem.shell.session import Exit, Session

_LINE_SECONDS = 300.0
"""Of computing, for a line that nobody can interrupt."""
_BYTES_A_SECOND = 5 << 20
"""Of the dump, so that there is time to search a large one."""


@dataclass(frozen=True)
class Start:
    """How a shell is started."""

    lines: tuple[str, ...] = ()
    """Run, and then it ends."""
    script: str | None = None
    """A file whose lines are run first."""
    silent: bool = False
    rc: bool = True
    minimal: bool = False
    """Only commands that want no types of the kernel's."""
    scroll: bool = True
    kdb: bool = False
    """KDB's commands instead of crash's."""


def start(case: Case, how: Start) -> int:
    """Run a shell over ``case``; its exit status: 1 if a line that was written failed.

    :raises UsageError: the input has no memory, or its types can't be read.
    """
    if case.dump is None:
        raise UsageError(
            f"{case.input.path} is a log: the shell looks at memory; postmortem analyze reads logs"
        )
    if not case.dump.has_types and not how.minimal:
        why = next((p.why for p in case.problems if p.what == "types"), "no types were found")
        raise UsageError(
            f"the shell needs the kernel's types: {why}; --vmlinux FILE gives them,"
            " --minimal does without"
        )
    session = Session(case, minimal=how.minimal)
    if not _at_terminal():
        session.seconds = max(_LINE_SECONDS, (case.input.size or 0) / _BYTES_A_SECOND)
    if not how.minimal:
        _settle(session, scroll=how.scroll)
    if how.kdb:
        from postmortem.shell.kdb import Kdb

        session.kdb = Kdb(session=session, only=True)
    try:
        if how.script is not None:
            session.run_script(Path(how.script))
        for line in how.lines:
            session.run(line)
        if not how.lines:
            _read(session, how)
    except Exit:
        pass
    return EXIT_LIMITED if session.failed and not _at_terminal() else EXIT_OK


def _read(session: Session, how: Start) -> None:
    if not _at_terminal():
        for line in sys.stdin:
            session.run(line)
        return
    from postmortem.shell.prompt import interact

    if not how.silent and how.script is None:
        if session.kdb is not None:
            print(session.kdb.entering())
        else:
            _greet(session, minimal=how.minimal)
    interact(session, rc=how.rc)


def _greet(session: Session, *, minimal: bool) -> None:
    if not minimal:
        session.run("sys")
    session.history.clear()
    print("\nanalyze says what broke; help lists the commands\n")


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _settle(session: Session, *, scroll: bool) -> None:
    """A machine that did not panic has no panic task: look at what CPU 0 runs, as crash does."""
    if not scroll:
        session.run("set scroll off > /dev/null")
    if session.context_pid() is None:
        session.run("set -c 0 > /dev/null")
    session.history.clear()
    session.failed = 0
