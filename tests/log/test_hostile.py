# ruff: noqa: E501
"""Whatever arrives: no exception, no invented frame, no time that grows faster than the input."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.log.lines import records_of_line
from postmortem.log.scan import reports_from_records, scan_bytes
from postmortem.model.report import Report

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.txt"))}
WHOLE = b"".join(LOGS.values())
SLOW = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 1 << 32)


def functions(reports: list[Report]) -> set[str]:
    frames = [frame for report in reports for frame in report.frames]
    frames += [frame for report in reports for stack in report.stacks for frame in stack.frames]
    return {frame.function for frame in frames if frame.function}


def assert_honest(data: bytes) -> list[Report]:
    """No frame names what isn't in the input, every line exists, every link goes back."""
    reports = scan_bytes(data).reports
    text = data.decode("utf-8", "replace").replace("\x00", "")
    lines = data.count(b"\n") + 1
    for name in functions(reports):
        assert name in text
    for index, report in enumerate(reports):
        assert 1 <= report.line <= report.end_line <= lines
        assert report.consequence_of is None or report.consequence_of < index
        assert report.signature is not None
    return reports


@SLOW
@given(start=st.integers(0, len(WHOLE)), length=st.integers(0, 6000))
def test_a_log_cut_anywhere(start: int, length: int) -> None:
    assert_honest(WHOLE[start : start + length])


@SLOW
@given(SEEDS, st.sampled_from(sorted(LOGS)))
def test_bytes_replaced_by_others(seed: int, name: str) -> None:
    rng = random.Random(seed)
    data = bytearray(LOGS[name])
    for _ in range(rng.randrange(1, 60)):
        data[rng.randrange(len(data))] = rng.choice(b"\x00\xff\n[]<>+:0aB \x1b")
    scan_bytes(bytes(data))


@SLOW
@given(SEEDS, st.sampled_from(sorted(LOGS)), st.sampled_from(sorted(LOGS)))
def test_lines_of_two_logs_mixed(seed: int, one: str, other: str) -> None:
    rng = random.Random(seed)
    queues = [LOGS[one].splitlines(keepends=True), LOGS[other].splitlines(keepends=True)]
    mixed = []
    while any(queues):
        mixed.append(rng.choice([queue for queue in queues if queue]).pop(0))
    assert_honest(b"".join(mixed))


@SLOW
@given(SEEDS, st.sampled_from(sorted(LOGS)), st.sampled_from(sorted(LOGS)))
def test_two_writers_mixed_byte_by_byte(seed: int, one: str, other: str) -> None:
    rng = random.Random(seed)
    left, right = list(LOGS[one][:1500]), list(LOGS[other][:1500])
    mixed = bytearray()
    while left or right:
        queue = left if left and (not right or rng.random() < 0.5) else right
        mixed.append(queue.pop(0))
    scan_bytes(bytes(mixed))


@SLOW
@given(st.binary(max_size=4000))
def test_any_bytes(data: bytes) -> None:
    scan_bytes(data)


@SLOW
@given(st.text(alphabet="BUG: WARNINGKASAN[]<>+0x/#panic\n", max_size=2000))
def test_text_that_is_nearly_a_report(text: str) -> None:
    scan_bytes(text.encode())


@SLOW
@given(st.sampled_from(sorted(LOGS)), st.integers(1, 5000))
def test_chunks_do_not_matter(name: str, size: int) -> None:
    """The window slides at other places; what is found is the same."""
    from postmortem.inputs.text import Stream
    from postmortem.log.scan import scan_stream

    data = LOGS[name]
    position = 0

    class File:
        def read(self, _size: int = -1, /) -> bytes:
            nonlocal position
            part = data[position : position + size]
            position += size
            return part

    assert scan_stream(Stream("-", File())).reports == scan_bytes(data).reports


@pytest.mark.parametrize("name", sorted(LOGS))
def test_records_and_bytes_give_the_same(name: str) -> None:
    """The vmcore half hands over records, the log half bytes."""
    records = [
        record
        for number, raw in enumerate(LOGS[name].split(b"\n"), 1)
        for record in records_of_line(raw, number)
    ]
    assert reports_from_records(records) == scan_bytes(LOGS[name]).reports


