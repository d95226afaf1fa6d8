"""What devices complained of: by level, by words, and what only sounds like it."""

from __future__ import annotations

import pytest

from postmortem.inputs.text import open_source
from postmortem.log.complaints import Complaint, Crashes, complaints, heard
from postmortem.log.reader import Reader


def of(text: str) -> list[Complaint]:
    return list(complaints(Reader(open_source("x", text.encode())).messages()))


def test_the_level_tells_what_is_an_error() -> None:
    text = (
        "<6>[    1.000000] frob 0000:41:00.0: registered error handler\n"
        "<3>[    2.000000] frob 0000:41:00.0: mailbox 3 is odd\n"
        "<3>[    2.100000] frob 0000:41:00.0: mailbox 4 is odd\n"
        "<4>[    2.200000] quux 0000:42:00.0: link training failed\n"
        "<2>[    3.000000] usb 3-2: port is on fire\n"
    )
    assert of(text) == [
        Complaint("0000:41:00.0", 2, "frob 0000:41:00.0: mailbox 3 is odd", 2),
        Complaint("usb 3-2", 5, "usb 3-2: port is on fire", 1),
    ]


def test_without_levels_the_words_tell() -> None:
    text = (
        "[    1.000000] frob 0000:41:00.0 enp65s0: MAC filter setup failed: -5\n"
        "[    1.100000] quuxfs (sdq3): journal checksum error in block 12\n"
        "[    1.200000] snd_quux 7-0044: codec returned -121\n"
        "[    1.300000] snd_quux 7-0044: reset timed out\n"
        "[    1.400000] quuxd[311]: frob 0000:41:00.0: failed\n"
    )
    assert [(c.device, c.count) for c in of(text)] == [
        ("enp65s0", 1),
        ("sdq", 1),
        ("snd_quux 7-0044", 1),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "pci 0000:00:1d.0: BAR 13: failed to assign [io  size 0x1000]",
        "frob 0000:41:00.0: Direct firmware load for frob/a.bin failed with error -2",
        "frob 0000:41:00.0: error correction is on",
        "frob 0000:41:00.0: 0 errors since boot",
        "EXT4-fs (sdq2): mounted with errors=remount-ro",
        "acpi PNP0A03:00: fail to add MMCONFIG information, can't access extended space",
        "frob_wdt frob_wdt.0: initialized, timeout=60 sec",
        "ata9: SATA link down (SStatus 0 SControl 300)",
        "systemd[1]: frob 0000:41:00.0: Failed",
        "ACPI Error: Aborting method due to previous error (AE_NOT_FOUND)",
    ],
)
def test_what_only_sounds_like_an_error(line: str) -> None:
    assert of(f"[    1.000000] {line}\n") == []


def test_a_wrapped_log_is_unwrapped() -> None:
    text = "6,1,100,-;frob: hello\n3,2,200,-;frob 0000:41:00.0: no answer\n6,3,300,-;frob: bye\n"
    assert [(c.device, c.line) for c in of(text)] == [("0000:41:00.0", 2)]


# show_signal_msg(), do_trap(), arm64_show_signal(), show_signal_msg() of powerpc.
CRASHED = [
    "zorbd[311]: segfault at 8 ip 00007f00 sp 00007ffd error 4 in libzorb.so[7f00+1000]",
    "traps: zorbd[312] general protection fault ip:7f00 sp:7ffd error:0 in libzorb.so[7f00+1000]",
    "traps: zorbd[313] trap invalid opcode ip:7f00 sp:7ffd error:0",
    "zorbd[314]: unhandled exception: DABT (lower EL), ESR 0x92000006, in zorbd[400000+1000]",
    "zorbd[315]: segfault (11) at 8 nip 1000 lr 2000 code 1",
]


def test_programs_that_crash_are_counted() -> None:
    text = "".join(f"[{n:5}.000000] {line}\n" for n, line in enumerate(CRASHED, 1))
    found = heard(Reader(open_source("x", text.encode())).messages())
    assert found.crashes == (Crashes("zorbd", 1, CRASHED[0], 5),)
    assert found.complaints == ()


@pytest.mark.parametrize(
    "line", ["zorbd[311]: started at 8", "traps: nothing here", "frob 0000:41:00.0: segfault"]
)
def test_a_message_of_a_program_is_no_crash(line: str) -> None:
    text = f"[    1.000000] {line}\n"
    assert heard(Reader(open_source("x", text.encode())).messages()).crashes == ()


def test_a_bug_of_the_firmware_is_no_device() -> None:
    said = "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.ZORB], AE_NOT_FOUND failed"
    assert of(f"[    1.000000] {said}\n") == []
