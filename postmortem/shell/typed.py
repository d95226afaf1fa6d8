"""Pipes into our own commands: addresses and tasks flow, not text.

``foreach UN | stacks``, ``list -H modules -o module.list | struct module.name``: what
stands behind the ``|`` is run on each thing that the first command named. Only commands
that take an address or a task can stand there, and none of them is a filter of Unix;
every other word behind a ``|`` is a program of the user's own shell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postmortem.errors import UsageError
from postmortem.shell.line import Line, expand, parse

if TYPE_CHECKING:
    from postmortem.shell.session import Session

ON_TASKS = frozenset({"bt", "stacks", "files", "vm", "task", "sig", "why", "ps", "net", "set"})
ON_ADDRESSES = frozenset({"struct", "union", "*", "rd", "vtop", "kmem", "list", "where", "refs",
                          "dis", "search", "sym", "waitq", "context"})  # fmt: skip
MAX_THINGS = 100_000

_SUBCOMMANDS = frozenset({"bt", "files", "net", "ps", "set", "sig", "task", "vm", "vtop"})
_TASK = re.compile(r"^PID: \d+ +TASK: ([0-9a-f]{8,16})\b")
_ROW = re.compile(r"^>? *\d+ +-?\d+ +\d+ +([0-9a-f]{8,16}) ")
_SET = re.compile(r"^ +TASK: ([0-9a-f]{8,16})\b")
_ADDRESS = re.compile(r"^ *(?:0x)?([0-9a-f]{8,16})\b")
_STRUCT = re.compile(r"[A-Za-z_]\w*\.[\w.]+(?:,[\w.]+)*")


def following(line: Line) -> Line | None:
    """The command of ours behind the pipe, with its own pipe and output."""
    if line.pipe is None:
        return None
    word = line.pipe.split(maxsplit=1)[0]
    if word not in ON_TASKS | ON_ADDRESSES and not _STRUCT.fullmatch(word):
        return None
    return parse(expand(line.pipe, {}))


def has_command(rest: str) -> bool:
    """Whether ``foreach`` was told what to run."""
    return any(word in _SUBCOMMANDS for word in rest.split())


def things(text: str) -> list[str]:
    """Addresses that lines of output begin with, each once: of tasks, if it speaks of tasks."""
    lines = text.splitlines()
    for pattern in (_TASK, _ROW, _SET, _ADDRESS):
        found = [match[1] for match in map(pattern.match, lines) if match]
        if found:
            break
    else:
        found = []
    if len(found) > MAX_THINGS:
        raise UsageError(f"{len(found)} things are more than a pipe takes ({MAX_THINGS})")
    return list(dict.fromkeys(found))


def arguments(session: Session, command: Line, found: list[str]) -> list[str]:
    """What the command behind the pipe is run with, one entry a run."""
    rest = command.rest
    if command.name not in ON_TASKS:
        return [f"{rest} {address}".strip() for address in found]
    tasks = session.case.tasks
    known = tasks.by_address if tasks is not None else {}
    numbers = [int(address, 16) for address in found]
    strange = [number for number in numbers if number not in known]
    if strange:
        raise UsageError(f"{command.name}: {strange[0]:x} is no task")
    pids = [str(known[number].pid) for number in numbers]
    if command.name == "stacks":
        # It groups: all of them at once.
        return [f"{rest} --pid {','.join(pids)}".strip()]
    if command.name == "why":
        return pids
    return [f"{rest} {address}".strip() for address in found]
