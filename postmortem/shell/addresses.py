"""Addresses as crash's users write them, for drgn's commands that want a number."""

from __future__ import annotations

import re
from collections.abc import Iterator

import drgn

from postmortem.dump.damage import damage
from postmortem.errors import UsageError

COMMANDS = frozenset({"list", "tree", "rd", "vtop", "kmem", "waitq", "struct", "union", "*"})
"""Those of drgn's whose arguments are addresses."""

_WITH_VALUE = frozenset({"-s", "-S", "-o", "-O", "-m", "-t", "-l", "-c", "-r"})
"""Options whose value is no address: a struct, a number, a file."""
_MEMBER = re.compile(r"&?[A-Za-z_]\w*(?:(?:\.|->)\w+|\[\w+\])+")
_PIECE = re.compile(r"\([^)]*(?:\([^)]*\)[^)]*)*\)|'[^']*'|\"[^\"]*\"|\S+")
# vtop takes a number only; for the others drgn looks a bare symbol up itself.
_NUMBERS_ONLY = frozenset({"vtop", "kmem"})
_NAME = re.compile(r"[A-Za-z_]\w*")


def addressed(prog: drgn.Program, command: str, rest: str) -> str:
    """The arguments with ``(expression)``, ``symbol.member`` and, where drgn looks none up,
    symbols replaced by hexadecimal addresses.

    :raises UsageError: an expression in parentheses is none.
    """
    return " ".join(_words(prog, command, rest))


def _words(prog: drgn.Program, command: str, rest: str) -> Iterator[str]:
    before = ""
    for number, word in enumerate(_PIECE.findall(rest)):
        is_type = number == 0 and command in ("struct", "union", "*")
        if before in _WITH_VALUE and not word.startswith("("):
            yield word
        elif word.startswith("(") or (not is_type and _is_member(prog, word)):
            yield f"{_address(prog, word):x}"
        elif command == "list" and _is_struct_s(prog, word):
            yield "-o"
            yield word
        elif command in _NUMBERS_ONLY and not is_type and _is_symbol(prog, word):
            yield f"{prog.symbol(word).address:x}"
        else:
            yield word
        before = word


def _is_member(prog: drgn.Program, word: str) -> bool:
    """``init_task.tasks``, and not ``task_struct.tasks``, which is a struct's member."""
    return bool(_MEMBER.fullmatch(word)) and _is_symbol(prog, re.split(r"\W", word.lstrip("&"))[0])


def _is_struct_s(prog: drgn.Program, word: str) -> bool:
    """``task_struct.tasks``: where the links are, which crash takes without ``-o``."""
    if not _MEMBER.fullmatch(word):
        return False
    try:
        prog.type(f"struct {word.partition('.')[0]}")
    except (LookupError, SyntaxError):
        return False
    return True


def _is_symbol(prog: drgn.Program, word: str) -> bool:
    # A hexadecimal number may look like a name: it is the number that is meant.
    if not _NAME.fullmatch(word) or re.fullmatch(r"[0-9a-fA-F]+", word):
        return False
    try:
        prog.symbol(word)
    except LookupError:
        return False
    return True


def _address(prog: drgn.Program, text: str) -> int:
    """A pointer's or number's value; of anything else where it lies."""
    from postmortem.shell.expression import evaluate

    value = evaluate(prog, text)
    kind = value.type_.unaliased_kind()
    scalar = kind in (drgn.TypeKind.POINTER, drgn.TypeKind.INT, drgn.TypeKind.ENUM)
    if scalar and (text.startswith("(") or kind == drgn.TypeKind.POINTER):
        try:
            return int(value.value_()) & ((1 << 64) - 1)
        except damage() as exc:
            raise UsageError(f"{text}: {exc}") from None
    if value.address_ is None:
        raise UsageError(f"{text} is no address")
    return int(value.address_)
