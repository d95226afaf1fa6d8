"""A cell is a value; its column says how people read it and how programs do."""

from __future__ import annotations

import pytest

from postmortem.model.findings import Cell, Column, Table, Unit
from postmortem.render import cells


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        (Unit.TEXT, "sh", "sh"),
        (Unit.TEXT, "a\x1b[31m", "a\\x1b[31m"),
        (Unit.ID, 312, "312"),
        (Unit.COUNT, 0, "0"),
        (Unit.COUNT, 2.25, "2.2"),
        (Unit.HEX, 0xFFFF888001234000, "0xffff888001234000"),
        (Unit.BYTES, 3 << 20, "3 MiB"),
        (Unit.SECONDS, 130.25, "130.2 s"),
        (Unit.SECONDS, 0.004, "0.004 s"),
        (Unit.SECONDS, 0.0, "0.0 s"),
        (Unit.SECONDS, 86_400.0, "86400 s"),
        (Unit.NS, 1_500_000_000, "1.5 s"),
        (Unit.TIME, 1_763_907_986, "2025-11-23 14:26:26 UTC"),
        (Unit.BYTES, None, "-"),
    ],
)
def test_people_read_it_with_its_unit(unit: Unit, value: Cell, shown: str) -> None:
    assert cells.text(value, Column("x", unit)) == shown


def test_programs_get_the_number() -> None:
    assert cells.value(3 << 20, Column("x", Unit.BYTES)) == 3 << 20
    assert cells.value(1_500_000_000, Column("x", Unit.NS)) == 1_500_000_000
    assert cells.value(None, Column("x", Unit.HEX)) is None


def test_an_address_keeps_its_64_bits_in_any_reader() -> None:
    assert cells.value(0xFFFF888001234001, Column("x", Unit.HEX)) == "0xffff888001234001"


def test_a_bare_name_is_a_column_of_text() -> None:
    table = Table("t", ("a", Column("b", Unit.ID)), ())  # type: ignore[arg-type]
    assert table.columns == (Column("a", Unit.TEXT), Column("b", Unit.ID))
