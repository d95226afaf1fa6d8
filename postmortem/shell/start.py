"""Start a shell: at a terminal, or over lines that are already written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from postmortem.case import Case
from postmortem.errors import EXIT_LIMITED, EXIT_OK, UsageError
from postmortem.shell.session import Exit, Session


def start(
    case: Case,
    *,
    lines: Sequence[str] = (),
    script: str | None = None,
    silent: bool = False,
    rc: bool = True,
) -> int:
    """Run a shell over ``case``; its exit status: 1 if a line that was written failed.

    :raises UsageError: the input has no memory, or its types can't be read.
    """
    if case.dump is None:
        raise UsageError(
            f"{case.input.path} is a log: the shell looks at memory; postmortem analyze reads logs"
        )
    if not case.dump.has_types:
        why = next((p.why for p in case.problems if p.what == "types"), "no types were found")
        raise UsageError(f"the shell needs the kernel's types: {why}; --vmlinux FILE gives them")
    session = Session(case)
    _settle(session)
    try:
        if script is not None:
            session.run_script(Path(script))
        for line in lines:
            session.run(line)
        if not lines:
            _read(session, silent=silent or script is not None, rc=rc)
    except Exit:
        pass
    return EXIT_LIMITED if session.failed and not _at_terminal() else EXIT_OK


def _read(session: Session, *, silent: bool, rc: bool) -> None:
    if not _at_terminal():
        for line in sys.stdin:
            session.run(line)
        return
    from postmortem.shell.prompt import interact

    if not silent:
        session.run("sys")
        session.history.clear()
        print("\nanalyze says what broke; help lists the commands\n")
    interact(session, rc=rc)


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _settle(session: Session) -> None:
    """A machine that did not panic has no panic task: look at what CPU 0 runs, as crash does."""
    if session.context_pid() is None:
        session.run("set -c 0 > /dev/null")
        session.history.clear()
        session.failed = 0
