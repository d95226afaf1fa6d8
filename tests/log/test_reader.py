"""Boots, the kdump kernel, line numbers, and reports of several CPUs at once."""

from __future__ import annotations

from pathlib import Path

from postmortem.log.scan import scan_bytes

FIXTURES = Path(__file__).parent / "fixtures"
OOPS = (FIXTURES / "x86_gpf.txt").read_bytes()
BANNER = b"[    0.000000] Linux version %s (build@acme) (gcc 12) #1 SMP\n"
CALM = b"[    1.000000] acme: all is well\n"


def test_boots_are_told_apart() -> None:
    log = BANNER % b"6.1.0" + CALM * 3 + OOPS + BANNER % b"6.2.0" + CALM + OOPS
    scan = scan_bytes(log)
    assert [(boot.line, boot.release) for boot in scan.boots] == [(1, "6.1.0"), (38, "6.2.0")]
    assert [report.detail["boot"] for report in scan.reports] == ["1", "1", "2", "2"]


def test_kernel_that_saves_the_dump_is_marked() -> None:
    log = BANNER % b"6.1.0" + OOPS + b"Starting crashdump kernel...\n" + BANNER % b"6.1.0" + OOPS
    scan = scan_bytes(log)
    assert [boot.kdump for boot in scan.boots] == [False, True]
    assert scan.reports[-1].detail["boot_of"] == "kdump kernel"


def test_a_reset_in_the_middle_of_a_report_ends_it() -> None:
    cut = OOPS[: OOPS.index(b"Call Trace")]
    (report, *_) = scan_bytes(cut + b"\n" + BANNER % b"6.1.0" + CALM).reports
    assert report.corrupted == "cut short: the machine restarted"


def test_kaslr_offset_is_noted() -> None:
    scan = scan_bytes(BANNER % b"6.14.0" + OOPS)
    assert scan.boots[0].offset == 0x1C000000


def test_line_numbers_far_into_a_log() -> None:
    log = CALM * 100_000 + OOPS
    assert scan_bytes(log).reports[0].line == 100_001


def test_carriage_returns_do_not_count_as_lines() -> None:
    log = OOPS.replace(b"\n", b"\r\r\n")
    assert [(r.line, r.end_line) for r in scan_bytes(log).reports] == [(1, 29), (31, 33)]


def lines(caller: bytes, function: bytes) -> list[bytes]:
    prefix = b"[    5.000000][%6s] " % caller
    return [
        prefix + text + b"\n"
        for text in (
            b"kernel BUG at acme.c:1!",
            b"RIP: 0010:%s+0x1/0x2" % function,
            b"Call Trace:",
            b" %s_outer+0x1/0x2" % function,
            b"---[ end trace 0000000000000000 ]---",
        )
    ]


def test_two_cpus_at_once_are_two_reports() -> None:
    mixed = [
        line
        for pair in zip(lines(b"T1", b"acme_a"), lines(b"T2", b"acme_b"), strict=True)
        for line in pair
    ]
    reports = scan_bytes(b"".join(mixed)).reports
    assert [(r.function, [f.function for f in r.frames]) for r in reports] == [
        ("acme_a", ["acme_a_outer"]),
        ("acme_b", ["acme_b_outer"]),
    ]


def test_messages_of_others_in_a_stack_are_passed_over() -> None:
    own = lines(b"T1", b"acme_a")
    other = b"[    5.000000][   T99] usb 1-1: new device\n"
    (report,) = scan_bytes(other.join(own)).reports
    assert [frame.function for frame in report.frames] == ["acme_a_outer"]


def test_panic_inside_a_warning_does_not_lose_the_stack() -> None:
    log = b"""\
WARNING: CPU: 0 PID: 1 at acme.c:1 acme_check+0x1/0x2
Kernel panic - not syncing: panic_on_warn set ...
CPU: 0 PID: 1 Comm: acmed Not tainted 4.14.0 #1
Call Trace:
 dump_stack+0x1/0x2
 panic+0x1/0x2
 __warn+0x1/0x2
 report_bug+0x1/0x2
 do_invalid_op+0x1/0x2
RIP: 0010:acme_check+0x1/0x2
 acme_ioctl+0x1/0x2
"""
    (report,) = scan_bytes(log).reports
    assert (report.title, report.function) == ("WARNING in acme_check", "acme_check")


def test_already_symbolised_is_the_same_report() -> None:
    raw = scan_bytes(OOPS).reports[0]
    decoded = OOPS.replace(
        b"acme_complete+0x55/0x90 [acme_blk]", b"acme_complete (acme.c:12) acme_blk"
    )
    rich = scan_bytes(decoded).reports[0]
    assert (rich.title, rich.signature) == (raw.title, raw.signature)


def test_what_stands_below_a_paste_is_not_the_end_of_the_log() -> None:
    scan = scan_bytes(b"[    1.000000] acme: hello\n[   90.000000] acme: still here\n```\nthanks\n")
    assert scan.end is not None
    assert (scan.end.line, scan.end.time) == (2, 90.0)
