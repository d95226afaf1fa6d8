"""Lines as dmesg prints them."""

from __future__ import annotations

import time

import pytest

from postmortem.model.report import Record
from postmortem.printers.dmesg import dmesg_json, dmesg_lines

RECORDS = (Record(1, "Linux version 6.9.0", 0.0, 5, "T0"), Record(2, "zorb: hot", 12.5, 4, "T0"))


def test_seconds_since_boot() -> None:
    assert list(dmesg_lines(RECORDS)) == [
        "[    0.000000] Linux version 6.9.0",
        "[   12.500000] zorb: hot",
    ]


def test_levels_in_front() -> None:
    assert list(dmesg_lines(RECORDS, levels=True))[1] == "warn  : [   12.500000] zorb: hot"


def test_callers_where_the_kernel_has_them() -> None:
    records = (*RECORDS, Record(3, "zorb: cold", 13.0, 6, "C1"))
    assert list(dmesg_lines(records, callers=True))[2] == "[   13.000000][    C1] zorb: cold"
    assert list(dmesg_lines(records))[2] == "[   13.000000] zorb: cold"
    assert list(dmesg_lines(RECORDS, callers=True)) == list(dmesg_lines(RECORDS))


def test_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    line = list(dmesg_lines(RECORDS, boot_time=1_700_000_000.0))[1]
    assert line == "[Tue Nov 14 22:13:32 2023] zorb: hot"


def test_json_leaves_out_what_is_not_known() -> None:
    assert dmesg_json([Record(1, "x")]) == {"dmesg": [{"msg": "x"}]}
    assert dmesg_json(RECORDS)["dmesg"][1] == {"pri": 4, "time": 12.5, "msg": "zorb: hot"}
