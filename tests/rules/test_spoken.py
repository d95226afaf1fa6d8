"""The kernel's own conclusions inside a report."""

from __future__ import annotations

from postmortem.model.findings import Kind
from postmortem.rules.spoken import heard, kind_spoken

NULL = "KASAN: null-ptr-deref in range [0x0000000000000040-0x0000000000000047]"


def test_kasan_undoes_its_shadow() -> None:
    assert kind_spoken([NULL], Kind.GENERAL_PROTECTION) is Kind.NULL_DEREFERENCE
    (said,) = heard(["x", NULL], Kind.GENERAL_PROTECTION)
    assert said.number == 1
    assert "0x40-0x47" in said.sentence


def test_an_address_of_user_space_is_no_null_pointer() -> None:
    text = "KASAN: probably user-memory-access in range [0x0000000041414140-0x0000000041414147]"
    assert kind_spoken([text], Kind.GENERAL_PROTECTION) is Kind.BAD_POINTER


def test_a_line_counts_only_in_reports_that_it_can_stand_in() -> None:
    assert kind_spoken([NULL], Kind.SOFT_LOCKUP) is Kind.SOFT_LOCKUP
    assert list(heard([NULL], Kind.OOM)) == []


def test_end_of_stack_overwritten() -> None:
    text = "Thread overran stack, or stack corrupted"
    assert kind_spoken([text], Kind.NULL_DEREFERENCE) is Kind.STACK_OVERFLOW


def test_rtmutex_deadlock_is_a_deadlock() -> None:
    assert kind_spoken(["rtmutex deadlock detected"], Kind.WARNING) is Kind.DEADLOCK


def test_nx_page_is_a_jump() -> None:
    text = "kernel tried to execute NX-protected page - exploit attempt? (uid: 0)"
    assert kind_spoken([text], Kind.BAD_POINTER) is Kind.BAD_EXECUTION
