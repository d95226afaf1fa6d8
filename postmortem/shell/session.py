"""One case with what a user has set on it, and the way a line takes through the shell."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import drgn
from drgn.commands import CommandError

from postmortem.budget import GivenUp, budget, room
from postmortem.dump.damage import damage
from postmortem.errors import PostmortemError, UsageError
from postmortem.render.clean import clean
from postmortem.shell import addresses, crash, structured, typed
from postmortem.shell.line import Line, expand, is_comment, parse

if TYPE_CHECKING:
    from postmortem.case import Case
    from postmortem.shell.command import Command
    from postmortem.shell.kdb import Kdb

Screen = Callable[[], contextlib.AbstractContextManager[IO[str]]]

BUILT_IN_ALIASES = {
    "man": "help", "?": "help", "quit": "exit", "q": "exit", "h": "history", "hex": "set radix 16",
    "dec": "set radix 10", "sf": "set scroll off", "sn": "set scroll on", "px": "p -x",
    "pd": "p -d", "gdb": "p", "g": "p", "for": "foreach", "dmesg": "log", "lsmod": "mod",
    "last": "ps -l", "size": "*",
}  # fmt: skip
"""What crash(8) has from the start."""

MINIMAL = frozenset({"log", "dis", "rd", "sym", "eval", "set", "exit", "help", "history", "alias",
                     "source", "ascii"})  # fmt: skip
"""As crash's ``--minimal`` has."""

_MAX_NESTED = 8
"""Scripts that run scripts."""
_MAX_SCRIPT_BYTES = 1 << 20
_LINE_BYTES = 4 << 30
"""Of memory, for a line that nobody can interrupt."""


class Exit(Exception):
    """The user leaves."""


@contextlib.contextmanager
def standard_output() -> Iterator[IO[str]]:
    """The screen of a shell that nobody sits in front of."""
    yield sys.stdout
    sys.stdout.flush()


