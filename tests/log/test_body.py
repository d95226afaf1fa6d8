"""What stands in the lines of a report besides its stack."""

from __future__ import annotations

from postmortem.log.body import Body, read_body
from postmortem.log.scan import scan_bytes
from postmortem.model.report import Record


def body(*lines: str) -> Body:
    return read_body([Record(number, line) for number, line in enumerate(lines, 1)])


def names(lines: Body) -> list[list[str | None]]:
    return [[frame.function for frame in trace.frames] for trace in lines.traces]


def test_modules_may_begin_with_a_digit() -> None:
    found = body("Modules linked in: otter(O) 8021q garp", " 9pnet 3w_9xxx", "0f 0b eb fe")
    assert found.modules == ("otter", "8021q", "garp", "9pnet", "3w_9xxx")


def test_release_and_taint_on_a_line_of_their_own() -> None:
    assert body("3.4.0 #37 Tainted: P        W").taint == "PW"
    assert body("6.1.0-9 #1 Not tainted").release == "6.1.0-9"
    hung = body("      Tainted: G        W  OE      5.10.0-8-amd64 #1")
    assert (hung.release, hung.taint) == ("5.10.0-8-amd64", "GWOE")


def test_the_place_of_a_lock_on_a_line_of_its_own_is_no_stack() -> None:
    found = body(
        " #0: ", " (&o->lock", " ){+.+.}", " , at: ", " [<ffffffff81055862>] otter_load+0x22/0x70"
    )
    assert names(found) == []
    assert [frame.function for frame in found.held] == ["otter_load"]


def test_the_line_that_closes_an_oops_is_no_frame() -> None:
    found = body(
        "EIP is at otter_x+0x3/0x5",
        "Call Trace:",
        " otter_y+0x1/0x2",
        " sysenter_do_call+0x12/0x28",
        "EIP: [<f8e40765>] otter_x+0x3/0x5 SS:ESP 0068:f180dbf8",
    )
    assert names(found) == [["otter_y", "sysenter_do_call"]]


def test_last_breaking_event_is_no_frame() -> None:
    found = body(
        "Call Trace:",
        " [<000003e00000a1b2>] otter_y+0x1/0x2",
        "Last Breaking-Event-Address:",
        " [<000003e00000a1c2>] otter_z+0x1/0x2",
    )
    assert names(found)[0] == ["otter_y"]


def test_dot_symbols_lose_their_dot() -> None:
    found = body("Call Trace:", "[c00000007d0a7400] [c000000000036c54] .otter_check+0x54/0xa0")
    assert names(found) == [["otter_check"]]


def test_a_number_of_many_digits_is_no_pid() -> None:
    log = b"[ 1.000000] INFO: task heron:%s blocked for more than 120 seconds.\n" % (b"7" * 5000)
    scan_bytes(log)
    log = b"[ 1.000000] BUG: otter\n[ 1.000001] CPU: 1 PID: %s Comm: a Not tainted 6.1\n"
    assert scan_bytes(log % (b"7" * 5000)).reports[0].task is None


def _hung_worker(*frames: str) -> str | None:
    lines = [
        "INFO: task kworker/3:2:188 blocked for more than 122 seconds.",
        "task:kworker/3:2     state:D stack:0     pid:188   ppid:2      flags:0x00004000",
        "Workqueue: plover_wq plover_refill [plover]",
        "Call Trace:",
        " __schedule+0x3a1/0x9b0",
        " __mutex_lock.constprop.0+0x399/0x700",
        *frames,
        " process_one_work+0x174/0x340",
        " worker_thread+0x27b/0x3a0",
    ]
    text = "".join(f"[    3.000000] {line}\n" for line in lines)
    (report,) = scan_bytes(text.encode()).reports
    return " ".join(filter(None, (report.function, report.module)))


def test_a_work_that_a_tail_call_took_off_the_stack_is_to_blame() -> None:
    assert _hung_worker() == "plover_refill plover"


def test_a_work_that_is_on_the_stack_is_no_frame_twice() -> None:
    deeper = (" plover_wait+0x5/0x30 [plover]", " plover_refill+0x5/0x30 [plover]")
    assert _hung_worker(*deeper) == "plover_wait plover"


def test_a_size_of_64_bits_is_quoted_whole() -> None:
    """A symbol table without an end gives sizes below zero."""
    (frame,) = body("Call Trace:", " otter_y+0x1/0xffffffffffffffd0 [otter]").traces[0].frames
    assert (frame.offset, frame.size, frame.module) == (1, 0xFFFFFFFFFFFFFFD0, "otter")
