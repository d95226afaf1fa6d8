"""The parts of the capture tool that need no guest."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from corpus import truth
from corpus.flattened import HEADER_BYTES, SIGNATURE, FlattenedError, rearrange
from corpus.initrd import Archive
from corpus.scenarios import load
from corpus.variants import repaired

REPORT = """pm-truth: version
Linux version 6.1.0-56-cloud-amd64 (a@b) #1 SMP
pm-truth: cmdline
console=ttyS0
pm-truth: hostname
crashbox
pm-truth: nproc
2
pm-truth: meminfo
MemTotal:         208616 kB
pm-truth: modules
pm_fault 28672
pm-truth: mounts
proc /proc proc
pm-truth: slabs
pm_session 3 51 80
pm-truth: tasks
1 (init) S 0
7 (kworker/0:0 (x)) I 2
pm-truth: uptime
2.52
pm-truth: date
1700000000
pm-truth: end
"""


def test_the_report_of_a_guest_is_understood() -> None:
    machine = truth.machine(REPORT)
    assert machine["release"] == "6.1.0-56-cloud-amd64"
    assert machine["memory_bytes"] == {"MemTotal": 208616 * 1024}
    assert machine["slabs"]["pm_session"] == {"active": 3, "total": 51, "object_bytes": 80}


def test_a_task_name_may_hold_parentheses() -> None:
    tasks = truth.machine(REPORT)["tasks"]
    assert tasks[1] == {"pid": 7, "comm": "kworker/0:0 (x)", "state": "I", "parent": 2}


def test_kernel_lines_between_the_report_are_left_out() -> None:
    noisy = REPORT.replace("2\npm-truth: mem", "[    2.520000] random: ready\n2\npm-truth: mem")
    assert truth.machine(noisy)["cpus"] == 2


def test_a_report_cut_short_is_refused() -> None:
    with pytest.raises(truth.TruthError):
        truth.machine(REPORT.split("pm-truth: tasks")[0])


def test_a_machine_that_broke_by_itself_is_refused() -> None:
    with pytest.raises(truth.TruthError, match="pm_session_timeout"):
        truth.confirms(load()["null-read"], "Oops: int3\nRIP: 0010:sched_clock_cpu+0x9/0x190")


def test_a_flattened_dump_is_put_back_in_order(tmp_path: Path) -> None:
    record = struct.Struct(">qq")
    stream = SIGNATURE.ljust(HEADER_BYTES, b"\0")
    stream += record.pack(4, 4) + b"late" + record.pack(0, 4) + b"soon" + record.pack(-1, -1)
    used = rearrange(io.BytesIO(stream + b"rest of the disk"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"soonlate"
    assert used == len(stream)


def test_a_flattened_dump_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlattenedError):
        rearrange(io.BytesIO(SIGNATURE.ljust(HEADER_BYTES, b"\0")), tmp_path / "out")


def test_an_archive_is_a_newc_cpio() -> None:
    archive = Archive()
    archive.file("bin/true", b"#!")
    data = archive.bytes()
    assert data[:6] == b"070701"
    assert int(data[14:22], 16) == 0o40755  # its folder comes first
    assert b"TRAILER!!!" in data
    assert len(data) % 512 == 0


def test_qemu_elf_headers_are_moved_to_where_makedumpfile_looks(tmp_path: Path) -> None:
    head = bytearray(64 + 2 * 64 + 56 + 4096)
    head[:4] = b"\x7fELF"
    struct.pack_into("<QQ", head, 32, 192, 64)
    struct.pack_into("<HHHHHH", head, 52, 8, 56, 1, 64, 2, 1)
    head[192:248] = bytes(range(56))
    (tmp_path / "in").write_bytes(head)
    repaired(tmp_path / "in", tmp_path / "out")
    fixed = (tmp_path / "out").read_bytes()
    assert fixed[64:120] == bytes(range(56))
    assert struct.unpack_from("<QQ", fixed, 32) == (64, 0)
    assert struct.unpack_from("<HHHHHH", fixed, 52) == (64, 56, 1, 0, 0, 0)
