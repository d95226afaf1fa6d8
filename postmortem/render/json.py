"""The document for machines (docs/json.md): the dataclasses of a result, field by field.

Fields keep the order of the dataclasses, so the same analysis gives the same
bytes. Kernel addresses and register values are strings, ``"0xffff..."``: a
JSON number of 64 bits is not safe in every reader. The document is ASCII.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import IO, Any

from postmortem.model.findings import Column, Export, Table, Unit
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
    if isinstance(value, PurePath):
        return _valid(str(value))
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

    told = export.suffix not in PICTURES and not isinstance(export.data, bytes)
    drawn = _valid(draw(export)) if told else None
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


# --- and back -------------------------------------------------------------------------


def read(text: str | bytes | Mapping[str, Any]) -> Analysis:
    """The analysis that a document was written from, in the same dataclasses.

    A worker can so be given a path and answer in JSON.

    :raises ValueError: it is no document of this schema.
    """
    data = json.loads(text) if isinstance(text, str | bytes) else text
    found = data.get("schema") if isinstance(data, Mapping) else None
    if found != SCHEMA:
        raise ValueError(f"the document's schema is {found!r}, not {SCHEMA!r}")
    try:
        return typing.cast(Analysis, _read(Analysis, data))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the document does not keep to {SCHEMA}: {error}") from error


def _read(hint: Any, value: Any) -> Any:
    """``value`` of a document as what ``hint`` says it was."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _read_one_of(typing.get_args(hint), value)
    if origin is tuple:
        return _read_tuple(typing.get_args(hint), value)
    if origin is dict:
        kind = typing.get_args(hint)[1]
        return {name: _read(kind, item) for name, item in value.items()}
    if is_dataclass(hint):
        return _READ.get(hint, _read_dataclass)(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is bytes:
        return bytes.fromhex(value)
    if hint is int and isinstance(value, str):
        return int(value, 16)
    if hint is float and isinstance(value, int):
        return float(value)
    return value


def _read_one_of(hints: tuple[Any, ...], value: Any) -> Any:
    if value is None:
        return None
    kinds = [hint for hint in hints if hint is not type(None)]
    # A cell is text or a number as it stands; anything else has one kind beside None.
    return _read(kinds[0], value) if len(kinds) == 1 else value


def _read_tuple(hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_read(hints[0], item) for item in value)
    return tuple(_read(hint, item) for hint, item in zip(hints, value, strict=True))


def _read_dataclass(cls: Any, value: Mapping[str, Any]) -> Any:
    hints, required = _hints(cls)
    missing = required - value.keys()
    if missing:
        raise KeyError(f"{cls.__name__} without {sorted(missing)[0]}")
    # Fields that a newer writer added are no business of ours.
    return cls(**{name: _read(hint, value[name]) for name, hint in hints.items() if name in value})


@cache
def _hints(cls: type[Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """The type of each field, and the fields without a default."""
    hints = typing.get_type_hints(cls)
    own = fields(cls)
    needed = (f.name for f in own if f.default is MISSING and f.default_factory is MISSING)
    return {field.name: hints[field.name] for field in own}, frozenset(needed)


def _read_table(cls: Any, value: Mapping[str, Any]) -> Table:
    table: Table = _read_dataclass(cls, value)
    rows = tuple(tuple(map(_read_cell, row, table.columns)) for row in table.rows)
    return replace(table, rows=rows)


def _read_cell(cell: Any, column: Column) -> Any:
    is_hex = column.unit is Unit.HEX and isinstance(cell, str) and cell.startswith("0x")
    return int(cell, 16) if is_hex else cell


def _read_export(_cls: Any, value: Mapping[str, Any]) -> Export:
    """Of a picture only the name was written."""
    return Export(value["title"], value["suffix"], value["text"])


_READ: dict[Any, Callable[[Any, Mapping[str, Any]], Any]] = {
    Table: _read_table,
    Export: _read_export,
}
"""Dataclasses that are not read field by field."""