@dataclass
class Session:
    """A shell: what it looks at, and what was typed so far."""

    case: Case
    screen: Screen = standard_output
    """Opened once a command; the prompt puts a pager behind it."""
    aliases: dict[str, str] = field(default_factory=dict)
    """The user's own, beside :data:`BUILT_IN_ALIASES`."""
    history: list[str] = field(default_factory=list)
    last: Any = None
    """What the last command gave back; ``_`` in Python."""
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    """Where the running command writes."""
    failed: int = 0
    """Lines that ended in an error."""
    minimal: bool = False
    """Only :data:`MINIMAL` is there: what wants no types of the kernel's."""
    kdb: Kdb | None = None
    """While it is entered lines are KDB's."""
    seconds: float | None = None
    """Of computing, that a line may take; ``None`` where somebody can interrupt it."""
    _nested: int = 0

    @property
    def prog(self) -> drgn.Program:
        return self.case.prog

    @property
    def commands(self) -> dict[str, Command]:
        """Our own, by name: built in ones and every plugin."""
        from postmortem.shell.command import commands_of

        return commands_of(self)

    @property
    def radix(self) -> int:
        """10 or 16: in which numbers are shown if nothing else is asked for."""
        return 16 if "16" in crash.said(self.prog, "set", "radix") else 10

    def context_pid(self) -> int | None:
        """Of the task that commands are about; ``None`` if there is none."""
        with contextlib.suppress(Exception):
            return int(crash.run(self.prog, "set", "", io.StringIO()).pid)
        return None

    def names(self) -> list[str]:
        """Every word that may begin a line."""
        theirs = crash.names(self.prog)
        return sorted({*self.commands, *theirs, *BUILT_IN_ALIASES, *self.aliases})

    # --- a line -----------------------------------------------------------------------

    def run(self, text: str) -> bool:
        """Run one typed line; whether it went well. Nothing a command does ends the shell.

        :raises Exit: the line was ``exit``.
        """
        if is_comment(text) and self.kdb is None:
            return True
        try:
            if self.kdb is not None:
                with self._limits():
                    self._in_kdb(self.kdb, text.strip())
                return True
            text = self._recalled(text.strip())
            self.history.append(text)
            if text.startswith("!"):
                return self._count(subprocess.run(text[1:], shell=True, check=False).returncode)
            with self._limits():
                self._run(parse(expand(text, {**BUILT_IN_ALIASES, **self.aliases})))
        except Exit:
            raise
        except KeyboardInterrupt:
            self._complain("interrupted")
            return self._count(1)
        except BrokenPipeError:
            return True  # the reader has seen enough
        except (PostmortemError, click.ClickException) as exc:
            told = exc.format_message() if isinstance(exc, click.ClickException) else str(exc)
            self._complain(told)
            return self._count(1)
        except GivenUp as exc:
            self._complain(f"{exc}; at a terminal it can go on")
            return self._count(1)
        except MemoryError:
            self._complain("given up: it wants more memory than there can be use for")
            return self._count(1)
        except damage() as exc:
            self._complain(_told(exc))
            return self._count(1)
        except (CommandError, LookupError, ValueError, SyntaxError, OSError) as exc:
            self._complain(_told(exc))
            return self._count(1)
        except Exception as exc:
            if os.environ.get("POSTMORTEM_DEBUG") == "1":
                raise
            self._complain(f"{type(exc).__name__}: {_told(exc)}")
            return self._count(1)
        return True

    def _in_kdb(self, kdb: Kdb, text: str) -> None:
        if text in ("exit", "quit", "q"):
            if kdb.only:
                raise Exit
            self.kdb = None
            return
        with self.screen() as out:
            before, self.out = self.out, out
            try:
                kdb.run(text)
            finally:
                self.out = before

    def run_script(self, file: Path) -> None:
        """Run a file of lines, as ``crash -i`` does.

        :raises UsageError: it can't be read.
        """
        if self._nested >= _MAX_NESTED:
            raise UsageError(f"{file}: scripts that run scripts, {_MAX_NESTED} deep")
        try:
            with file.open("rb") as opened:
                data = opened.read(_MAX_SCRIPT_BYTES + 1)
        except OSError as exc:
            raise UsageError(f"{file} can't be read: {exc.strerror or exc}") from None
        if len(data) > _MAX_SCRIPT_BYTES:
            raise UsageError(f"{file} is larger than any script")
        self._nested += 1
        try:
            for line in data.decode(errors="replace").splitlines():
                self.run(line)
        finally:
            self._nested -= 1

    def _count(self, status: int) -> bool:
        self.failed += status != 0
        return status == 0

    def _complain(self, text: str) -> None:
        print(clean(text), file=sys.stderr)

    def _recalled(self, text: str) -> str:
        """``!!``, ``r`` and ``r N``: a line that was typed before."""
        words = text.split()
        if words not in (["!!"], ["r"]) and (words[0] != "r" or len(words) != 2):
            return text
        if not self.history:
            raise UsageError("nothing was typed before")
        if len(words) == 1:
            return self.history[-1]
        if words[1].isdecimal():
            number = int(words[1][:9])
            if not 1 <= number <= len(self.history):
                raise UsageError(f"r {number}: the history has 1 to {len(self.history)}")
            return self.history[number - 1]
        for line in reversed(self.history):
            if line.startswith(words[1]):
                return line
        raise UsageError(f"r {words[1]}: no such line was typed before")

    # --- a command --------------------------------------------------------------------

    def _run(self, line: Line) -> None:
        following = typed.following(line)
        if following is not None:
            self._feed(line, following)
            return
        with self._output(line) as out:
            before, self.out = self.out, out
            try:
                for rest in self._rests(line):
                    self._dispatch(line.name, rest)
            finally:
                self.out = before

    @contextlib.contextmanager
    def _limits(self) -> Iterator[None]:
        """drgn's own walks follow damaged lists for ever, and nobody is there to interrupt them."""
        if self.seconds is None:
            yield
            return
        with budget(self.seconds), room(_LINE_BYTES):
            yield

    def _feed(self, line: Line, following: Line) -> None:
        """A pipe into a command of this shell: it runs on each thing that the first one names."""
        out = io.StringIO()
        before, self.out = self.out, out
        try:
            for rest in self._rests(line):
                if line.name == "foreach" and not typed.has_command(rest):
                    rest = f"{rest} set"
                self._dispatch(line.name, rest)
        finally:
            self.out = before
        self._feed_text(out.getvalue(), following)

    def _feed_text(self, text: str, following: Line) -> None:
        """As :meth:`_feed`, of what was printed already."""
        things = typed.things(text)
        if not things:
            raise UsageError(f"nothing came out that {following.name} could take")
        given = typed.arguments(self, following, things)
        nested = typed.following(following)
        if nested is not None:
            middle = io.StringIO()
            self._each(following.name, given, middle)
            self._feed_text(middle.getvalue(), nested)
            return
        with self._output(following) as out:
            self._each(following.name, given, out)

    def _each(self, name: str, given: Sequence[str], out: IO[str]) -> None:
        """Run a command once for each of its arguments; what fails is told."""
        before, self.out = self.out, out
        try:
            for rest in given:
                try:
                    self._dispatch(name, rest)
                except (UsageError, CommandError, LookupError, ValueError) as exc:
                    self._complain(f"{name} {rest}: {_told(exc)}")
                    self.failed += 1
                except damage() as exc:
                    self._complain(f"{name} {rest}: {_told(exc)}")
                    self.failed += 1
        finally:
            self.out = before

    def _rests(self, line: Line) -> list[str]:
        """The arguments, once for every line of ``< FILE``."""
        if line.input is None:
            return [line.rest]
        try:
            lines = Path(line.input).read_text(errors="replace").splitlines()
        except OSError as exc:
            raise UsageError(f"{line.input} can't be read: {exc.strerror or exc}") from None
        return [f"{line.rest} {given}".strip() for given in lines if not is_comment(given)]

    def _dispatch(self, name: str, rest: str) -> None:
        if self.minimal and name not in MINIMAL:
            raise UsageError(f"{name}: with --minimal there are {', '.join(sorted(MINIMAL))}")
        command = self.commands.get(name)
        if command is not None:
            self.last = command.run(self, rest)
        elif name in crash.names(self.prog):
            if name in addresses.COMMANDS:
                rest = addresses.addressed(self.prog, name, rest)
            plain = structured.without_flag(rest) if name in structured.LISTING else None
            if plain is not None:
                self.last = structured.run(self.prog, name, plain, self.out)
                return
            self.last = crash.run(self.prog, name, rest, self.out)
        else:
            self._implied(name, rest)

    def _implied(self, name: str, rest: str) -> None:
        """A word that is no command: a variable, then a type, as crash takes it."""
        whole = f"{name} {rest}".strip()
        if name in ("struct", "union"):
            raise UsageError(f"{name} what?")
        if self._is_value(name):
            self.last = self.commands["p"].run(self, whole)
        elif _is_type(self.prog, name.split(".")[0]):
            self.last = crash.run(self.prog, "*", whole, self.out)
        else:
            near = difflib.get_close_matches(name, self.names(), 3)
            more = f"; did you mean {' or '.join(near)}?" if near else "; help lists them"
            raise UsageError(f"no command, variable or type {name!r}{more}")

    def _is_value(self, name: str) -> bool:
        word = name.split(".")[0].split("->")[0].split("[")[0].split(":")[0].lstrip("&*(")
        try:
            self.prog.symbol(word)
        except LookupError:
            return False
        return True

    @contextlib.contextmanager
    def _output(self, line: Line) -> Iterator[IO[str]]:
        if line.output is not None and line.pipe is None:
            try:
                with Path(line.output).open("a" if line.append else "w") as file:
                    yield file
            except OSError as exc:
                raise UsageError(f"{line.output} can't be written: {exc.strerror or exc}") from None
        elif line.pipe is not None:
            with _piped(line.pipe) as file:
                yield file
        else:
            with self.screen() as file:
                yield file


@contextlib.contextmanager
def _piped(pipe: str) -> Iterator[IO[str]]:
    """Standard input of a line of the user's own shell."""
    sys.stdout.flush()
    process = subprocess.Popen(pipe, shell=True, stdin=subprocess.PIPE, text=True, errors="replace")
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


def _is_type(prog: drgn.Program, name: str) -> bool:
    for text in (f"struct {name}", f"union {name}", name):
        with contextlib.suppress(LookupError, SyntaxError):
            prog.type(text)
            return True
    return False


def _told(exc: BaseException) -> str:
    if isinstance(exc, KeyError) and exc.args:
        return str(exc.args[0])
    return " ".join(str(exc).split()) or type(exc).__name__


def run_all(session: Session, lines: Sequence[str]) -> None:
    """Run lines one by one; ``exit`` among them ends them."""
    with contextlib.suppress(Exit):
        for line in lines:
            session.run(line)
