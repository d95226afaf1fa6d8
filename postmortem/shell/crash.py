"""The commands of crash(8) that drgn has, through its public ``%crash`` command."""

from __future__ import annotations

import contextlib
import io
from typing import IO, Any

import drgn

from postmortem.render.clean import clean


def names(prog: drgn.Program) -> frozenset[str]:
    """Which commands drgn has for a kernel, read from its own help."""
    if not _known:
        listed = said(prog, "help").partition("\n\n")[0]
        # The first line is the heading.
        _known.update(set(listed.split("\n", 1)[-1].split()) - {"exit", "q", "help"})
    return frozenset(_known)


_known: set[str] = set()


def run(prog: drgn.Program, name: str, rest: str, out: IO[str]) -> Any:
    """Run one of them and write what it prints to ``out``; what it gives back.

    Text of the dump in it is made harmless: it comes from a machine that died.

    :raises drgn.commands.CommandError: wrong arguments.
    """
    import drgn.commands._crash  # noqa: F401 - registers the command; there is no public way
    from drgn.commands import run_command

    from postmortem.shell.mended import mend

    mend()
    with contextlib.redirect_stdout(_Cleaned(out)) as cleaned:
        try:
            return run_command(prog, f"crash {name} {rest}".rstrip(), globals={"prog": prog})
        finally:
            cleaned.end()


def said(prog: drgn.Program, name: str, rest: str = "") -> str:
    """What a command prints."""
    out = io.StringIO()
    run(prog, name, rest, out)
    return out.getvalue()


class _Cleaned(io.TextIOBase):
    """Passes whole lines on, without what could move a cursor. Has no file descriptor:
    drgn then starts no pager of its own.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        whole, newline, rest = text.rpartition("\n")
        if not newline:
            self._rest += text
            return len(text)
        for line in (self._rest + whole).split("\n"):
            self._out.write("\t".join(map(clean, line.split("\t"))) + "\n")
        self._rest = rest
        return len(text)

    def end(self) -> None:
        """Write the line that was begun."""
        if self._rest:
            self._out.write(clean(self._rest))
            self._rest = ""
