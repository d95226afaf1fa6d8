"""Compression, pstore and files that can't be read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from postmortem.errors import UnreadableInputError
from postmortem.inputs.text import open_source
from postmortem.log.scan import scan_bytes, scan_file

OOPS = (Path(__file__).parents[1] / "log" / "fixtures" / "x86_gpf.txt").read_bytes()


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_compressed_log_is_read_through(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "log"
    path.write_bytes(pack(OOPS))
    assert scan_file(str(path)).reports[0].function == "acme_queue_kick"


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_damaged_compression_is_a_problem_not_an_exception(pack: Callable[[bytes], bytes]) -> None:
    assert scan_bytes(pack(OOPS)[:-20]).problems != []


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["gzip", "xz", "zstd"],
)
def test_all_that_is_left_of_a_cut_log_is_read(pack: Callable[[bytes], bytes]) -> None:
    rng = random.Random(1)
    rest = b"".join(b"[%5d.000000] otter: %d\n" % (n, rng.random() * 1e9) for n in range(20_000))
    packed = pack(OOPS + rest)
    scan = scan_bytes(packed[: len(packed) // 2])
    assert scan.size > len(rest) // 3
    assert [report.function for report in scan.reports[:1]] == ["acme_queue_kick"]
    assert "missing" in scan.problems[0].why


def test_a_compression_that_we_lack_is_a_problem() -> None:
    (problem,) = scan_bytes(b"\x04\x22\x4d\x18 anything").problems
    assert "lz4" in problem.why


def test_missing_file_is_one_sentence() -> None:
    with pytest.raises(UnreadableInputError, match="No such file"):
        scan_file("/does/not/exist")


def test_empty_input_has_no_reports() -> None:
    assert scan_bytes(b"").reports == []


def parts(text: bytes, size: int) -> list[bytes]:
    """As pstore cuts them: from the end, part 1 is the newest."""
    pieces = []
    while text:
        pieces.append(text[-size:])
        text = text[:-size]
    return [b"Oops#1 Part%d\n" % number + piece for number, piece in enumerate(pieces, 1)]


def test_parts_in_one_file_are_put_in_order() -> None:
    whole = scan_bytes(OOPS).reports
    cut = scan_bytes(b"".join(parts(OOPS, 700))).reports
    assert [report.title for report in cut] == [report.title for report in whole]


def test_lines_of_parts_are_counted_in_the_order_of_writing() -> None:
    """What was written first is the first event, wherever it stands in the file."""
    first, second = b"[    1.000000] BUG: acme is\n", b"[    1.000001] gone\n"
    (report,) = scan_bytes(b"Panic#1 Part1\n" + second + b"Panic#1 Part2\n" + first).reports
    assert report.line == 1


def test_parts_that_tail_put_together_with_their_names() -> None:
    named = b"\n".join(
        b"==> dmesg-efi-17000000000%02d001 <==\n" % number + piece
        for number, piece in enumerate(parts(OOPS, 700), 1)
    )
    assert scan_bytes(named).reports[0].function == "acme_queue_kick"


def test_pstore_directory_is_one_log(tmp_path: Path) -> None:
    for number, piece in enumerate(parts(OOPS, 700), 1):
        (tmp_path / f"dmesg-efi-17000000000{number:02}001").write_bytes(piece)
    assert scan_file(str(tmp_path)).reports[0].function == "acme_queue_kick"


def test_pstore_records_may_be_deflated(tmp_path: Path) -> None:
    engine = zlib.compressobj(wbits=-15)
    packed = engine.compress(b"Panic#1 Part1\n" + OOPS) + engine.flush()
    (tmp_path / "dmesg-erst-7000000000000000001.enc.z").write_bytes(packed)
    assert scan_file(str(tmp_path)).reports[0].function == "acme_queue_kick"


def test_directory_of_something_else_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="without pstore records"):
        scan_file(str(tmp_path))


def test_a_bomb_is_read_up_to_where_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postmortem.inputs.text.BOMB_BYTES", 1 << 20)
    path = tmp_path / "log.zst"
    pack = zstandard.ZstdCompressor().compress
    path.write_bytes(pack(b"[    1.0] the first line\n") + pack(bytes(16 << 20)) * 40)
    stream = open_source(path)
    data = b"".join(stream.chunks())
    assert data.startswith(b"[    1.0] the first line\n")
    assert len(data) < 24 << 20
    [(_, why)] = stream.problems
    assert "more than 1000 times its size" in why
