"""Writes the value in a cell of a table by its column's unit."""

from __future__ import annotations

from postmortem.model.findings import Cell, Column, Unit
from postmortem.render import words
from postmortem.render.clean import clean

_TO_THE_RIGHT = frozenset(set(Unit) - {Unit.TEXT, Unit.TIME})


def text(value: Cell, column: Column) -> str:
    """A cell for people: ``1.5 MiB``, ``130.3 s``, ``0xffff...``, ``-``."""
    if value is None:
        return words.ABSENT
    if isinstance(value, str):
        return clean(value)
    if column.unit is Unit.HEX and isinstance(value, int):
        return f"{value:#x}"
    if column.unit is Unit.BYTES:
        return words.size(int(value))
    if column.unit is Unit.SECONDS:
        return _seconds(value)
    if column.unit is Unit.NS:
        return _seconds(value / 1e9)
    if column.unit is Unit.TIME:
        return words.date(int(value))
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def value(cell: Cell, column: Column) -> Cell:
    """A cell for programs: the number itself; an address as a string, as everywhere in JSON."""
    if column.unit is Unit.HEX and isinstance(cell, int):
        return hex(cell)
    return cell


def is_to_the_right(column: Column) -> bool:
    """Numbers stand under each other by their last digit."""
    return column.unit in _TO_THE_RIGHT


def _seconds(seconds: float) -> str:
    """One unit in a column, so that a glance compares: ``0.004 s``, ``12.5 s``, ``4120 s``."""
    if seconds and abs(seconds) < 0.1:
        return f"{seconds:.3f} s"
    return f"{seconds:.1f} s" if abs(seconds) < 1000 else f"{seconds:.0f} s"
