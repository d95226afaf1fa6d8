"""Tables as comma-separated values (RFC 4180), for spreadsheets and scripts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

from postmortem.model.findings import Cell, Column, Table, Unit
from postmortem.model.result import Analysis
from postmortem.render import cells
from postmortem.render.clean import clean

_SAYS_NOTHING = (Unit.TEXT, Unit.ID, Unit.COUNT)
_FORMULA = ("=", "+", "-", "@")
"""A spreadsheet runs what begins with these: names in a dump are anybody's."""


def tables_of(analysis: Analysis) -> tuple[Table, ...]:
    """All tables of an analysis: its own, then those of its findings."""
    return (*analysis.tables, *(t for finding in analysis.findings for t in finding.tables))


def print_csv(tables: Sequence[Table], file: IO[str]) -> None:
    """Write all rows of all tables; of several, each under a line with its title."""
    writer = csv.writer(file, lineterminator="\n")
    for number, table in enumerate(tables):
        if len(tables) > 1:
            file.write("\n" if number else "")
            writer.writerow([f"# {clean(table.title)}"])
        writer.writerow([_heading(column) for column in table.columns])
        for row in table.rows:
            writer.writerow([_cell(*pair) for pair in zip(row, table.columns, strict=False)])


def _heading(column: Column) -> str:
    name = clean(column.name)
    return name if column.unit in _SAYS_NOTHING else f"{name} [{column.unit}]"


def _cell(value: Cell, column: Column) -> Cell:
    """The value itself; absent is empty."""
    if not isinstance(value, str):
        return cells.value(value, column)
    return plain_cell(value)


def plain_cell(value: str) -> str:
    """Text that no spreadsheet runs."""
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
