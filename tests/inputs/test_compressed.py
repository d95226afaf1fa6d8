"""Dumps compressed as a whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from postmortem.errors import UnknownInputError, UnreadableInputError
from postmortem.inputs import compressed
from postmortem.inputs.source import PlainFile

DATA = random.Random(1).randbytes(300_000) + bytes(700_000) + b"the end"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


def source_of(folder: Path, data: bytes) -> PlainFile:
    path = folder / "packed"
    path.write_bytes(data)
    return PlainFile(path)


def contents(unpacked: compressed.Unpacked) -> bytes:
    size = os.fstat(unpacked.file.fileno()).st_size
    return os.pread(unpacked.file.fileno(), size, 0)


@pytest.mark.parametrize("name", PACKERS)
def test_the_contents_come_out(tmp_path: Path, name: str) -> None:
    source = source_of(tmp_path, PACKERS[name](DATA))
    steps: list[tuple[str, int, int]] = []
    unpacked = compressed.Unpacked(source, name, "dump", lambda *step: steps.append(step))
    assert contents(unpacked) == DATA
    assert not unpacked.broken
    assert steps[-1][1] <= steps[-1][2] == source.size


@pytest.mark.parametrize("name", PACKERS)
def test_several_streams_in_a_row_are_one_file(tmp_path: Path, name: str) -> None:
    source = source_of(tmp_path, PACKERS[name](DATA[:1000]) + PACKERS[name](DATA[1000:]))
    assert contents(compressed.Unpacked(source, name, "dump", None)) == DATA


@pytest.mark.parametrize("name", PACKERS)
def test_what_comes_before_a_cut_is_kept(tmp_path: Path, name: str) -> None:
    packed = PACKERS[name](DATA)
    source = source_of(tmp_path, packed[: len(packed) * 3 // 4])
    unpacked = compressed.Unpacked(source, name, "dump", None)
    got = contents(unpacked)
    assert DATA.startswith(got)
    # zstd's reader does not tell the end of a file from the end of a frame.
    assert unpacked.broken or name == "zstd"


@pytest.mark.parametrize("name", PACKERS)
def test_damage_ends_the_data(tmp_path: Path, name: str) -> None:
    packed = bytearray(PACKERS[name](DATA))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = b"\x55" * 50
    unpacked = compressed.Unpacked(source_of(tmp_path, bytes(packed)), name, "dump", None)
    assert unpacked.broken


@pytest.mark.parametrize("name", PACKERS)
def test_the_head_of_a_bomb_takes_little_memory(tmp_path: Path, name: str) -> None:
    source = source_of(tmp_path, PACKERS[name](bytes(64 << 20)))
    tracemalloc.start()
    head = compressed.read_head(source, name, 65536, "bomb")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert head == bytes(65536)
    assert peak < 16 << 20


def test_zeroes_are_left_as_holes(tmp_path: Path) -> None:
    source = source_of(tmp_path, gzip.compress(bytes(32 << 20) + b"end"))
    unpacked = compressed.Unpacked(source, "gzip", "dump", None)
    status = os.fstat(unpacked.file.fileno())
    assert status.st_size == (32 << 20) + 3
    assert status.st_blocks * 512 < 1 << 20


@pytest.mark.skipif(shutil.which("lz4") is None, reason="lz4 is not installed")
def test_lz4_goes_through_its_command(tmp_path: Path) -> None:
    packed = subprocess.run(["lz4", "-c"], input=DATA, capture_output=True, check=True).stdout
    assert compressed.detect(packed) == "lz4"
    unpacked = compressed.Unpacked(source_of(tmp_path, packed), "lz4", "dump", None)
    assert contents(unpacked) == DATA
    cut = compressed.Unpacked(source_of(tmp_path, packed[:100_000]), "lz4", "dump", None)
    assert cut.broken


def test_a_missing_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnknownInputError, match="lz4 command is not installed"):
        compressed.Unpacked(source_of(tmp_path, b"\x04\x22\x4d\x18"), "lz4", "dump", None)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr(compressed, "temporary_file", lambda name: full.open("wb"))
    with pytest.raises(UnreadableInputError, match="TMPDIR"):
        compressed.Unpacked(source_of(tmp_path, gzip.compress(DATA)), "gzip", "dump", None)
