"""A line typed at KDB's prompt: the command's name, a pipe into grep, what is refused."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell.kdb import machine, memory, registers, stacks, tasks
from postmortem.shell.kdb.state import MAX_LINES, State, number
from postmortem.shell.kdb.usage import REFUSED, USAGE


@dataclass(kw_only=True)
class Kdb(State):
    """A KDB over one session."""

    only: bool = False
    """There is no other shell to go back to."""
    last: str = ""
    """The line that an empty one repeats."""

    @property
    def prompt(self) -> str:
        text = self.env.get("PROMPT", "kdb> ")
        return text.replace("%d", str(self.cpu))

    def run(self, text: str) -> None:
        """Run one line and write what it prints.

        :raises UsageError: KDB would not have taken it, or it changes the machine.
        """
        line, pattern = _filtered(text.strip() or self.last)
        words = shlex.split(line)
        if not words:
            return
        self.last = text.strip() or self.last
        name, arguments = words[0], words[1:]
        if name in REFUSED:
            raise UsageError(f"{name}: {REFUSED[name]} can't be changed: this is a dump")
        command = _command(name)
        out = io.StringIO()
        for count, each in enumerate(command(self, name, arguments)):
            if count >= MAX_LINES:
                out.write(f"more than {MAX_LINES} lines\n")
                break
            out.write("\n".join(clean(part) for part in each.split("\n")) + "\n")
        lines = out.getvalue().splitlines()
        for each in lines if pattern is None else _matching(lines, pattern):
            self.session.out.write(each + "\n")


Command = Callable[[State, str, list[str]], Iterator[str]]


def _command(name: str) -> Command:
    if re.fullmatch(r"md(?:[sp]|[1248](?:c\d{1,6})?)?", name):
        return memory.md
    if name not in _COMMANDS:
        raise UsageError(f"Unknown kdb command: '{name}'")
    return _COMMANDS[name]


def _env(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    for key, value in kdb.env.items():
        yield f"{key}={value}"


def _set(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    text = " ".join(words)
    key, equals, value = text.partition("=")
    if not equals:
        key, _, value = text.partition(" ")
    if not re.fullmatch(r"\w{1,32}", key) or not value:
        raise UsageError("set: NAME=VALUE is wanted")
    if key in ("RADIX", "MDCOUNT", "BYTESPERWORD"):
        number(value)
    kdb.env[key] = value[:128]
    return iter(())


def _help(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    yield f"{'Command':<15} {'Usage':<20} Description"
    yield "-" * 58
    for command, usage, text in USAGE:
        space = f"\n{' ' * 36}" if len(usage) > 20 else ""
        yield f"{command:<15.15} {usage:<20}{space}{text}"


def _grephelp(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    yield "Usage of  cmd args | grep pattern:"
    yield "  Any command's output may be filtered through an emulated 'pipe'."
    yield "  'grep' is just a key word."
    yield "  The pattern may include a very limited set of metacharacters:"
    yield "   pattern or ^pattern or pattern$ or ^pattern$"
    yield "  And if there are spaces in the pattern, you may quote it:"
    yield '   "pat tern" or "^pat tern" or "pat tern$" or "^pat tern$"'


_COMMANDS: Mapping[str, Command] = {
    "mdr": memory.mdr, "per_cpu": memory.per_cpu, "per": memory.per_cpu,
    "rd": registers.rd, "ef": registers.ef,
    "bt": stacks.bt, "btp": stacks.btp, "btt": stacks.btt, "bta": stacks.bta, "btc": stacks.btc,
    "ps": tasks.ps, "pid": tasks.pid, "cpu": tasks.cpu,
    "lsmod": machine.lsmod, "sr": machine.sr, "dmesg": machine.dmesg, "ftdump": machine.ftdump,
    "summary": machine.summary, "summ": machine.summary,
    "env": _env, "set": _set, "help": _help, "?": _help, "h": _help, "grephelp": _grephelp,
}  # fmt: skip


def _filtered(text: str) -> tuple[str, str | None]:
    """A line and the pattern behind ``| grep``; any other pipe KDB does not know."""
    line, pipe, behind = text.partition("|")
    if not pipe:
        return text, None
    words = behind.split(maxsplit=1)
    if not words or words[0] != "grep" or len(words) < 2:
        raise UsageError("invalid 'pipe', see grephelp")
    return line, words[1].strip().strip('"')


def _matching(lines: list[str], pattern: str) -> list[str]:
    """Lines with the pattern in them; ``^`` and ``$`` bind it to an end."""
    first, last = pattern.startswith("^"), pattern.endswith("$")
    text = pattern.removeprefix("^").removesuffix("$")
    return [
        line
        for line in lines
        if text in line
        and (not first or line.startswith(text))
        and (not last or line.endswith(text))
    ]
