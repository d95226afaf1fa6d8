"""Records of perf's buffers, written by hand as include/uapi/linux/perf_event.h has them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from postmortem.kernel.perf import PerfBuffer, event_name, perf_events, records
from tests.conftest import Machine

PAGE = 64
COMM, SAMPLE = 3, 9


def record(kind: int, words: int) -> bytes:
    return struct.pack("<IHH", kind, 0, 8 + 8 * words) + bytes([kind]) * 8 * words


class Memory:
    """Pages at their numbers times 0x1000."""

    def __init__(self, ring: bytes) -> None:
        self.pages = {
            n * 0x1000 + 0x1000: ring[n * PAGE :][:PAGE] for n in range(len(ring) // PAGE)
        }

    def read(self, address: int, count: int) -> bytes:
        if address not in self.pages:
            raise LookupError("not in the dump")
        assert count == PAGE
        return self.pages[address]


def buffer(ring: bytes, head: int, tail: int, *, overwrite: bool = False) -> PerfBuffer:
    pages = tuple(n * 0x1000 + 0x1000 for n in range(len(ring) // PAGE))
    return PerfBuffer(0, pages, PAGE, overwrite, head, tail, 0)


def read(ring: bytes, head: int, tail: int = 0, **how: bool) -> Any:
    backward = how.pop("backward", False)
    memory: Any = Memory(ring)
    return records(memory, buffer(ring, head, tail, **how), backward)


def test_what_was_not_read_is_given_in_order_round_the_end_of_the_ring() -> None:
    one, two, three = record(COMM, 3), record(SAMPLE, 4), record(COMM, 2)
    # 128 bytes: the first record was read, the third begins before the end and goes on at 0.
    stream = record(SAMPLE, 4) + one + two + three
    ring = bytearray(128)
    for at, byte in enumerate(stream):
        ring[at % 128] = byte
    found = read(bytes(ring), len(stream), 40)
    assert (found.records, found.torn) == ((one, two, three), None)


def test_a_buffer_written_backwards_ends_where_the_oldest_is_cut() -> None:
    new, old = record(COMM, 2), record(SAMPLE, 9)
    # The newest lies at the head; of the record behind the two only the end is left.
    ring = (new + old + b"\xff" * 128)[:128]
    found = read(ring, 0, backward=True, overwrite=True)
    assert (found.records, found.torn) == ((old, new), None)


def test_an_end_that_is_no_record_is_said() -> None:
    ring = (record(COMM, 1) + struct.pack("<IHH", COMM, 0, 4)).ljust(64, b"\0")
    found = read(ring, 24)
    assert found.records == (record(COMM, 1),)
    assert "no record" in found.torn


def test_a_tail_that_a_program_invented_is_refused() -> None:
    found = read(bytes(64), 32, (1 << 64) - 4096)
    assert found.records == ()
    assert "tail" in found.torn


def test_a_missing_page_is_said() -> None:
    memory: Any = Memory(record(COMM, 7))
    found = records(memory, buffer(bytes(128), 64, 0), False)
    assert found.records == (record(COMM, 7),)
    assert "not in the dump" in found.torn


@pytest.mark.parametrize(
    ("kind", "config", "pmu", "name"),
    [
        (0, 0, None, "cpu-cycles"),
        (1, 3, None, "context-switches"),
        (1, 99, "software", "software/config=0x63/"),
        (3, 0x10002, None, "LLC-load-misses"),
        (3, 0x000103, None, "dTLB-stores"),
        (4, 0x1C2, "cpu", "r1c2"),
        (9, 5, "msr", "msr/config=0x5/"),
    ],
)
def test_events_are_called_as_perf_calls_them(
    kind: int, config: int, pmu: str | None, name: str
) -> None:
    assert event_name(kind, config, pmu) == name


def test_a_machine_on_which_nobody_measured(machine: Machine) -> None:
    found = perf_events(machine.prog)
    assert (found.events, found.problems) == ([], [])
