"""Syndrome registers in words, each by the architecture's manual and the kernel's tables."""

from __future__ import annotations

import pytest

from postmortem.rules.fault_codes import decoded, psw


@pytest.mark.parametrize(
    ("line", "means"),
    [
        # arm64
        ("  ESR = 0x0000000096000044", "write, level 0 translation fault"),
        ("  ESR = 0x96000007", "read, level 3 translation fault"),
        ("  ESR = 0x000000008600000f", "instruction fetch, level 3 permission fault"),
        ("  ESR = 0x96000210", "external abort"),
        ("  ESR = 0x96000011", "read, tag check fault (MTE)"),
        ("  ESR = 0x96000018", "parity or ECC error"),
        ("  ESR = 0x96000015", "external abort on a page table of level 1"),
        ("  ESR = 0x00000000f2000800", "break instruction 0x800, BUG() or WARN()"),
        ("  ESR = 0x000000008a000000", "a program counter that is not aligned"),
        ("  ESR = 0x0000000036000001", "BTI"),
        ("Internal error: synchronous external abort: 0000000096000410 [#1] SMP", "external"),
        ("Internal error: synchronous parity or ECC error: 96000018 [#1] SMP", "parity or ECC"),
        # arm
        ("Internal error: Oops: 17 [#1] SMP ARM", "FSR 0x17: read or fetch, translation fault"),
        ("Internal error: Oops: 80f [#1] ARM", "write, permission fault on a page"),
        ("Internal error: Oops: a07 [#1] ARM", "write, level 3 translation fault"),
        # mips, riscv, loongarch
        ("Cause : 0080000c (ExcCode 03)", "store to an unmapped page"),
        ("Cause : 00800014 (ExcCode 05)", "store to an unaligned or forbidden address"),
        ("status: 0000000200000120 badaddr: 0000000000000010 cause: 000000000000000d", "on a load"),
        ("status: 0000000200000120 badaddr: 0000000010000000 cause: 0000000000000007", "a store"),
        (" ESTAT: 00010000 [PIL] (IS= ECode=1 EsubCode=0)", "load from a page that is not mapped"),
        (" ESTAT: 00480000 [ADEM] (IS= ECode=8 EsubCode=1)", "load or store at a forbidden"),
        # powerpc, s390
        ("REGS: c000000012345678 TRAP: 0300   Not tainted  (6.4.0)", "data access fault"),
        ("CFAR: c0000000003 DAR: 0 DSISR: 42000000 IRQMASK: 0", "store, no page is mapped there"),
        ("Oops: 0004 ilc:2 [#1] SMP", "the page's protection forbids it"),
        ("Oops: 0011 ilc:3 [#2]SMP", "no page is mapped there"),
        ("specification exception: 0006 ilc:2 [#1] SMP", "a wrong or unaligned operand"),
        # x86 before 5.1
        ("Oops: 0002 [#1] SMP", "write in kernel mode, no page is mapped there"),
        ("Oops: 0011 [#1] PREEMPT SMP", "instruction fetch in kernel mode, the page's protection"),
        ("Oops: 0009 [#1] SMP", "a reserved bit is set in the page table"),
    ],
)
def test_decoded(line: str, means: str) -> None:
    found = decoded(["A report begins", line])
    assert found is not None
    assert found[0] == 1
    assert means in found[1]


@pytest.mark.parametrize(
    "line",
    [
        "Cause : 00000000 (ExcCode 1f)",
        "  ESR = 0x00000000f2001234",  # a number that nobody in the kernel uses
        "status: 0 badaddr: 0 cause: 8000000000000005",  # an interrupt
        "Internal error: Oops: 96000004 [#1] PREEMPT SMP",  # arm64, which prints it again
    ],
)
def test_what_has_no_meaning_gets_none(line: str) -> None:
    assert decoded([line]) is None


def test_what_the_kernel_spells_out_is_not_said_again() -> None:
    assert decoded(["#PF: supervisor write access in kernel mode", "Oops: 0002 [#1] SMP"]) is None


def test_psw_tells_mode_and_place() -> None:
    said = psw("Krnl PSW : 0704c00180000000 000003ff801f2a1c (zorb_read+0x1c/0x80 [zorb])")
    assert said == (
        "PSW at 0x3ff801f2a1c (zorb_read+0x1c/0x80): kernel mode, I/O and external interrupts on"
    )
    off = psw("Krnl PSW : 0404e00180000000 0000000000b1c2d4 (zorb_lock+0x14/0x40)")
    assert "interrupts off" in off
    assert "user mode" in psw("Krnl PSW : 0705000180000000 000000000100401c")
    assert psw("Krnl GPRS: 0 0 0 0") == ""
