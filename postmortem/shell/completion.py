"""What may follow what has been typed: commands, types, members, symbols, tasks, files."""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property

import drgn

from postmortem.dump.selfdescribe import names_of_structs, names_of_symbols
from postmortem.shell.session import Session

MAX_OFFERED = 200
_TYPES = frozenset({"struct", "union", "*", "whatis", "list", "tree", "size"})
_TASKS = frozenset({"bt", "set", "ps", "files", "vm", "task", "sig", "why", "net", "foreach"})
_FILES = frozenset({"source", "extend"})
_LAST = re.compile(r"[\w.]*$")


class Completion:
    """Completes for one session. Names are read when they are first asked for, then kept."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def offered(self, text: str) -> tuple[str, list[str]]:
        """The piece of ``text`` that is being typed, and what it may become."""
        piece = _piece(text)
        return piece, list(self._offered(text, piece))[:MAX_OFFERED]

    def _offered(self, text: str, piece: str) -> Iterator[str]:
        before = text[: len(text) - len(piece)]
        if not before.strip():
            yield from _starting(self._session.names(), piece)
            if piece:
                yield from _starting(self._symbols, piece)
            return
        command = self._meaning(before.split()[0])
        if piece.startswith("-"):
            yield from self._options(command, piece)
        elif before.rstrip().endswith((">", "<")) or command in _FILES:
            yield from _files(piece)
        elif "." in piece:
            yield from self._members(command, piece)
        elif command in _TYPES:
            yield from _starting(self._structs, piece)
        elif command in _TASKS:
            yield from self._tasks(piece)
        elif command in ("help", "man"):
            yield from _starting(self._session.names(), piece)
        elif piece:
            yield from _starting(self._symbols, piece)

    def _meaning(self, name: str) -> str:
        from postmortem.shell.session import BUILT_IN_ALIASES

        return self._session.aliases.get(name, BUILT_IN_ALIASES.get(name, name)).split()[0]

    def _options(self, name: str, piece: str) -> Iterator[str]:
        command = self._session.commands.get(name)
        if command is not None:
            for parameter in command.parser.params:
                yield from (text for text in parameter.opts if text.startswith(piece))

    def _members(self, command: str, piece: str) -> Iterator[str]:
        """``task_struct.co``, ``init_task.co``, ``init_task.mm.pg``."""
        path, _, typed = piece.rpartition(".")
        prog = self._session.prog
        with suppress(Exception):
            first, *members = path.split(".")
            type_ = prog.type(f"struct {first}") if command in _TYPES else prog[first].type_
            for name in members:
                type_ = _inner(type_.member(name).type)
            for member in _inner(type_).members or ():
                if member.name and member.name.startswith(typed):
                    yield f"{path}.{member.name}"

    def _tasks(self, piece: str) -> Iterator[str]:
        tasks = self._session.case.tasks
        for task in tasks.tasks if tasks is not None and piece else ():
            if str(task.pid).startswith(piece):
                yield str(task.pid)
            elif task.comm.startswith(piece) and task.comm.isprintable() and " " not in task.comm:
                yield task.comm

    @cached_property
    def _symbols(self) -> list[str]:
        return names_of_symbols(self._session.prog)

    @cached_property
    def _structs(self) -> list[str]:
        return names_of_structs(self._session.prog)


def _inner(type_: drgn.Type) -> drgn.Type:
    """What a member's members are those of: through typedefs, pointers and arrays."""
    through = (drgn.TypeKind.TYPEDEF, drgn.TypeKind.POINTER, drgn.TypeKind.ARRAY)
    for _ in range(8):
        if type_.kind not in through:
            break
        type_ = type_.type
    return type_


def _piece(text: str) -> str:
    """The word being typed; of a path all of it."""
    word = re.split(r"\s", text)[-1]
    if word.startswith("-") or "/" in word:
        return word
    found = _LAST.search(word)
    return found.group() if found else ""


def _starting(names: list[str], piece: str) -> Iterator[str]:
    at = bisect.bisect_left(names, piece)
    while at < len(names) and names[at].startswith(piece):
        yield names[at]
        at += 1


def _files(piece: str) -> Iterator[str]:
    folder, _, typed = piece.rpartition("/")
    with suppress(OSError):
        for entry in sorted(os.scandir(folder or ("/" if piece.startswith("/") else ".")),
                            key=lambda entry: entry.name):  # fmt: skip
            if entry.name.startswith(typed) and entry.name.isprintable():
                name = f"{folder}/{entry.name}" if "/" in piece else entry.name
                yield name + ("/" if entry.is_dir() else "")
