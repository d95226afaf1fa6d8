"""``ps`` and ``foreach`` as crash's users read and type them: states have two letters."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import click

from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.shell import crash, structured, typed
from postmortem.shell.command import command
from postmortem.shell.commands.stacks import as_crash_places

if TYPE_CHECKING:
    from postmortem.shell.session import Session

STATES = {
    "R": "RU", "S": "IN", "D": "UN", "T": "ST", "t": "TR", "Z": "ZO", "X": "DE", "P": "PA",
    "I": "ID", "W": "WA",
}  # fmt: skip
"""The kernel's letters (fs/proc/array.c) and what crash calls the same state."""

_LETTERS = {name: letter for letter, name in STATES.items()}
_TABLE = re.compile(r"^(>? *\d+ +-?\d+ +\d+ +[0-9a-f]+ +)([A-Za-z]) ", re.MULTILINE)
_BRACKETED = re.compile(r"^(\[[^\]]*\] +)\[([A-Za-z])\](?=  PID:)", re.MULTILINE)
_SUMMARY = re.compile(r"^( *)([A-Za-z])(: \d+)$", re.MULTILINE)


def two_letters(text: str) -> str:
    """What drgn's ``ps`` printed, with crash's names of states."""

    def named(match: re.Match[str]) -> str:
        return match[1] + STATES.get(match[2], match[2])

    # The column has a blank to spare for the second letter.
    text = _TABLE.sub(named, text)
    text = _BRACKETED.sub(lambda m: f"{m[1]}[{STATES.get(m[2], m[2])}]", text)
    return _SUMMARY.sub(lambda match: named(match) + match[3], text)


def _named(part: dict[str, Any]) -> dict[str, Any]:
    """A table with crash's names of states."""
    if "ST" not in part.get("columns", ()):
        return part
    at = part["columns"].index("ST")
    rows = [[*row[:at], STATES.get(row[at], row[at]), *row[at + 1 :]] for row in part["rows"]]
    return {**part, "rows": rows}


@command("ps", "stacks", raw=True)
@click.argument("rest", required=False, default="", type=click.UNPROCESSED)
def ps(session: Session, rest: str) -> Any:
    """List tasks: all, or those of a PID, task, name or 'regex'.

    \b
    ps -m | grep UN    who sleeps uninterruptibly, and for how long
    ps -S              how many are in which state

    drgn's own options are passed on: -k -u -G -A -s -p -c -t -l -m -a -g -r -S -C CPUS -H.
    """
    plain = structured.without_flag(rest)
    if plain is not None:
        parts, result = structured.parts_of(session.prog, "ps", plain)
        structured.write_document(session.out, f"ps {plain}".strip(), list(map(_named, parts)))
        return result
    out = io.StringIO()
    result = crash.run(session.prog, "ps", rest, out)
    session.out.write(two_letters(out.getvalue()))
    return result


@command("foreach", "stacks", raw=True)
@click.argument("rest", required=False, default="", type=click.UNPROCESSED)
def foreach(session: Session, rest: str) -> Any:
    """Run bt, files, net, ps, set, sig, task, vm or vtop on many tasks.

    \b
    foreach UN bt          those in a state: RU IN UN ST TR ZO DE PA ID WA
    foreach kernel ps      kernel, user, gleader or active ones
    foreach kworker/0:1 bt, foreach 'kworker.*' bt, foreach 1 98 files
    """
    words = [_LETTERS.get(word, word) for word in rest.split(" ")]
    for name in ("net", "vm"):
        if name in words:
            at = words.index(name)
            return _each(session, words[:at], name, words[at + 1 :])
    out = io.StringIO()
    result = crash.run(session.prog, "foreach", " ".join(words), out)
    text = two_letters(out.getvalue())
    if "bt" in words:
        text = as_crash_places(session.prog, text)
    session.out.write(text)
    return result


def _each(session: Session, chosen: list[str], name: str, options: list[str]) -> None:
    """A command of ours on each task: drgn's ``foreach`` knows drgn's own only."""
    text = io.StringIO()
    crash.run(session.prog, "foreach", " ".join([*chosen, "set"]), text)
    for number, task in enumerate(typed.things(text.getvalue())):
        if number:
            session.out.write("\n")
        try:
            session.commands[name].run(session, " ".join([*options, task]))
        except damage() as exc:
            session.out.write(f"{name} {task}: {' '.join(str(exc).split())}\n")
        except UsageError as exc:
            session.out.write(f"{name} {task}: {exc}\n")
