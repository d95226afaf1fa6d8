"""ftrace's buffer as the kernel prints it into its log, in messages written by hand."""

from __future__ import annotations

from postmortem.log.ftrace import logged_buffers
from postmortem.model.report import Record

RULE = "---------------------------------"


def records(*texts: str) -> list[Record]:
    return [Record(number, text) for number, text in enumerate(texts, 1)]


def test_entries_lost_ones_and_the_end() -> None:
    (found,) = logged_buffers(
        records(
            "Dumping ftrace buffer:",
            RULE,
            "CPU:3 [LOST 357 EVENTS]",
            "rcu_pree-18        3d..2. 437610us : sched_switch: prev_comm=rcu_preempt ==> next",
            "  <idle>-0         0dNh2. 437794us+: my: marker",
            " a b-c d-4711      1.....     12us : sys_openat(dfd: 3)",
            "    init-1         0.....     13us : sys_openat -> 0x3",
            RULE,
            "Kernel Offset: disabled",
        )
    )
    assert found.whole
    assert found.lost == {3: 357}
    shown = [(one.comm, one.pid, one.cpu, one.flags, one.time_us) for one in found.events]
    assert shown == [
        ("rcu_pree", 18, 3, "d..2.", 437610),
        ("<idle>", 0, 0, "dNh2.", 437794),
        ("a b-c d", 4711, 1, ".....", 12),
        ("init", 1, 0, ".....", 13),
    ]
    assert [one.event for one in found.events] == ["sched_switch", "my", "sys_openat", "sys_openat"]
    assert found.events[0].line == 4


def test_an_older_kernel_has_four_flags() -> None:
    text = "   cat-99      2dNh1    7us!: kfree: ptr=0"
    (found,) = logged_buffers(records("Dumping ftrace buffer:", RULE, text, RULE))
    assert (found.events[0].flags, found.events[0].cpu) == ("dNh1", 2)


def test_a_buffer_that_breaks_off_is_not_whole() -> None:
    text = "   cat-99      2dNh1.    7us!: kfree: ptr=0"
    (found,) = logged_buffers(records("Dumping ftrace instance foo buffer:", RULE, text, "Oops"))
    assert (found.instance, found.whole, len(found.events)) == ("foo", False, 1)


def test_an_empty_buffer_is_none() -> None:
    empty = records(
        "Dumping ftrace buffer:", "   (ftrace buffer empty)", RULE, "x-1 0..... 1us : a: b"
    )
    assert list(logged_buffers(empty)) == []
