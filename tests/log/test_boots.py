"""Boots of the machine, boots of its crash kernel, and what became of the dump."""

from __future__ import annotations

import pytest

from postmortem.log.boots import Boot, dump_sentence, note
from postmortem.log.scan import scan_bytes

BANNER = b"[    0.000000] Linux version 6.6.%d (acme@acme) #1 SMP\n"
OOPS = (
    b"[   10.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
    b"[   10.000001] RIP: 0010:acme_read+0x12/0x80 [acme]\n"
)


def test_a_crash_kernel_is_told_by_its_command_line() -> None:
    log = (
        BANNER % 1
        + OOPS
        + BANNER % 1
        + b"[    0.000000] Command line: root=/dev/sda1 elfcorehdr=0x3b000000 irqpoll\n"
        + b"[    5.000000] acme.sh[9]: makedumpfile Failed.\n"
    )
    boots = scan_bytes(log).boots
    assert [boot.kdump for boot in boots] == [False, True]
    assert (boots[1].dump, boots[1].dump_line) == ("failed", 6)
    assert "could not save" in dump_sentence(boots[1])


def test_a_program_that_speaks_of_elfcorehdr_makes_no_crash_kernel() -> None:
    log = BANNER % 1 + b"[    5.000000] kexec[9]: loading, elfcorehdr=0x3b000000\n" + OOPS
    assert [boot.kdump for boot in scan_bytes(log).boots] == [False]


@pytest.mark.parametrize(
    ("text", "dump"),
    [
        ("kdump[9]: saving vmcore complete", "saved"),
        ("kdump[9]: saving vmcore failed, exitcode:1", "failed"),
        ("The dumpfile is saved to /var/crash/acme", "saved"),
        ("kdump[9]: saving vmcore", None),
    ],
)
def test_what_became_of_the_dump(text: str, dump: str | None) -> None:
    boot = Boot(1)
    note(boot, text, 7)
    assert boot.dump == dump


def test_a_failure_to_save_is_not_unsaid() -> None:
    boot = Boot(1)
    note(boot, "makedumpfile Failed.", 7)
    note(boot, "kdump: saving vmcore-dmesg.txt complete; vmcore saved", 8)
    assert boot.dump == "failed" and dump_sentence(Boot(1)) == ""


def test_a_journal_separates_boots_without_banners() -> None:
    separator = b"-- Boot 0123456789abcdef0123456789abcdef --\n"
    log = separator + OOPS + separator + OOPS
    scan = scan_bytes(log)
    assert [boot.line for boot in scan.boots] == [1, 4]
    assert [report.boot for report in scan.reports] == [1, 2]


def test_a_separator_and_the_banner_behind_it_are_one_boot() -> None:
    log = b"-- Boot 0123456789abcdef0123456789abcdef --\n" + BANNER % 7 + OOPS
    (boot,) = scan_bytes(log).boots
    assert boot.release == "6.6.7"


def _at(seconds: float, function: str) -> bytes:
    return (
        b"[%12.6f] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
        b"[%12.6f] RIP: 0010:%s+0x12/0x80 [acme]\n" % (seconds, seconds, function.encode())
    )


@pytest.mark.parametrize(
    ("log", "boots"),
    [
        (_at(9000, "acme_read") + _at(12, "acme_write"), [0, 1]),
        (BANNER % 1 + _at(9000, "acme_read") + _at(12, "acme_write"), [1, 2]),
        # Two CPUs whose lines come out of order; a boot that is old when it first fails.
        (_at(100.2, "acme_read") + _at(100.1, "acme_write"), [0, 0]),
        (_at(9000, "acme_read") + _at(4000, "acme_write"), [0, 0]),
        # What is printed once more has the times of before.
        (_at(12, "acme_read") + _at(900, "acme_write") + _at(12, "acme_read"), [0, 0]),
    ],
)
def test_the_clock_near_zero_again_is_another_boot(log: bytes, boots: list[int]) -> None:
    assert [report.boot for report in scan_bytes(log).reports] == boots
