"""Texts of traces as cat trace, trace-cmd report and a kernel log write them: trace_output.c."""

from __future__ import annotations

import json
from pathlib import Path

from postmortem.trace.saved_text import SavedText, is_text, parsed_line

SAVED = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 4/4   #P:2
#
          gardener-170     [001] d..2.   100.000001: sched_switch: prev_comm=gardener ==> weeder
 => plant_seed
 => plant_tend
            weeder-99      [000] .....   100.000501: kfree: call_site=weed+0x1/0x2
##### CPU 1 buffer started ####
            weeder-99      [000] .....   100.001001: sys_write(fd: 1)
    hoe-and-rake-7 (     7) [000] .....  100.002001: kfree: call_site=rake+0x1/0x2
"""


def made(tmp_path: Path, text: str = SAVED) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text(text)
    return path


def test_a_saved_text_is_shown_as_it_is(tmp_path: Path) -> None:
    path = made(tmp_path)
    assert is_text(path)
    assert "".join(SavedText(path, (), (), (), None).lines()) == SAVED


def test_a_stack_goes_with_its_event(tmp_path: Path) -> None:
    text = SavedText(made(tmp_path), (1,), (), (), None)
    assert [line.split()[0] for line in text.lines(header=False)] == ["gardener-170", "=>", "=>"]


def test_events_are_chosen_by_name_task_and_time(tmp_path: Path) -> None:
    path = made(tmp_path)
    by_name = SavedText(path, (), (99,), ("kmem:kf*",), None)
    assert [one.time_ns for one in by_name.events()] == [100_000_501_000]
    last = SavedText(path, (), (), (), 1_500_000)
    assert [one.event for one in last.events()] == ["kfree", "sys_write", "kfree"]


def test_a_dash_in_a_name_and_a_tgid(tmp_path: Path) -> None:
    events = list(SavedText(made(tmp_path), (), (7,), (), None).events())
    assert [(one.comm, one.pid, one.cpu) for one in events] == [("hoe-and-rake", 7, 0)]


def test_a_report_of_trace_cmd_names_its_instance() -> None:
    one = parsed_line(
        "beds:      weeder-99    [003]   7.123456789: kfree:      call_site=weed ptr=0x1"
    )
    assert one is not None
    assert (one.instance, one.comm, one.time_ns) == ("beds", "weeder", 7_123_456_789)


def test_a_log_with_a_buffer_in_it(tmp_path: Path) -> None:
    log = (
        "[    1.000000] Booting\n"
        "[    9.000000] Dumping ftrace buffer:\n"
        "[    9.000001] ---------------------------------\n"
        "[    9.000002]   weeder-99        0.....    900us : kfree: call_site=weed+0x1/0x2\n"
        "[    9.000003] gardener-170       1d.h..   1500us+: softirq_raise: vec=1\n"
        "[    9.000004] ---------------------------------\n"
    )
    path = made(tmp_path, log)
    assert is_text(path)
    found = [json.loads(line) for line in SavedText(path, (), (), (), None).json()]
    assert [(one["event"], one["cpu"], one["time"]) for one in found] == [
        ("kfree", 0, 900_000), ("softirq_raise", 1, 1_500_000),
    ]  # fmt: skip


def test_what_is_no_trace_is_none(tmp_path: Path) -> None:
    assert not is_text(made(tmp_path, "[    1.000000] Booting\n" * 100))
    binary = tmp_path / "vmcore"
    binary.write_bytes(b"KDUMP   " + bytes(5000) + b"Dumping ftrace buffer:\n")
    assert not is_text(binary)
