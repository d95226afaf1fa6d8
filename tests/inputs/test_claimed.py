"""A dump's own headers say where it ends."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import zstandard

from postmortem.inputs import claimed, compressed
from postmortem.inputs.source import PlainFile
from tests.dump import images
from tests.dump.test_elf import Bytes
from tests.inputs.test_compressed import source_of

MEMORY = random.Random(1).randbytes(1 << 20)
DUMPS = {
    "elf": images.qemu_elf(MEMORY, images.vmcoreinfo()),
    "kdump": images.kdump(images.pages_of(MEMORY), 256, images.vmcoreinfo(), compress=False),
}


@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_is_within_its_claim(name: str) -> None:
    dump = DUMPS[name]
    found = claimed.claimed_bytes(Bytes(dump))
    assert found is not None
    assert len(dump) <= found <= len(dump) + (2 << 20)
    # What lies behind it changes nothing.
    assert claimed.claimed_bytes(Bytes(dump + bytes(10 << 20))) == found


def test_a_flattened_dump_ends_at_its_mark() -> None:
    flat = images.flattened(DUMPS["elf"])
    assert claimed.claimed_bytes(Bytes(flat)) == len(flat)
    found = claimed.claimed_bytes(Bytes(flat[:-16]))
    assert found is not None
    assert len(flat) <= found <= 2 * len(flat) + (128 << 20)


def test_one_flattened_file_inside_another_is_none() -> None:
    inner = images.flattened(DUMPS["elf"])
    assert claimed.claimed_bytes(Bytes(images.flattened(inner, end=False))) == 4096


@pytest.mark.parametrize("name", DUMPS)
def test_headers_that_are_not_whole_say_nothing(name: str) -> None:
    assert claimed.claimed_bytes(Bytes(DUMPS[name][:100])) is None
    assert claimed.claimed_bytes(Bytes(b"[    1.000000] Linux version")) is None


@pytest.mark.parametrize("name", [*DUMPS, "flattened"])
def test_of_a_bomb_no_more_is_unpacked(tmp_path: Path, name: str) -> None:
    """A true dump, then a gigabyte of zeroes in 64 frames."""
    dump = DUMPS.get(name) or images.flattened(DUMPS["elf"], end=False)
    pack = zstandard.ZstdCompressor(level=1).compress
    data = pack(dump.ljust(5 << 20, b"\0")) + pack(bytes(16 << 20)) * 64
    source: PlainFile = source_of(tmp_path, data)
    unpacked = compressed.Unpacked(source, "zstd", "bomb", None)
    assert unpacked.excess
    assert not unpacked.broken
    unpacked.file.seek(0)
    assert unpacked.file.read(len(dump)) == dump
    assert unpacked.file.seek(0, 2) < 100 << 20
