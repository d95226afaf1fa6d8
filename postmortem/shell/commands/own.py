"""The shell's own affairs: help, aliases, history, Python."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.command import command
from postmortem.shell.session import BUILT_IN_ALIASES, Exit

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_REPEATS = 10_000


@command("help", "shell")
@click.argument("name", required=False)
def help_(session: Session, name: str | None) -> None:
    """List the commands by topic, or tell all about one."""
    if name is None:
        _list(session)
        return
    name = session.aliases.get(name, BUILT_IN_ALIASES.get(name, name)).split()[0]
    found = session.commands.get(name)
    if found is not None:
        session.out.write(found.help() + "\n")
    elif name in crash.names(session.prog):
        crash.run(session.prog, "help", name, session.out)
    else:
        raise UsageError(f"there is no command {name!r}; help lists them")


def _list(session: Session) -> None:
    topics: dict[str, list[str]] = {}
    ours = session.commands
    for found in ours.values():
        topics.setdefault(found.topic, []).append(found.name)
    topics["as in crash"] = sorted(crash.names(session.prog) - set(ours))
    for topic in sorted(topics, key=lambda topic: (topic == "as in crash", topic)):
        session.out.write(f"{topic}:\n")
        _columns(session, sorted(topics[topic]))
    session.out.write(
        "\nA variable's or type's name shows it; !CMD runs a program, | pipes into one.\n"
        "help NAME tells all about a command.\n"
    )


def _columns(session: Session, names: list[str], per_line: int = 6) -> None:
    for start in range(0, len(names), per_line):
        row = "".join(f"{name:<12}" for name in names[start : start + per_line])
        session.out.write(f"  {row.rstrip()}\n")


@command("exit", "shell")
def exit_(session: Session) -> None:
    """Leave the shell."""
    raise Exit


@command("alias", "shell")
@click.argument("name", required=False)
@click.argument("text", nargs=-1)
def alias(session: Session, name: str | None, text: tuple[str, ...]) -> None:
    """Show aliases, or let NAME stand for TEXT; an empty TEXT ends it.

    In quotes TEXT may hold a pipe: alias stuck "ps -m | grep UN".
    """
    if name is None:
        for word, meaning in sorted({**BUILT_IN_ALIASES, **session.aliases}.items()):
            session.out.write(f"{clean(word):<8} {clean(meaning)}\n")
    elif not text:
        meaning = session.aliases.get(name, BUILT_IN_ALIASES.get(name, ""))
        if not meaning:
            raise UsageError(f"there is no alias {name!r}")
        session.out.write(f"{clean(name):<8} {clean(meaning)}\n")
    elif text == ("",):
        session.aliases.pop(name, None)
    elif name in session.commands:
        raise UsageError(f"{name} is a command; an alias would hide it")
    else:
        session.aliases[name] = " ".join(text)


@command("history", "shell")
def history(session: Session) -> None:
    """List what was typed; r N runs one of it again, !! the last."""
    for number, line in enumerate(session.history, 1):
        session.out.write(f"[{number}] {clean(line)}\n")


@command("repeat", "shell", raw=True)
@click.option("-s", "--seconds", type=float, default=1.0, help="Seconds between two runs.")
@click.argument("line")
def repeat(session: Session, seconds: float, line: str) -> None:
    """Run a line again and again until Ctrl-C: on a running machine."""
    if not session.case.input.kind.startswith("kcore"):
        raise UsageError("a dump does not change: repeat is for a running machine")
    for _ in range(_MAX_REPEATS):
        session.run(line)
        time.sleep(max(0.1, seconds))


@command("source", "shell")
@click.argument("file")
def source(session: Session, file: str) -> None:
    """Run the lines of FILE, as the option -i does."""
    session.run_script(Path(file).expanduser())


@command("py", "shell", raw=True)
@click.argument("code")
def py(session: Session, code: str) -> object:
    """Run Python: prog is the memory, case the case, _ what the last command gave back.

    What an expression gives is printed. This is Python and can do what you can.
    """
    names = {"prog": session.prog, "case": session.case, "_": session.last}
    try:
        value = _python(code, names)
    except Exception as exc:  # whatever the user's own code does
        raise UsageError(f"{type(exc).__name__}: {exc}") from None
    if value is not None:
        for line in str(value).splitlines():
            session.out.write(clean(line) + "\n")
    return value


def _python(code: str, names: dict[str, Any]) -> object:
    """The value of an expression; ``None`` for statements."""
    try:
        compiled = compile(code, "<py>", "eval")
    except SyntaxError:
        exec(compile(code, "<py>", "exec"), names)
        return None
    return eval(compiled, names)


@command("extend", "shell")
def extend(session: Session) -> None:
    """List the plugins that are commands here; postmortem --plugin FILE adds yours."""
    for item in session.case.plugins:
        session.out.write(f"{clean(item.name):<12} {clean(item.summary)}  ({clean(item.origin)})\n")


@command("kdb", "shell", raw=True)
@click.argument("line", required=False, default="")
def kdb(session: Session, line: str) -> None:
    """Enter KDB: its prompt, commands and output (docs/kdb.md); exit leaves it.

    With a LINE that alone is run: kdb btp 1
    """
    from postmortem.shell.kdb import Kdb

    entered = Kdb(session=session)
    if line:
        entered.run(line)
        return
    session.out.write(entered.entering())
    session.kdb = entered
