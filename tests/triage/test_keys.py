"""What joins cases, and what keeps them apart although their stacks are alike."""

from __future__ import annotations

from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Culprit, Kind
from postmortem.model.frame import Frame
from postmortem.rules.blame import signature
from postmortem.triage.keys import bug_key
from tests.triage.piles import oops


def key(
    kind: Kind = Kind.SOFT_LOCKUP,
    *names: str,
    check: str = "",
    culprit: str | None = None,
    behind: str = "",
) -> str | None:
    frames = [Frame(name) for name in names or ("acme_loop", "acme_start", "vfs_write")]
    found = signature(kind, frames[0].function, frames, check)
    return bug_key(found, Culprit(culprit or frames[0].function), behind, None)


def of_log(text: str) -> str | None:
    (report,) = scan_bytes(text.encode()).reports[:1]
    return bug_key(report.signature, Culprit(report.function), "", report)


def test_which_detector_fired_first_does_not_matter() -> None:
    assert key(Kind.SOFT_LOCKUP) == key(Kind.HARD_LOCKUP) == key(Kind.RCU_STALL)
    assert key(Kind.USE_AFTER_FREE) == key(Kind.GENERAL_PROTECTION)
    assert key(Kind.SOFT_LOCKUP) != key(Kind.HUNG_TASK)
    assert key(Kind.WARNING, check="refcount") != key(Kind.WARNING)


def test_without_a_stack_the_kind_is_all_there_is() -> None:
    assert key(Kind.USE_AFTER_FREE, "kfree") != key(Kind.GENERAL_PROTECTION, "kfree")


def test_two_bugs_wait_at_the_same_place() -> None:
    waits = key(Kind.HUNG_TASK)
    busy = key(Kind.HUNG_TASK, culprit="acme_sum")
    gone = key(Kind.HUNG_TASK, behind="owner exited")
    assert len({waits, busy, gone, key(Kind.HUNG_TASK, culprit="acme_sleep")}) == 4


def test_behind_one_holder_it_does_not_matter_who_waited_longest() -> None:
    assert key(Kind.HUNG_TASK, "acme_show", culprit="acme_sum") == key(
        Kind.HUNG_TASK, "acme_store", culprit="acme_sum"
    )


def test_a_circle_is_one_whoever_was_reported_first() -> None:
    behind = "circle of acme_a, acme_b"
    assert key(Kind.HUNG_TASK, "acme_a", behind=behind) == key(
        Kind.HUNG_TASK, "acme_b", behind=behind
    )


def test_what_an_interrupt_came_into_is_not_of_the_bug() -> None:
    head = (
        "acme_tick+0x1/0x9 [acme]\n hrtimer_run+0x1/0x9\n asm_sysvec_apic_timer_interrupt+0x1/0x9"
    )
    one = oops("acme_tick", stack=f"{head}\n old_idle+0x1/0x9\n do_idle+0x1/0x9")
    other = oops("acme_tick", stack=f"{head}\n new_halt+0x1/0x9\n new_idle+0x1/0x9")
    assert of_log(one) == of_log(other)
    assert of_log(one) != of_log(oops("acme_tock"))


def test_an_interrupt_of_another_bug_is_another_bug() -> None:
    tail = "hrtimer_run+0x1/0x9\n asm_sysvec_apic_timer_interrupt+0x1/0x9\n do_idle+0x1/0x9"
    one = oops("acme_tick", stack=f"acme_fire+0x1/0x9 [acme]\n {tail}")
    other = oops("acme_tick", stack=f"acme_poll+0x1/0x9 [acme]\n {tail}")
    assert of_log(one) != of_log(other)


def test_where_a_machine_had_no_root_says_nothing() -> None:
    assert key(Kind.ROOT_MOUNT, "mount_it") == key(Kind.ROOT_MOUNT, "mount_it_otherwise")


def test_no_signature_no_key() -> None:
    assert bug_key(None, Culprit("acme_a"), "owner exited", None) is None
