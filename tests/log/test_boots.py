"""Boots of the machine, boots of its crash kernel, and what became of the dump."""

from __future__ import annotations

import pytest

from postmortem.log.boots import Boot, dump_sentence, missing, note
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


def test_a_log_without_its_banner_begins_in_the_middle() -> None:
    scan = scan_bytes(b"[ 3145.200000] acme: hello\n[ 3146.000000] acme: more\n")
    assert scan.head.begins == 3145.2
    assert "begins 3145 s after" in missing([scan.head])[0]
    early = scan_bytes(b"[    0.310000] acme: hello\n")
    assert "its first lines are missing" in missing([early.head])[0]


@pytest.mark.parametrize(
    "log",
    [
        BANNER % 1 + b"[    9.000000] acme: hello\n",
        b"[    3.100000] Booting Linux on physical CPU 0x0\n[    3.200000] acme: hello\n",
        b"[    0.000000] microcode: updated early\n" + BANNER % 1,
        b"acme: no times at all\n",
    ],
)
def test_a_log_that_has_its_banner_is_whole(log: bytes) -> None:
    scan = scan_bytes(log)
    assert missing([scan.head, *scan.boots]) == []


@pytest.mark.parametrize(
    ("line", "dropped"),
    [
        (b"[    7.000000] ** 14 printk messages dropped **\n", 14),
        (b"May 01 10:00:01 acme systemd-journald[7]: Missed 3 kernel messages\n", 3),
        (b"May 01 10:00:01 acme systemd-journald[7]: /dev/kmsg buffer overrun, some messages"
         b" lost.\n", 1),
    ],
)  # fmt: skip
def test_messages_that_got_lost_are_counted(line: bytes, dropped: int) -> None:
    scan = scan_bytes(BANNER % 1 + b"[    6.000000] acme: hello\n" + line + line)
    assert (scan.boots[0].dropped, scan.boots[0].dropped_line) == (2 * dropped, 3)
    assert f"at least {2 * dropped} messages" in missing(scan.boots)[0]


def test_each_boot_ends_with_its_last_message() -> None:
    log = BANNER % 1 + b"[   70.500000] acme: bye\n" + BANNER % 2 + b"[    4.000000] acme: hi\n"
    assert [boot.end for boot in scan_bytes(log).boots] == [70.5, 4.0]


SLEEP = b"[  700.000000] PM: suspend entry (deep)\n[  700.100000] Filesystems sync: 0.01 seconds\n"
WAKE = b"[  701.000000] PM: suspend exit\n"


@pytest.mark.parametrize(
    ("log", "lost"),
    [
        (BANNER % 1 + SLEEP + BANNER % 1, [2]),
        (BANNER % 1 + SLEEP + WAKE + BANNER % 1, []),
        (BANNER % 1 + SLEEP + WAKE + SLEEP + BANNER % 1, [5]),
        (BANNER % 1 + SLEEP, []),  # it may sleep yet
        (BANNER % 1 + SLEEP + BANNER % 1 + b"[    0.0] Command line: elfcorehdr=0x3b000000\n", []),
        (BANNER % 1 + SLEEP + _at(700.2, "acme_suspend") + BANNER % 1, []),
        (BANNER % 1 + b"[    7.0] acmed[9]: PM: suspend entry (deep)\n" + BANNER % 1, []),
    ],
)
def test_a_boot_that_went_to_sleep_and_is_followed_by_another(log: bytes, lost: list[int]) -> None:
    reports = [report for report in scan_bytes(log).reports if report.form == "suspend-lost"]
    assert [report.line for report in reports] == lost
    assert all(report.title == "PM: no return from suspend (deep)" for report in reports)


def test_a_log_that_ends_in_a_sleep_is_not_whole() -> None:
    scan = scan_bytes(BANNER % 1 + SLEEP)
    (said,) = missing(scan.boots)
    assert "ends in a sleep of the machine (log line 2: PM: suspend entry (deep))" in said
    assert missing(scan_bytes(BANNER % 1 + SLEEP + WAKE).boots) == []
