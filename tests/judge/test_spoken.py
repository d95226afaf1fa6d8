"""What the kernel's own lines, and the CPU's, add to a finding."""

from __future__ import annotations

import pytest

from postmortem.judge.faults import oops_finding
from postmortem.model.findings import Confidence, Finding, Kind
from tests.judge.made import first, log


def found(*lines: str) -> Finding:
    ctx, report, _ = first(log(*lines))
    return oops_finding(ctx, report)


def page_fault(address: int, *more: str) -> Finding:
    return found(
        f"BUG: unable to handle page fault for address: {address:016x}",
        "#PF: supervisor read access in kernel mode",
        *more,
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:zorb_peek+0x17/0x40 [zorb]",
        "Call Trace:",
        " zorb_read+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )


def test_kasan_says_that_a_general_protection_fault_was_a_null_pointer() -> None:
    finding = found(
        "general protection fault, probably for non-canonical address 0xdffffc0000000008:"
        " 0000 [#1] SMP KASAN",
        "KASAN: null-ptr-deref in range [0x0000000000000040-0x0000000000000047]",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:zorb_peek+0x17/0x40 [zorb]",
        "Call Trace:",
        " zorb_read+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )
    assert finding.kind is Kind.NULL_DEREFERENCE
    assert "member at offset 0x40" in finding.explanation
    assert "no address at all" not in finding.explanation


def test_an_error_pointer_is_named() -> None:
    text = page_fault(2**64 - 22).explanation
    assert "is -22" in text
    assert "EINVAL" in text


def test_an_ordinary_address_is_no_error_pointer() -> None:
    assert "before a NULL pointer" not in page_fault(0xFFFF888012345678).explanation


def test_an_overwritten_stack_end_is_likely_and_not_certain() -> None:
    finding = page_fault(0x948, "Thread overran stack, or stack corrupted")
    assert (finding.kind, finding.confidence) == (Kind.STACK_OVERFLOW, Confidence.LIKELY)


def test_functions_that_call_each_other_are_a_recursion() -> None:
    turns = [" zorb_out+0x18/0x100 [zorb]", " zorb_in+0x29/0x50 [zorb]"] * 6
    finding = found(
        "traps: PANIC: double fault, error_code: 0x0",
        "double fault: 0000 [#1] PREEMPT SMP PTI",
        "CPU: 1 PID: 147 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:zorb_in+0x4/0x50 [zorb]",
        "Call Trace:",
        *turns,
        "---[ end trace 0000000000000000 ]---",
    )
    assert finding.kind is Kind.STACK_OVERFLOW
    assert finding.culprit.module == "zorb"
    assert "zorb_in(), zorb_out() call each other" in finding.explanation


def test_a_fault_in_code_without_a_name_is_no_jump() -> None:
    finding = found(
        "CPU 0 Unable to handle kernel paging request at virtual address 00000004,"
        " epc == 80401234, ra == 832dda4c",
        "Oops[#1]:",
        "CPU: 0 PID: 5 Comm: zorbd Not tainted 4.14.171 #0",
        "epc   : 80401234 0x80401234",
        "ra    : 832dda4c 0x832dda4c [zorb@832dc000+0x2390]",
        "Call Trace:",
        "[<80401234>] 0x80401234",
        "[<832dda4c>] 0x832dda4c [zorb@832dc000+0x2390]",
        "[<80041a40>] 0x80041a40",
        "---[ end trace 1234567890abcdef ]---",
    )
    assert "jumped" not in finding.explanation
    assert finding.culprit.module == "zorb"


def test_poison_that_the_code_loads_itself_says_nothing_of_the_entry() -> None:
    finding = page_fault(
        0,
        "RSI: dead000000000122 RDI: dead000000000100",
        "Code: 48 bf 00 01 00 00 00 00 ad de 48 be 22 01 00 00 00 00 ad de <48> 89 0a 48 89 38",
    )
    texts = " ".join(item.what for item in finding.evidence)
    assert "already removed" not in texts
    assert "loads itself" in texts


@pytest.mark.parametrize(
    "header",
    [
        "Internal error: synchronous external abort: 0000000096000210 [#1] SMP",
        "Unhandled fault: external abort on non-linefetch (0x1008) at 0xf0a04004",
    ],
)
def test_a_bus_that_answers_with_an_error_is_no_bad_pointer(header: str) -> None:
    finding = found(
        header,
        "CPU: 4 PID: 61 Comm: zorbd Not tainted 6.6.21 #1",
        "pc : zorb_read_id+0x18/0x48 [zorb]",
        "Call trace:",
        " zorb_read_id+0x18/0x48 [zorb]",
        " zorb_probe+0x1d4/0x520 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )
    assert "not mapped" not in finding.explanation
    assert "the device behind it answered with an error" in finding.explanation
    assert "clock" in finding.next_steps[0]


@pytest.mark.parametrize(
    ("code", "itself"),
    [
        ("f2fbd5a2 d2802443 f2fbd5a3 a9400261 (f9000420)", True),  # movk x2, #0xdead, lsl #48
        ("d503201f d2802443 f2dbd5a3 a9400261 (f9000420)", False),  # ... lsl #32
    ],
)
def test_arm64_builds_poison_in_pieces(code: str, itself: bool) -> None:
    finding = found(
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
        "Internal error: Oops: 0000000096000044 [#1] SMP",
        "CPU: 1 PID: 733 Comm: zorbd Not tainted 6.13.4 #2",
        "pc : zorb_drop+0x44/0xa8 [zorb]",
        "x5 : 0000000000000000 x4 : 0000000000000001 x3 : dead000000000122",
        "x2 : dead000000000100 x1 : 0000000000000000 x0 : ffff00000b1f4410",
        "Call trace:",
        " zorb_drop+0x44/0xa8 [zorb]",
        f"Code: {code}",
        "---[ end trace 0000000000000000 ]---",
    )
    texts = " ".join(item.what for item in finding.evidence)
    assert ("loads itself" in texts) is itself
    assert ("already removed" in texts) is not itself


def corrupted_list(wanted: int, there: int) -> Finding:
    return found(
        f"list_del corruption. prev->next should be {wanted:016x}, but was {there:016x}."
        " (prev=ffff888012340000)",
        "------------[ cut here ]------------",
        "kernel BUG at lib/list_debug.c:59!",
        "invalid opcode: 0000 [#1] SMP",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:__list_del_entry_valid_or_report+0x8e/0x90",
        "Call Trace:",
        " zorb_drop+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )


ENTRY = 0xFFFF888012345678


def test_list_pointers_that_differ_in_one_high_bit_speak_of_bad_memory() -> None:
    finding = corrupted_list(ENTRY, ENTRY ^ 1 << 35)
    assert "differ in one bit (bit 35)" in finding.explanation
    assert finding.culprit.function is None
    assert (finding.confidence, "memory" in finding.next_steps[0]) == (Confidence.POSSIBLE, True)


def test_neighbouring_entries_and_two_bits_do_not() -> None:
    for there in (ENTRY ^ 1 << 8, ENTRY ^ 1 << 20, ENTRY ^ 1 << 35 ^ 1 << 36):
        finding = corrupted_list(ENTRY, there)
        assert "one bit" not in finding.explanation
        assert finding.culprit.function == "zorb_drop"


def test_what_ubsan_says_of_the_value_is_told() -> None:
    finding = found(
        "UBSAN: array-index-out-of-bounds in drivers/acme/zorb.c:93:24",
        "index 9 is out of range for type 'u16 [8]'",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " zorb_gain+0x2b/0x70 [zorb]",
        "---[ end trace ]---",
    )
    assert "index 9 is out of range for type 'u16 [8]'" in finding.explanation


def test_kfence_says_how_far_behind_the_object_an_access_went() -> None:
    finding = found(
        "BUG: KFENCE: out-of-bounds read in zorb_copy+0x5c/0xb0 [zorb]",
        "",
        "Out-of-bounds read at 0x00000000a1b2c3d4 (1B right of kfence-#77):",
        " zorb_copy+0x5c/0xb0 [zorb]",
        " zorb_put+0xf8/0x188 [zorb]",
        "",
        "kfence-#77: 0x00000000d1a2b3c4-0x000000006f1d2e3c, size=120, cache=kmalloc-128",
        "",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
    )
    assert "1 B to the right" in finding.explanation
    assert "120 bytes, of the cache kmalloc-128" in finding.explanation
    assert "freed" not in finding.next_steps[0]


def null_read(address: int) -> Finding:
    return found(
        f"BUG: kernel NULL pointer dereference, address: {address:016x}",
        "#PF: supervisor read access in kernel mode",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:zorb_peek+0x17/0x40 [zorb]",
        "Call Trace:",
        " zorb_read+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )


def test_how_far_from_null_an_access_went_is_told() -> None:
    assert "went to 0xa8" in null_read(0xA8).explanation
    assert "The access went" not in null_read(0).explanation


def test_lockdep_s_two_locks_are_named() -> None:
    finding = found(
        "WARNING: possible circular locking dependency detected",
        "6.9.0 #1 Not tainted",
        "zorbd/700 is trying to acquire lock:",
        "ffff0000c8a1b2d8 (&dev->zorb_lock){+.+.}-{4:4}, at: zorb_set+0x21/0x60 [zorb]",
        "but task is already holding lock:",
        "ffffffc009a1b2d8 (acme_mutex){+.+.}-{4:4}, at: acme_lock+0x14/0x20",
        "which lock already depends on the new lock.",
    )
    assert "It wanted &dev->zorb_lock while it held acme_mutex" in finding.explanation


def refcount(said: str) -> Finding:
    return found(
        "------------[ cut here ]------------",
        f"refcount_t: {said}.",
        "WARNING: CPU: 5 PID: 700 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:refcount_warn_saturate+0xba/0x110",
        "Call Trace:",
        " zorb_put+0x2b/0x70 [zorb]",
        " zorb_close+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )


def test_a_refcount_says_which_way_it_went_wrong() -> None:
    below = refcount("underflow; use-after-free").explanation
    assert below.startswith("zorb_put() gave back a reference that was not there")
    assert "checked an assumption" not in below
    above = refcount("saturated; leaking memory").explanation
    assert above.startswith("In zorb_put() a count of references ran over")
    dead = refcount("addition on 0; use-after-free")
    assert "took a reference to an object whose count was 0" in dead.explanation
    assert "zorb_put()" in dead.next_steps[0]


def test_a_fault_at_zero_is_one_of_null_whatever_its_title_says() -> None:
    lines = (
        "Unable to handle kernel pointer dereference in virtual kernel address space",
        "Failing address: {} TEID: {}",
        "Oops: 0004 ilc:2 [#1] SMP",
        "CPU: 1 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "Krnl PSW : 0704c00180000000 000003ff803b4a12 (zorb_peek+0x3a/0x90 [zorb])",
        "Call Trace:",
        " [<000003ff803b4a12>] zorb_peek+0x3a/0x90 [zorb]",
        "Last Breaking-Event-Address:",
    )
    null = found(*(line.format("0" * 16, "0" * 13 + "483") for line in lines))
    assert null.title == "BUG: unable to handle kernel pointer dereference in zorb_peek"
    assert (null.kind, "NULL pointer" in null.explanation) == (Kind.NULL_DEREFERENCE, True)
    wild = found(*(line.format("00000bad" * 2, "00000bad00000483") for line in lines))
    assert wild.title == null.title
    assert (wild.kind, "NULL pointer" in wild.explanation) == (Kind.BAD_POINTER, False)


def lockdep(header: str) -> Finding:
    return found(
        header,
        "6.9.0 #1 Not tainted",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " dump_stack_lvl+0x5d/0x80",
        " register_lock_class+0x2b/0x70",
        " __lock_acquire+0x5d/0x80",
        " lock_acquire+0x5d/0x80",
        " _raw_spin_lock_bh+0x2b/0x70",
        " zorb_stop+0x2b/0x70 [zorb]",
        " zorb_close+0x2b/0x70 [zorb]",
    )


def test_lockdep_does_not_speak_of_deadlocks_where_it_saw_none() -> None:
    key = lockdep("INFO: trying to register non-static key.")
    assert key.explanation.startswith("zorb_stop() used a lock that was never initialised")
    assert "spin_lock_init()" in key.next_steps[0]
    full = lockdep("BUG: MAX_LOCKDEP_ENTRIES too low!")
    assert "accuses no lock" in full.explanation
    for finding in (key, full):
        assert "deadlock" not in finding.explanation


def test_kasan_s_size_and_place_are_told() -> None:
    text = found(
        "BUG: KASAN: slab-out-of-bounds in zorb_peek+0x17/0x40 [zorb]",
        "Read of size 8 at addr ffff88800969e798 by task zorbd/700",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " dump_stack_lvl+0x5d/0x80",
        " kasan_report+0x5d/0x80",
        " zorb_peek+0x17/0x40 [zorb]",
        "The buggy address is located 24 bytes to the right of",
        " allocated 128-byte region [ffff88800969e700, ffff88800969e780)",
    ).explanation
    assert "It was a Read of 8 bytes." in text


def test_a_bug_that_is_no_bug_macro_is_told_in_its_own_words() -> None:
    stack = (
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " dump_stack_lvl+0x5d/0x80",
        " check_preemption_disabled+0x5d/0x80",
        " zorb_count+0x2b/0x70 [zorb]",
    )
    moved = found("BUG: using __this_cpu_read() in preemptible [00000000] code: zorbd/700", *stack)
    assert moved.explanation.startswith("zorb_count() used __this_cpu_read() where its task may")
    other = found("BUG: the zorb is upside down", *stack).explanation
    assert other.startswith("The kernel reported a bug")
    assert '"BUG: the zorb is upside down"' in other
    for text in (moved.explanation, other):
        assert "with BUG()" not in text


def test_an_object_that_is_active_yet_is_named() -> None:
    finding = found(
        "------------[ cut here ]------------",
        "ODEBUG: free active (active state 0) object: 00000000c2b5a2d1 object type: work_struct"
        " hint: zorb_work+0x0/0xf0",
        "WARNING: CPU: 1 PID: 700 at lib/debugobjects.c:514 debug_print_object+0x16a/0x250",
        "CPU: 1 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:debug_print_object+0x16a/0x250",
        "Call Trace:",
        " zorb_free+0x9e/0x780 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )
    assert finding.explanation.startswith(
        "An object of the type work_struct was active yet (queued or armed) when zorb_free() came"
    )


def test_freed_memory_in_a_list_is_named() -> None:
    finding = found(
        "list_add corruption. prev->next should be next (ffff000004739300), but was"
        " 6b6b6b6b6b6b6b6b. (prev=ffff0000117c3750).",
        "------------[ cut here ]------------",
        "kernel BUG at lib/list_debug.c:29!",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "RIP: 0010:__list_add_valid+0x9a/0xc0",
        "Call Trace:",
        " zorb_queue+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )
    assert "6b6b6b6b6b6b6b6b is no neighbour: POISON_FREE" in finding.explanation
    assert "one bit" not in finding.explanation


def test_the_place_of_might_sleep_is_not_the_culprit_s() -> None:
    finding = found(
        "BUG: sleeping function called from invalid context at lib/usercopy.c:25",
        "in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 700, name: zorbd",
        "preempt_count: 1, expected: 0",
        "CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1",
        "Call Trace:",
        " __might_resched+0x2b/0x70",
        " zorb_copy+0x2b/0x70 [zorb]",
        "---[ end trace 0000000000000000 ]---",
    )
    assert (finding.culprit.function, finding.culprit.file) == ("zorb_copy", None)
    assert "because preemption was disabled" in finding.explanation
