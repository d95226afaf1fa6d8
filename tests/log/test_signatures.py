"""What reports of one bug share, and what reports of different bugs don't."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from postmortem.log.scan import scan_bytes

TRACE = b"Call Trace:\n acme_do+0x1/0x2\n acme_ioctl+0x1/0x2\n"
HEADERS = {
    "deadlock": b"WARNING: possible circular locking dependency detected\n",
    "state": b"WARNING: inconsistent lock state\n",
    "usage": b"WARNING: suspicious RCU usage\n",
    "preempt": b"BUG: using smp_processor_id() in preemptible [00000000] code: acmed/12\n",
    "bug": b"kernel BUG at acme.c:1!\n",
    "warn": b"WARNING: CPU: 0 PID: 12 at acme.c:12 acme_do+0x1/0x2\n",
    "refcount": b"WARNING: CPU: 0 PID: 12 at lib/refcount.c:28 refcount_warn_saturate+0x1/0x2\n",
    "sched": b"BUG: scheduling while atomic: acmed/12/0x00000002\n",
    "sleep": b"BUG: sleeping function called from invalid context at a.c:1\n",
    "shift": b"UBSAN: shift-out-of-bounds in a.c:1:2\n",
    "index": b"UBSAN: array-index-out-of-bounds in a.c:1:2\n",
    "access": b"BUG: unable to handle page fault for address: ffffffff12345678\n",
    "segment": b"stack segment: 0000 [#1] SMP\n",
    "free": b"BUG: KASAN: double-free in acme_do+0x1/0x2\n",
}
SAME = [
    (b"BUG: KASAN: use-after-free in acme_do+0x1/0x2\nRead of size 8 at addr ffff by task a/1\n",
     b"BUG: unable to handle page fault for address: ffffffff12345678\n"),
    (b"BUG: KFENCE: use-after-free read in acme_do+0x1/0x2\n",
     b"general protection fault: 0000 [#1] SMP\n"),
    (b"BUG: KFENCE: invalid free in acme_do+0x1/0x2\n", b"BUG: KASAN: double-free in acme_do+0x1/0x2\n"),
    (b"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [acmed:12]\n",
     b"rcu: INFO: rcu_sched self-detected stall on CPU\n"),
    (b"WARNING: possible recursive locking detected\n",
     b"WARNING: possible circular locking dependency detected\n"),
]  # fmt: skip


def coarse(header: bytes) -> str:
    signature = scan_bytes(header + TRACE).reports[0].signature
    assert signature is not None
    return signature.coarse


def test_different_checks_in_one_function_are_different_bugs() -> None:
    assert len({coarse(header) for header in HEADERS.values()}) == len(HEADERS)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_faces_of_one_bug_are_joined(one: bytes, other: bytes) -> None:
    assert coarse(one) == coarse(other)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_the_function_is_readable(name: str) -> None:
    assert coarse(HEADERS[name]).endswith(":acme_do")
