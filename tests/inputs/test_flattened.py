"""makedumpfile's flattened form."""

from __future__ import annotations

import os
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.inputs.flattened import FlattenedFile, flattened_copy
from tests.dump import images
from tests.dump.test_elf import Bytes

IMAGE = bytes(range(256)) * 400


def test_the_image_is_put_together() -> None:
    flat = FlattenedFile(Bytes(images.flattened(IMAGE, 7000)))
    assert flat.ended
    assert flat.size == len(IMAGE)
    assert flat.pread(len(IMAGE), 0) == IMAGE
    assert flat.pread(10_000, 95_000) == IMAGE[95_000:105_000]
    assert flat.pread(10, len(IMAGE)) == b""


def stream(records: list[tuple[int, bytes]]) -> bytes:
    data = (b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)).ljust(4096, b"\0")
    for offset, part in records:
        data += struct.pack(">qq", offset, len(part)) + part
    return data + struct.pack(">qq", -1, -1)


records = st.lists(
    st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=60)), min_size=1, max_size=12
)


@given(records, st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_later_records_win(written: list[tuple[int, bytes]], offset: int, count: int) -> None:
    image = bytearray(max(at + len(part) for at, part in written))
    for at, part in written:
        image[at : at + len(part)] = part
    flat = FlattenedFile(Bytes(stream(written)))
    assert flat.size == len(image)
    assert flat.pread(count, offset) == bytes(image[offset : offset + count])


def test_a_copy_is_the_image() -> None:
    flat = FlattenedFile(Bytes(images.flattened(IMAGE)))
    said: list[tuple[str, int, int]] = []
    fd = flattened_copy(flat, "dump", lambda *step: said.append(step))
    try:
        assert os.pread(fd, len(IMAGE) + 1, 0) == IMAGE
    finally:
        os.close(fd)
    assert said


def test_a_stream_without_its_end_is_known_to_be_cut_off() -> None:
    whole = images.flattened(IMAGE, 7000)
    assert not FlattenedFile(Bytes(whole[:-16])).ended
    cut = FlattenedFile(Bytes(whole[:30_000]))
    assert not cut.ended
    assert cut.lost_bytes > 0
    assert cut.pread(cut.size, 64) == IMAGE[64 : cut.size]


@given(st.binary(max_size=200))
def test_no_record_does_harm(data: bytes) -> None:
    flat = FlattenedFile(Bytes(b"makedumpfile".ljust(4096, b"\0") + data))
    assert flat.size <= 1 << 62
    assert len(flat.pread(1000, 0)) <= 1000


def test_a_record_far_away_takes_no_room() -> None:
    flat = FlattenedFile(Bytes(stream([(1 << 50, b"far"), (0, b"near")])))
    assert flat.pread(10, 0) == b"near" + bytes(6)
    assert flat.pread(10, 1 << 50) == b"far"


def test_millions_of_records_take_little_memory() -> None:
    """Seventeen bytes a record: what would be an object each is three words."""
    count = 300_000
    data = stream([]).removesuffix(struct.pack(">qq", -1, -1))
    data += b"".join(struct.pack(">qq", at * 7919 % count, 1) + b"x" for at in range(count))
    tracemalloc.start()
    flat = FlattenedFile(Bytes(data))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert flat.pread(count, 0) == b"x" * count
    assert kept < 64 * count
    assert peak < 128 * count


def test_more_records_than_are_indexed_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postmortem.inputs.flattened.MAX_RECORDS", 3)
    flat = FlattenedFile(Bytes(images.flattened(IMAGE, 7000)))
    assert (flat.too_many, flat.ended, flat.records) == (True, False, 3)
    fd = flattened_copy(flat, "dump", None)
    try:
        assert os.pread(fd, len(IMAGE) + 1, 0) == IMAGE
    finally:
        os.close(fd)
    assert flat.ended
