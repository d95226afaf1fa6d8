"""One bit that differs, as a log's registers and the kernel's own comparisons show it."""

from __future__ import annotations

import pytest

from postmortem.judge.bit_flips import flip_of
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Confidence
from postmortem.model.report import Report
from tests.judge.test_victims import verdict_of

GOOD = "ffff9a40c3a2e200"


def gpf(bad: str, *, near: str = "ffff9a40d1b38000", address: str = "") -> str:
    return "\n".join([
        f"general protection fault, probably for non-canonical address 0x{address or bad}:"
        " 0000 [#1] SMP NOPTI",
        "CPU: 5 PID: 33 Comm: dunlin Not tainted 6.8.9 #1",
        "RIP: 0010:knot_find+0x5e/0x110 [knot]",
        "RSP: 0018:ffffa9c14a4a7a98 EFLAGS: 00010286",
        f"RAX: 0000000000000001 RBX: {bad} RCX: 000000000000000b",
        f"RDX: ffffa9c14a4a7b24 RSI: {near} RDI: {near}",
        "RBP: 0000000a7f3c1b20 R08: 0000000000000009 R09: ffff9a4033002000",
        "Call Trace:",
        " <TASK>",
        " knot_read+0x26/0x100 [knot]",
        " </TASK>",
    ])  # fmt: skip


def report_of(text: str) -> Report:
    return scan_bytes(text.encode()).reports[0]


def flipped(bit: int) -> str:
    return f"{int(GOOD, 16) ^ 1 << bit:016x}"


@pytest.mark.parametrize("bit", [45, 47, 54, 58, 63])
def test_a_pointer_that_one_bit_parts_from_its_neighbours(bit: int) -> None:
    bad = flipped(bit)
    found = flip_of(report_of(gpf(bad, address=f"{int(bad, 16) + 0x18:016x}")))
    assert found is not None
    assert (found.name, found.bit, found.meant) == ("RBX", bit, int(GOOD, 16))
    assert set(found.near) >= {"RSI", "R09"}


def test_the_verdict_says_so_and_is_not_certain() -> None:
    verdict = verdict_of(gpf(flipped(54)))
    assert "One bit differs from an address near RSI, RDI and R09" in " ".join(
        verdict.summary.split()
    ).replace("one bit", "One bit")
    assert verdict.confidence is not Confidence.CERTAIN
    assert any("memtest" in step for step in verdict.next_steps)


@pytest.mark.parametrize(
    "bad",
    [
        f"{int(GOOD, 16) ^ 3 << 54:016x}",  # two bits
        "dead000000000122",  # poison
        "6b6b6b6b6b6b6b6b",
        "dffffc0000000003",  # KASAN's shadow
        "00000000deadbeef",
        "0041004100410041",
    ],
)
def test_what_is_no_flipped_bit(bad: str) -> None:
    assert flip_of(report_of(gpf(bad))) is None


def test_one_neighbour_proves_nothing() -> None:
    assert flip_of(report_of(gpf(flipped(54), near="ffffb940d1b38000"))) is None


def test_bits_that_differ_between_regions_and_pages_do_not_count() -> None:
    assert flip_of(report_of(gpf(flipped(33)))) is None
    arm = "\n".join([
        "Unable to handle kernel paging request at virtual address {bad}",
        "Internal error: Oops: 0000000096000007 [#1] PREEMPT SMP",
        "CPU: 2 PID: 33 Comm: dunlin Not tainted 6.8.9 #1",
        "pc : knot_find+0x5c/0x110 [knot]",
        "lr : knot_read+0x26/0x100 [knot]",
        "sp : ffff800083b1bc20",
        "x29: ffff800083b1bc20 x28: ffff0000c3f5b900 x27: 0000000000000000",
        "x26: 0000000000000000 x25: ffff0000c1a48880 x24: {bad}",
        "Call trace:",
        " knot_find+0x5c/0x110 [knot]",
    ])  # fmt: skip
    vmalloc, flip = "ffff8000c1a99000", "ffdf0000c1a99000"
    assert flip_of(report_of(arm.format(bad=vmalloc))) is None
    found = flip_of(report_of(arm.format(bad=flip)))
    assert found is not None and (found.name, found.bit) == ("X24", 53)


@pytest.mark.parametrize(
    ("last", "byte", "told"),
    [("38", "7b", True), ("38", "00", False), ("3f", "7b", False)],
    ids=["one bit of one byte", "eight bits", "eight bytes"],
)
def test_the_slab_allocator_compares_bytes_itself(last: str, byte: str, told: bool) -> None:
    words = (
        "=============================================================================\n"
        "BUG kmalloc-64 (Not tainted): Poison overwritten\n"
        "-----------------------------------------------------------------------------\n"
        f"0xffff9a40c3a2e238-0xffff9a40c3a2e2{last} @offset=568. First byte 0x{byte}"
        " instead of 0x6b\n"
        "CPU: 5 PID: 33 Comm: dunlin Not tainted 6.8.9 #1\n"
        "Call Trace:\n check_object+0x1b/0x90\n knot_add+0x26/0x100 [knot]"
    )
    summary = verdict_of(words).summary
    assert ("one bit differs, bit 4" in summary.lower()) is told
