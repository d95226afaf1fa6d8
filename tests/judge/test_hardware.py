"""Errors of the hardware: what a bank says, and whose address it was."""

from __future__ import annotations

import pytest

from postmortem.judge.hardware import told
from postmortem.model.findings import Finding
from tests.judge.made import context, first, log

MCE = (
    "mce: [Hardware Error]: CPU 7: Machine Check Exception: 5 Bank 1: {status}",
    "mce: [Hardware Error]: RIP {rip}10:<ffffffff9a01c2f4> {{zorb_copy+0x4/0x10}}",
    "mce: [Hardware Error]: TSC 1c2a45c1a0f2d0 ADDR {address} MISC 86",
    "mce: [Hardware Error]: Machine check: Data load in unrecoverable area of kernel",
)
EDAC = (
    "EDAC MC0: 2 CE memory read error on DIMM_C2 (channel:1 slot:0 page:{page} offset:{offset}"
    " grain:32 syndrome:0x0)"
)


def check(*before: str, status: str = "bd80000000100134", address: str = "1a2b3c4540",
          rip: str = "") -> Finding:  # fmt: skip
    values = {"status": status, "address": address, "rip": rip}
    ctx = context(log(*before, *(line.format(**values) for line in MCE)))
    report = next(report for report in ctx.reports if report.form == "mce")
    _, _, finding = first(log(*(line.format(**values) for line in MCE)))
    return told(finding, report, ctx.reports)


def test_a_bank_is_told_in_words() -> None:
    """The bits of 0xbd80000000100134 by the SDM: UC, no PCC; 0x0134 is a data read of L0."""
    text = check().explanation
    assert "uncorrected error in bank 1 (L0 data cache, data read)" in text
    assert "at the address 0x1a2b3c4540" in text
    assert "Data load in unrecoverable area of kernel" in text
    assert "zorb_copy() only met it" in text


def test_an_instruction_pointer_that_is_only_near_is_not_told() -> None:
    assert "zorb_copy" not in check(rip="!INEXACT! ").explanation


@pytest.mark.parametrize(
    ("page", "offset", "same"),
    [("0x1a2b3c4", "0x540", "address"), ("0x1a2b3c4", "0x0", "page"), ("0x1a2b3c5", "0x540", "")],
)
def test_the_dimm_is_the_one_that_had_errors_at_the_address(
    page: str, offset: str, same: str
) -> None:
    finding = check(EDAC.format(page=page, offset=offset))
    assert (f"The same {same} had corrected errors before, of the DIMM DIMM_C2."
            in finding.explanation) is bool(same)  # fmt: skip
    assert ("DIMM_C2" in finding.shown) is bool(same)
    assert finding.title == "mce: Machine Check in bank 1"


def test_a_corrected_machine_check_harmed_nothing() -> None:
    assert "corrected it" in check(status="8c00000000010090").explanation


def test_a_hostile_address_is_no_address() -> None:
    assert "at the address" not in check(address="f" * 400).explanation


AMD = (
    "[  100.000000] mce: [Hardware Error]: Machine check events logged",
    "[  100.000000] [Hardware Error]: Corrected error, no action required.",
    "[  100.000000] [Hardware Error]: CPU:0 (19:11:1)"
    " MC21_STATUS[-|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]: 0x9c2040000000011b",
    "[  100.000000] [Hardware Error]: Unified Memory Controller Ext. Error Code: 0",
)
ROW = "EDAC MC2: 1 CE on mc#2csrow#1channel#5 (csrow:1 channel:5 page:0x745883 offset:0x700)"


@pytest.mark.parametrize(("later", "named"), [(0.001, True), (90.0, False)])
def test_edac_names_the_part_of_the_machine_check_that_it_decodes(
    later: float, named: bool
) -> None:
    ctx = context(log(*AMD) + log(ROW, start=100.0 + later))
    report = next(report for report in ctx.reports if report.form == "mce")
    _, _, finding = first(log(*AMD))
    said = told(finding, report, ctx.reports)
    assert ("It names mc#2csrow#1channel#5 (csrow 1 channel 5)." in said.explanation) is named
