"""The document for machines (docs/json.md): the dataclasses of a result, field by field.

Fields keep the order of the dataclasses, so the same analysis gives the same
bytes. Kernel addresses and register values are strings, ``"0xffff..."``: a
JSON number of 64 bits is not safe in every reader. The document is ASCII.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from functools import cache
from typing import IO, Any

from postmortem.model.findings import Export, Table
from postmortem.model.frame import Frame
from postmortem.model.report import Code, Report
from postmortem.model.result import SCHEMA, Analysis, ModuleInfo
from postmortem.render import cells

HEX = {
    (ModuleInfo, "base"),
    (Frame, "address"),
    (Report, "registers"),
    (Report, "fault_address"),
    (Code, "data"),
}
"""Fields that hold addresses, register values or raw bytes."""


def document(analysis: Analysis) -> dict[str, Any]:
    """The JSON document of an analysis as plain dicts, lists and strings."""
    return {"schema": SCHEMA, **plain(analysis)}


def print_json(analysis: Analysis, file: IO[str]) -> None:
    """Write the document to ``file``, indented, with a final newline."""
    dump(document(analysis), file)


def dump(value: Any, file: IO[str]) -> None:
    """Write plain values as this project's JSON: ASCII, no NaN, indented."""
    file.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_line(value: Any, file: IO[str]) -> None:
    """Write plain values as one line."""
    file.write(json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Turn dataclasses, enums and tuples into what JSON knows."""
    if type(value) is str:
        return _valid(value)
    if value is None or type(value) in (int, bool):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {_valid(str(key)): plain(item) for key, item in value.items()}
    write = _SPECIAL.get(type(value))
    if write is not None:
        return write(value)
    return _plain_fields(value)


def _plain_fields(value: Any) -> dict[str, Any]:
    return {
        name: (_hex if is_hex else plain)(getattr(value, name))
        for name, is_hex in _fields(value.__class__)
    }


def _table(table: Table) -> dict[str, Any]:
    """Cells by their columns' units: an address is a string like every address here."""
    rows = [
        [plain(cells.value(cell, column)) for cell, column in zip(row, table.columns, strict=False)]
        for row in table.rows
    ]
    return {**_plain_fields(replace(table, rows=())), "rows": rows}


def _export(export: Export) -> dict[str, Any]:
    """What other programs read is drawn; of a picture only its name is told."""
    from postmortem.render.exports import PICTURES, draw

    drawn = None if export.suffix in PICTURES else _valid(draw(export))
    return {"title": _valid(export.title), "suffix": _valid(export.suffix), "text": drawn}


_SPECIAL: dict[type[Any], Callable[[Any], dict[str, Any]]] = {Table: _table, Export: _export}
"""Dataclasses that are not written field by field."""


@cache
def _fields(cls: type[Any]) -> tuple[tuple[str, bool], ...]:
    return tuple((field.name, (cls, field.name) in HEX) for field in fields(cls))


def _hex(value: int | bytes | dict[str, int] | None) -> Any:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {_valid(name): _hex(number) for name, number in value.items()}
    return hex(value)


def _valid(text: str) -> str:
    """Text without lone surrogates, which no UTF-8 reader accepts."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