def repeat(line: bytes) -> Callable[[int], bytes]:
    return lambda size: line * (size // len(line))


ADVERSARIES: dict[str, Callable[[int], bytes]] = {
    "one line": lambda size: b"A" * size,
    "one line of brackets": lambda size: b"[" * size,
    "one line of times": repeat(b"[    1.000000] "),
    "one line of headers": repeat(b"BUG: KASAN: "),
    "quotes": lambda size: b"> " * (size // 2) + b"\n",
    "zeros": lambda size: b"\0" * size,
    "newlines": lambda size: b"\n" * size,
    "headers without end": repeat(b"[    1.000000] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n"),
    "cuts without header": repeat(b"------------[ cut here ]------------\n"),
    "frames without header": repeat(b"[    1.000000]  acme+0x1/0x2\n"),
    "one endless stack": lambda size: b"BUG: unable to handle kernel paging request at 1\nCall Trace:\n"
    + b" acme+0x1/0x2\n" * (size // 14),
    "modules": lambda size: b"kernel BUG at a.c:1!\nModules linked in:" + b" acme" * (size // 5),
    "callers": lambda size: b"".join(b"[    1.000000][T%6d] BUG: acme\n" % n for n in range(size // 32)),
    "spaces": lambda size: (b"BUG: " + b" " * 900 + b"\n") * (size // 906),
    "symbols": lambda size: (b"BUG: soft lockup - CPU#0 stuck for 1s! [" + b"a" * 900 + b"\n") * (size // 940),
    "code": lambda size: b"kernel BUG at a.c:1!\nCode: " + b"00 " * (size // 3),
    "lava": lambda size: b'- {"dt":1,"lvl":"target","msg":"' + b"[" * size + b'"}\n',
    "kmsg fragments": lambda size: b"".join(
        b"4,%d,1,-,ncfrag=0/9999;BUG: x\n" % n for n in range(size // 32)),
    "pstore parts": repeat(b"Oops#1 Part1\nBUG: acme\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ADVERSARIES))
def test_time_is_linear_in_the_size(name: str) -> None:
    """Four times the size takes about four times as long, never sixteen."""
    make = ADVERSARIES[name]

    def seconds(size: int) -> float:
        data = make(size)
        best = float("inf")
        for _ in range(2):
            begin = time.process_time()
            scan_bytes(data)
            best = min(best, time.process_time() - begin)
        return best

    small, large = seconds(1 << 16), seconds(1 << 18)
    assert large < 9 * small + 0.2


def later(log: bytes, seconds: int) -> bytes:
    """The same once more, not only printed again: at another time."""
    stamp = re.compile(rb"(?m)^\[ *(\d+)\.")
    return stamp.sub(lambda match: b"[%5d." % (int(match[1]) + seconds), log)


def test_thousands_of_repeats_are_one_record() -> None:
    again = (FIXTURES / "warn_624.txt").read_bytes()
    log = b"".join(later(again, n) for n in range(4_000))
    (report,) = scan_bytes(log).reports
    assert report.count == 4_000


def test_the_same_report_with_other_numbers_is_the_same() -> None:
    again = (FIXTURES / "x86_gpf.txt").read_bytes()
    other = again.replace(b"4242", b"5353").replace(b"0xdead4ead00000018", b"0xdead4ead00000818")
    log = again + later(other, 9)
    assert [report.count for report in scan_bytes(log).reports] == [2, 2]


def test_text_of_a_report_is_bounded() -> None:
    stack = b"kernel BUG at a.c:1!\nCall Trace:\n" + b" acme+0x1/0x2\n" * 100_000
    (report,) = scan_bytes(stack).reports[:1]
    assert len(report.text) <= 400


def test_names_have_no_control_characters() -> None:
    data = b"kernel BUG at a.c:1!\nCall Trace:\n \x1b[31mac\x07me+0x1/0x2\n"
    names = functions(scan_bytes(data).reports)
    assert not [name for name in names if re.search(r"[\x00-\x1f]", name)]


def test_a_long_line_is_one_line() -> None:
    log = b"[ 1.0] BUG: kernel NULL pointer dereference, address: 10\n" + b"z" * 400_000 + b"\n"
    log += b"[ 1.0] RIP: 0010:otter_read+0x1/0x10\n[ 1.0] Call Trace:\n[ 1.0]  vfs_read+0x1/0x10\n"
    (report,) = scan_bytes(log).reports
    assert (report.line, report.end_line) == (1, 5)
