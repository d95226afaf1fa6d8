"""``ps`` and ``foreach`` as crash's users read and type them: states have two letters."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import click

from postmortem.shell import crash
from postmortem.shell.command import command

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


@command("ps", "stacks", raw=True)
@click.argument("rest", required=False, default="", type=click.UNPROCESSED)
def ps(session: Session, rest: str) -> Any:
    """List tasks: all, or those of a PID, task, name or 'regex'.

    \b
    ps -m | grep UN    who sleeps uninterruptibly, and for how long
    ps -S              how many are in which state

    drgn's own options are passed on: -k -u -G -A -s -p -c -t -l -m -a -g -r -S -C CPUS -H.
    """
    out = io.StringIO()
    result = crash.run(session.prog, "ps", rest, out)
    session.out.write(two_letters(out.getvalue()))
    return result


@command("foreach", "stacks", raw=True)
@click.argument("rest", required=False, default="", type=click.UNPROCESSED)
def foreach(session: Session, rest: str) -> Any:
    """Run bt, files, ps, set, sig, task, vm or vtop on many tasks.

    \b
    foreach UN bt          those in a state: RU IN UN ST TR ZO DE PA ID WA
    foreach kernel ps      kernel, user, gleader or active ones
    foreach kworker/0:1 bt, foreach 'kworker.*' bt, foreach 1 98 files
    """
    words = [_LETTERS.get(word, word) for word in rest.split(" ")]
    out = io.StringIO()
    result = crash.run(session.prog, "foreach", " ".join(words), out)
    session.out.write(two_letters(out.getvalue()))
    return result
