"""A report that somebody symbolised tells the same as the raw one: nothing more, nothing less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.log.frames import is_frame, parse_frame
from postmortem.log.scan import scan_bytes
from postmortem.model.report import Report
from tests.log.symboliser import by_words, like_decode_stacktrace, like_old_syzbot, like_syzbot

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = {path.stem: path.read_text() for path in sorted(FIXTURES.glob("*.txt"))}
STYLES = (like_syzbot, like_old_syzbot, like_decode_stacktrace, by_words)


def record(report: Report) -> tuple[object, ...]:
    """What both must agree on; a symboliser drops offsets and adds lines."""
    stacks = [report.frames, *(stack.frames for stack in report.stacks)]
    return (
        *(report.kind, report.title, report.alt_titles, report.type, report.signature),
        *(report.function, report.module, report.task, report.cpu, report.taint, report.release),
        *(report.corrupted, report.truncated, report.count, report.consequence_of),
        *(report.registers, report.fault_address, report.code, report.modules),
        [[(f.function, f.module, f.reliable, f.segment) for f in frames] for frames in stacks],
        report.pc and report.pc.function,
    )


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
@pytest.mark.parametrize("name", sorted(LOGS))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32))
def test_symbolised_text_gives_the_same_record(
    name: str, style: Callable[[str, int], str], seed: int
) -> None:
    raw = scan_bytes(LOGS[name].encode()).reports
    symbolised = scan_bytes(style(LOGS[name], seed).encode()).reports
    assert [record(report) for report in symbolised] == [record(report) for report in raw]


def test_the_place_of_the_function_itself_is_the_last() -> None:
    frame = parse_frame(" otter_dive (include/linux/eel.h:7 fs/otter.c:12 (discriminator 3)) otter")
    assert frame is not None
    assert (frame.function, frame.file, frame.line, frame.module) == (
        "otter_dive",
        "fs/otter.c",
        12,
        "otter",
    )


@pytest.mark.parametrize(
    "line",
    [
        " otter_dive (??:?)",
        "? otter_dive (/build/linux-6.1/fs/otter.c:12)",
        "[<ffffffff81234567>] otter_dive+0x1/0x2 fs/otter.c:12",
        "[<      none      >] otter_dive+0x1/0x2 fs/otter.c:12",
        "<kernel::otter::Otter as kernel::Dive>::dive (rust/kernel/otter.rs:3)",
    ],
)
def test_frames_of_symbolisers(line: str) -> None:
    assert is_frame(line.lstrip())
    frame = parse_frame(line)
    assert frame is not None
    assert not frame.inline


def test_inlined_functions_are_no_frames_of_the_kernel() -> None:
    assert parse_frame(" newt_inl include/linux/newt.h:12 [inline]") is None
    assert parse_frame("[<     inline     >] newt_inl include/linux/newt.h:12") is None


def test_prose_with_a_file_in_it_is_no_frame() -> None:
    assert not is_frame("include/linux/otter.h:536 suspicious rcu_dereference_check() usage!")
    assert not is_frame("see fs/otter.c:12")


def test_a_decoded_code_line_does_not_end_a_report() -> None:
    log = (
        "BUG: KASAN: slab-use-after-free in otter_dive (fs/otter.c:12)\n"
        "Read of size 8 at addr ffff888004a7a010 by task heron/9\n"
        "Call Trace:\n kasan_report (mm/kasan/report.c:590)\n otter_dive (fs/otter.c:12)\n"
        "RIP: 0033:0x7f0000000000\n"
        "Code: 00 01 <0f> 05\nAll code\n========\n   0:\t00 01\tadd %al,(%rcx)\n\n"
        "Code starting with the faulting instruction\n"
        "===========================================\n   0:\t0f 05\tsyscall\n"
        "Allocated by task 9:\n otter_new (fs/otter.c:3)\n"
    )
    (report,) = scan_bytes(log.encode()).reports
    assert [stack.title for stack in report.stacks] == ["Allocated by task 9"]


def test_on_arm_a_caller_that_the_next_line_contradicts_is_doubted() -> None:
    """The symbol table gave what follows a call that does not return; symbolised text
    has no offset +0x0 that would say so."""
    log = (
        "Internal error: Oops: 17 [#1] SMP ARM\nPC is at newt_swim (fs/newt.c:3)\nCall trace:\n"
        " newt_swim from otter_panic (fs/otter.c:1)\n otter_panic from eel_next (fs/eel.c:9)\n"
        " eel_own from heron_read (fs/heron.c:2)\n heron_read from ret_fast_syscall (x/entry.S:1)\n"
    )
    (report,) = scan_bytes(log.encode()).reports
    assert [f.function for f in report.frames if f.reliable and f.function] == [
        *("otter_panic", "eel_own", "heron_read", "ret_fast_syscall"),
    ]


def test_a_cpu_that_panic_stops_is_no_report() -> None:
    log = (
        "CPU3: stopping\nCPU: 3 PID: 9 Comm: eel Not tainted 6.1.0 #1\nHardware name: Pond\n"
        "Call trace:\n show_stack from dump_stack+0x18/0x1c\n dump_stack from newt+0x1/0x9\n"
        " newt from ipi_handler+0x20/0x28\n"
    )
    assert not scan_bytes(log.encode()).reports
