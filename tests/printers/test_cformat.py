"""C's conversions; the truth is what printf(3) and lib/vsprintf.c do."""

from __future__ import annotations

import pytest

from postmortem.printers.cformat import converted, filled, parsed, printf


@pytest.mark.parametrize(
    ("spec", "value", "text"),
    [
        ("%-5lu", 7, "7    "),
        ("%5d", -7, "   -7"),
        ("%08lx", 0x4000, "00004000"),
        ("%#lx", 0, "0x0"),  # unlike C: "index:0x0" in a dumped page
        ("%#x", 255, "0xff"),
        ("%lu", -1, "18446744073709551615"),
        ("%u", -1, "4294967295"),
        ("%hd", -17, "-17"),
        ("%-15.15s", "a-name-that-is-too-long", "a-name-that-is-"),
        ("%c", "D", "D"),
        ("%9Ld", 12, "       12"),
        ("%016llx", 0xFF, "00000000000000ff"),
        ("%pS", "schedule+0x1/0x2", "schedule+0x1/0x2"),
        ("%08lx", None, "       ?"),
    ],
)
def test_conversion(spec: str, value: int | str | None, text: str) -> None:
    assert converted(spec, value) == text


def test_values_in_order_and_stars() -> None:
    assert printf("%s %.*s 100%%\n", "x", 2, "abc") == "x ab 100%\n"


def test_words_name_the_fields() -> None:
    text = "Node %d active_anon:%lukB isolated(anon):%lukB\n mapped:%lu all_unreclaimable? %s\n"
    labels = [(field.label, field.unit) for field in parsed(text).fields]
    assert labels == [
        ("Node", ""),
        ("active_anon", "kB"),
        ("isolated(anon)", "kB"),
        ("mapped", ""),
        ("all_unreclaimable", ""),
    ]
    values = {"Node": 1, "active_anon": 4, "mapped": 5}
    filled_in = filled(text, lambda field: values.get(field.label))
    assert filled_in.startswith("Node 1 active_anon:4kB isolated(anon):?kB\n mapped:5 ")
