"""Text of getdelays and of /proc, written by hand after the formats of their sources."""

from __future__ import annotations

import pytest

from postmortem.kernel.delays import Account, Delay
from postmortem.kernel.psi import Pressure, PsiGroup
from postmortem.printers.accounting import cpu_mask, getdelays_lines, io_lines, schedstat_line
from postmortem.printers.pressure import pressure_lines

ACCOUNT = Account(
    3_000_000,
    1_000_000,
    4_200_000,
    7,
    2,
    {"cpu": Delay(4, 6_000_000), "blkio": Delay(2, 9_000_000)},
)


def test_getdelays_before_compaction_was_counted() -> None:
    assert list(getdelays_lines(ACCOUNT)) == [
        "CPU             count     real total  virtual total    delay total  delay average",
        "                    4        4000000        4200000        6000000          1.500ms",
        "IO              count    delay total  delay average",
        "                    2        9000000              4ms",
    ]


def test_getdelays_with_the_longest_delays() -> None:
    account = Account(
        delays={
            "cpu": Delay(4, 6_000_000, 3_000_000, 500_000),
            "compact": Delay(0, 0, 0, 0, 0),
            "irq": Delay(1, 2_500_000, 2_500_000, 2_500_000, 86_400),
        }
    )
    lines = list(getdelays_lines(account))
    assert lines[0].endswith("  delay average      delay max      delay min")
    assert lines[1].endswith("        1.500ms     3.000000ms     0.500000ms")
    assert lines[2].startswith("COMPACT             count    delay total")
    assert lines[3].endswith("     0.000000ms     0.000000ms                    N/A")
    assert lines[5].endswith("     2.500000ms     2.500000ms    1970-01-02T00:00:00")


def test_files_of_a_task() -> None:
    assert schedstat_line(ACCOUNT) == "4200000 6000000 4"
    assert list(io_lines(Account(io={"wchar": 2, "rchar": 1}))) == ["rchar: 1", "wchar: 2"]


@pytest.mark.parametrize(
    ("cpus", "ids", "mask"),
    [
        ((0, 1), 2, "3"),
        ((0, 5), 8, "21"),
        ((33,), 34, "2,00000000"),
        ((0, 63), 64, "80000000,00000001"),
    ],
)
def test_masks_are_words_of_32_bits(cpus: tuple[int, ...], ids: int, mask: str) -> None:
    assert cpu_mask(cpus, ids) == mask


def test_averages_are_cut_off_not_rounded() -> None:
    group = PsiGroup("", 0, (Pressure("io", True, (2047, 0, 100 << 11), 1_999),), {})
    assert list(pressure_lines(group, "io")) == ["full avg10=0.99 avg60=0.00 avg300=100.00 total=1"]
    assert list(pressure_lines(group, "cpu")) == []
