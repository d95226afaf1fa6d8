"""``--json``: what a listing command prints, as data.

The tables of drgn's crash commands are taken where they are made: each hands its rows to
``print_table``, typed, before they become text. Lines that stand between tables come
along as they are, so that nothing of what a person would read is lost.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, cast

import drgn

from postmortem.render.clean import clean
from postmortem.shell import crash

SCHEMA = "postmortem-shell/1"
LISTING = frozenset({"kmem", "files", "net", "irq", "timer", "runq", "mod", "ps", "mount", "swap",
                     "dev", "ipcs", "bpf", "sig"})  # fmt: skip
"""Commands of drgn's that take ``--json`` here."""

_MODULES = "drgn.commands._crash."


def write_document(out: IO[str], command: str, content: object) -> None:
    """One JSON document; what came from the dump is made harmless inside of it."""
    document = {"schema": SCHEMA, "command": clean(command), "content": content}
    out.write(json.dumps(document, ensure_ascii=True, default=_plain) + "\n")


def run(prog: drgn.Program, name: str, rest: str, out: IO[str]) -> Any:
    """Run one of drgn's commands and write a document instead of its text."""
    parts, result = parts_of(prog, name, rest)
    write_document(out, f"{name} {rest}".strip(), parts)
    return result


def parts_of(prog: drgn.Program, name: str, rest: str) -> tuple[list[dict[str, Any]], Any]:
    """Texts and tables that one of drgn's commands prints, and what it gives back."""
    crash.names(prog)  # imports all of them
    parts = _Parts()
    with _tables_to(parts):
        result = crash.run(prog, name, rest, cast("IO[str]", parts))
    return parts.done(), result


def without_flag(rest: str, flag: str = "--json") -> str | None:
    """The arguments without a flag; ``None`` if it is not among them."""
    words = rest.split()
    return " ".join(word for word in words if word != flag) if flag in words else None


class _Parts:
    """Text and tables in the order in which they were printed."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []
        self._text = ""

    def write(self, text: str) -> int:
        self._text += text
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def table(self, rows: Iterable[Iterable[Any]]) -> None:
        sys.stdout.flush()
        self._flush_text()
        cells = [[_cell(cell) for cell in row] for row in rows]
        if cells and all(isinstance(cell, str) for cell in cells[0]) and len(cells) > 1:
            columns = [str(cell).strip() for cell in cells[0]]
            self._parts.append({"columns": columns, "rows": cells[1:]})
        elif cells:
            self._parts.append({"columns": [], "rows": cells})

    def _flush_text(self) -> None:
        lines = [line for line in self._text.split("\n") if line.strip()]
        if lines:
            self._parts.append({"text": lines})
        self._text = ""

    def done(self) -> list[dict[str, Any]]:
        self._flush_text()
        return self._parts


@contextlib.contextmanager
def _tables_to(parts: _Parts) -> Iterator[None]:
    """Let every command's ``print_table`` hand its rows over instead of printing them."""

    def taken(rows: Sequence[Sequence[Any]], **_: Any) -> None:
        parts.table(rows)

    # There is no public way; without the name a command's text is all that is given.
    before = {
        module: module.__dict__["print_table"]
        for name, module in list(sys.modules.items())
        if name.startswith(_MODULES) and "print_table" in module.__dict__
    }
    try:
        for module in before:
            module.__dict__["print_table"] = taken
        yield
    finally:
        for module, kept in before.items():
            module.__dict__["print_table"] = kept


def _cell(cell: Any) -> object:
    """A number, text, or an address as crash writes it: hexadecimal without 0x."""
    if isinstance(cell, (bool, int, float)) or cell is None:
        return cell
    value = getattr(cell, "_value", None)  # of CellFormat
    if isinstance(value, int) and not getattr(cell, "_rest", "x"):
        return value
    return clean(str(cell).strip())


def _plain(value: object) -> str:
    return clean(str(value))
