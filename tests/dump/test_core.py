"""Dumps in all their forms, opened for real: drgn reads them."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import drgn
import pytest

import postmortem
from postmortem.dump import open_elf
from postmortem.dump.core import Core, excluded_pages, open_core
from postmortem.errors import PostmortemError, UnknownInputError, UsageError
from postmortem.inputs.recognise import Format, Input, InputKind
from tests.conftest import DUMPS
from tests.fuzz.dumps.image import Image, unpack

from . import images

MEMORY = images.machine()
TEXT = images.vmcoreinfo()
PAGES = images.pages_of(MEMORY)
FRAMES = len(MEMORY) // images.PAGE
BANK = 200
"""A page of :func:`images.machine` that holds its own number."""


def number_at(core: Core, frame: int) -> int:
    return int(core.program.read_u64(frame * images.PAGE, physical=True))


def real_elf(text: bytes | None = TEXT) -> bytes:
    """What /proc/vmcore looks like: kernel addresses, text mapped twice."""
    half = len(MEMORY) // 2
    data = bytes(MEMORY)
    return images.elf_core(
        [
            (0, images.KERNEL_MAP, data[: 2 << 20]),
            (0, images.DIRECT_MAP, data[:half]),
            (half, images.DIRECT_MAP + half, data[half:]),
        ],
        images.notes(text),
    )


def with_note_in_memory() -> bytearray:
    memory = bytearray(MEMORY)
    memory[300 * images.PAGE : 301 * images.PAGE] = TEXT.ljust(images.PAGE, b"\0")
    return memory


FORMS: dict[str, Callable[[], bytes]] = {
    "vmcore": real_elf,
    "qemu-elf": lambda: images.qemu_elf(MEMORY, TEXT),
    "qemu-elf-no-note": lambda: images.qemu_elf(with_note_in_memory(), None),
    "kdump-zlib": lambda: images.kdump(PAGES, FRAMES, TEXT),
    "kdump-none": lambda: images.kdump(PAGES, FRAMES, TEXT, compress=False),
    "qemu-kdump": lambda: images.flattened(images.kdump(PAGES, FRAMES, TEXT, release="", cpus=2)),
    "qemu-kdump-no-utsname": lambda: images.kdump(PAGES, FRAMES, TEXT, release="", machine=""),
    "qemu-kdump-no-note": lambda: images.kdump(
        images.pages_of(with_note_in_memory()), FRAMES, None, release=""
    ),
    "flattened-kdump": lambda: images.flattened(images.kdump(PAGES, FRAMES, TEXT)),
    "flattened-elf": lambda: images.flattened(real_elf()),
    "gzip": lambda: gzip.compress(real_elf(), 1),
    "gzip-flattened": lambda: gzip.compress(images.flattened(images.kdump(PAGES, FRAMES, TEXT)), 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_memory(tmp_path: Path, form: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(FORMS[form]())
    core = open_core(path)
    assert [number_at(core, frame) for frame in (BANK, 1000, FRAMES - 1)] == [
        BANK,
        1000,
        FRAMES - 1,
    ]
    assert core.program.read_u64(images.DIRECT_MAP + BANK * images.PAGE) == BANK
    assert core.program.read_u64(images.KERNEL_MAP + BANK * images.PAGE) == BANK
    assert core.program["UTS_RELEASE"].string_().decode() == images.RELEASE
    info = core.info
    assert (info.osrelease, info.build_id, info.arch) == (
        images.RELEASE,
        images.BUILD_ID,
        "x86_64",
    )
    assert (info.complete, info.lacks, info.cpus_with_registers) == (True, (), 2)
    assert info.saved_bytes == info.memory_bytes == len(MEMORY)
    assert info.vmcoreinfo_from == ("memory" if form.endswith("no-note") else "note")
    assert sum(len(data) for _, data in core.chunks()) == len(MEMORY)


@pytest.mark.parametrize("form", ["qemu-elf", "qemu-elf-no-note", "vmcore", "kdump-zlib"])
def test_null_is_not_readable(tmp_path: Path, form: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(FORMS[form]())
    core = open_core(path)
    for address in (0, 8, 0x1000, BANK * images.PAGE, 0x7FFF_0000_0000):
        with pytest.raises(drgn.FaultError):
            core.program.read(address, 8)


def test_a_split_dump_is_one_memory(tmp_path: Path) -> None:
    for index, (start, end) in enumerate([(0, 150), (150, 700), (700, FRAMES)]):
        image = images.kdump(PAGES, FRAMES, TEXT, split=(start, end))
        (tmp_path / str(index)).write_bytes(image)
    core = open_core(tmp_path / "1")
    assert [number_at(core, n) for n in (149, 150, 699, 700)] == [149, 150, 699, 700]
    assert core.program.read(149 * 4096, 8192, physical=True) == bytes(
        MEMORY[149 * 4096 : 151 * 4096]
    )
    assert core.program.read_u64(images.DIRECT_MAP + 800 * 4096) == 800
    assert core.info.complete
    assert sum(len(data) for _, data in core.chunks()) == len(MEMORY)
    assert "3 parts" in core.info.format


def test_a_missing_part_is_a_fault_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(images.kdump(PAGES, FRAMES, TEXT, split=(0, 700)))
    core = open_core(tmp_path / "0")
    assert number_at(core, 699) == 699
    with pytest.raises(drgn.FaultError):
        number_at(core, 700)
    assert not core.info.complete
    assert any("0x2bc000" in sentence for sentence in core.info.lacks)


def test_excluded_pages_are_named_and_fault(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    kept = images.pages_of(MEMORY, [n for n in range(FRAMES) if n != BANK])
    path.write_bytes(images.kdump(kept, FRAMES, TEXT, level=31))
    core = open_core(path)
    with pytest.raises(drgn.FaultError):
        number_at(core, BANK)
    assert core.info.excluded == excluded_pages(31)
    assert (core.info.complete, core.info.dump_level) == (True, 31)
    assert core.info.memory_bytes - core.info.saved_bytes == images.PAGE


@pytest.mark.parametrize(
    ("level", "words"),
    [(0, ()), (1, ("zero pages",)), (8 | 16, ("user memory", "free pages"))],
)
def test_the_dump_level_in_words(level: int, words: tuple[str, ...]) -> None:
    assert excluded_pages(level) == words


def test_an_incomplete_dump_says_so(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(images.kdump(PAGES, FRAMES, TEXT, status=8))
    info = open_core(path).info
    assert not info.complete
    assert any("ran out of space" in sentence for sentence in info.lacks)


def test_zero_filled_ranges_are_said(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    half = len(MEMORY) // 2
    loads = [
        (0, images.DIRECT_MAP, bytes(MEMORY[:half])),
        (half, images.DIRECT_MAP + half, b"", half),
    ]
    path.write_bytes(images.elf_core(loads, images.notes(TEXT)))
    core = open_core(path)
    assert number_at(core, 600) == 0
    assert core.info.zero_filled_bytes == half
    assert any("read as zeroes" in sentence for sentence in core.info.lacks)


def test_a_cut_elf_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    whole = images.qemu_elf(MEMORY, TEXT)
    path.write_bytes(whole[: len(whole) // 2])
    core = open_core(path)
    assert number_at(core, BANK) == BANK
    with pytest.raises(drgn.FaultError):
        number_at(core, 900)
    assert core.info.truncated_bytes == len(whole) - len(whole) // 2
    assert any("cut off" in sentence for sentence in core.info.lacks)


@pytest.mark.parametrize("flat", [False, True], ids=["plain", "flattened"])
def test_a_cut_kdump_is_read_as_far_as_it_goes(tmp_path: Path, flat: bool) -> None:
    whole = images.kdump(PAGES, FRAMES, TEXT, compress=False)
    data = images.flattened(whole) if flat else whole
    path = tmp_path / "dump"
    # Inside a page that starts before the end of a file page: it would be SIGBUS.
    path.write_bytes(data[: len(data) * 3 // 4 + 1])
    code = (
        "import sys, drgn\n"
        "from postmortem.dump.core import open_core\n"
        "core = open_core(sys.argv[1])\n"
        "good = 0\n"
        "for frame in range(1024):\n"
        "    try:\n"
        "        good += len(core.program.read(frame * 4096, 4096, physical=True)) // 4096\n"
        "    except drgn.FaultError:\n"
        "        pass\n"
        "print(good, core.info.complete)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    good, complete = run.stdout.split()
    assert 700 < int(good) < 800
    assert complete == "False"


def test_a_dump_of_another_architecture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(
        images.elf_core([(0, 0, bytes(8192))], images.notes(TEXT), machine=images.EM_RISCV)
    )
    with pytest.raises(UnknownInputError, match="riscv64, which is not supported yet"):
        open_core(path)
    path.write_bytes(images.kdump(PAGES, FRAMES, TEXT, machine="riscv64"))
    with pytest.raises(UnknownInputError, match="riscv64, which is not supported yet"):
        open_core(path)


def test_memory_without_a_kernel_is_said(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(images.qemu_elf(bytearray(1 << 20), None))
    with pytest.raises(UnknownInputError, match="VMCOREINFO"):
        open_core(path)


def test_a_note_that_is_too_small_is_not_called_absent(tmp_path: Path) -> None:
    small = b"OSRELEASE=6.9.1-test\nPAGESIZE=4096\n"
    path = tmp_path / "dump"
    for image in (
        images.qemu_elf(bytearray(1 << 20), small),
        images.kdump(images.pages_of(bytes(1 << 20)), 256, small),
    ):
        path.write_bytes(image)
        with pytest.raises(
            UnknownInputError, match=f"a VMCOREINFO note of {len(small)} bytes"
        ) as e:
            open_core(path)
        assert "no VMCOREINFO note" not in str(e.value)
    # The kernel's own page is looked for all the same.
    path.write_bytes(images.qemu_elf(with_note_in_memory(), small))
    assert open_core(path).info.vmcoreinfo_from == "memory"


def test_a_dump_that_saved_no_page_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(images.kdump({}, FRAMES, TEXT))
    with pytest.raises(UnknownInputError, match="no page was saved"):
        open_core(tmp_path / "dump")


def test_a_32_bit_elf_core_is_not_called_damaged(tmp_path: Path) -> None:
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 4, images.EM_X86_64, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    load = struct.pack("<IIIIIIII", 1, 84, 0xC0000000, 0, 4096, 4096, 7, 0)
    (tmp_path / "dump").write_bytes(head + load + bytes(4096))
    with pytest.raises(UnknownInputError, match="32-bit ELF core"):
        open_core(tmp_path / "dump")


def test_a_split_dump_without_a_note_is_searched(tmp_path: Path) -> None:
    pages = images.pages_of(with_note_in_memory())
    for index, (start, end) in enumerate([(0, 700), (700, FRAMES)]):
        image = images.kdump(pages, FRAMES, None, split=(start, end))
        (tmp_path / str(index)).write_bytes(image)
    core = open_core(tmp_path / "0")
    assert (core.info.vmcoreinfo_from, core.info.complete) == ("memory", True)
    assert [number_at(core, n) for n in (699, 700)] == [699, 700]


def test_a_log_is_not_opened_as_a_dump(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("[ 0.0] Linux version 6.1\n")
    with pytest.raises(UsageError, match="is a log"):
        open_core(path)


def test_progress_is_told_when_something_lasts(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(gzip.compress(images.qemu_elf(with_note_in_memory(), None)))
    steps: list[tuple[str, int, int]] = []
    open_core(path, progress=lambda *step: steps.append(step))
    assert {what for what, _, _ in steps} == {"decompressing gzip", "looking for VMCOREINFO"}
    assert all(0 <= done <= total for _, done, total in steps)


def test_search_works_in_compressed_dumps(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    kept = images.pages_of(with_note_in_memory(), [*range(250), *range(290, FRAMES)])
    path.write_bytes(images.kdump(kept, FRAMES, TEXT))
    core = open_core(path)
    assert [at for at, _ in core.search(b"OSRELEASE=")] == [300 * images.PAGE]
    assert [at for at, _ in core.search(b"testbox\0")] == [images.UTS_NS + 65]


def test_drgn_says_nothing_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(FORMS["flattened-kdump"]())
    code = "import sys; from postmortem.dump.core import open_core; open_core(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


HARM = """
import itertools, json, os, random, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
import drgn
from postmortem.dump.core import open_core
from postmortem.errors import PostmortemError

path, cut = sys.argv[1], sys.argv[4]
seeds, limit = range(*json.loads(sys.argv[2])), int(sys.argv[3])
whole = open(path, "rb").read()


def count(*_event):
    global calls
    calls += 1


for seed in seeds:
    print(seed, flush=True)
    choose = random.Random(seed)
    data = bytearray(whole)
    for _ in range(choose.choice((1, 1, 2, 5, 20))):
        size = choose.choice((1, 2, 4, 8))
        at = choose.randrange(limit - 8) & ~3
        data[at : at + size] = choose.choice(
            (bytes(size), b"\\xff" * size, choose.randbytes(size), b"\\xff" * (size - 1) + b"\\x7f")
        )
    if cut == "cut":
        del data[choose.randrange(len(data)) :]
    with open(path, "wb") as file:
        file.write(data)
    calls = 0
    sys.setprofile(count)
    try:
        core = open_core(path)
        for _ in itertools.islice(core.chunks(), 100):
            pass
        for address in (0xffffffff80009000, 0xffff888000100000):
            try:
                core.program.read(address, 4096)
            except drgn.FaultError:
                pass
        del core
    except PostmortemError as error:
        assert str(error).isprintable(), error
    sys.setprofile(None)
    assert calls < 100_000, f"{calls} calls: a walk without a bound"
"""


@pytest.mark.parametrize("cut", ["whole", "cut"])
@pytest.mark.parametrize("form", ["vmcore", "qemu-elf", "kdump-zlib", "flattened-kdump"])
def test_damage_gives_a_sentence_and_nothing_worse(tmp_path: Path, form: str, cut: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(FORMS[form]())
    limit = 24_000 if "kdump" in form else 2400
    run = subprocess.run(
        [sys.executable, "-c", HARM, path, json.dumps([0, 40]), str(limit), cut],
        capture_output=True,
        text=True,
        timeout=120,
    )
    # A signal (segmentation fault, bus error) is a negative status.
    assert run.returncode == 0, f"seed {run.stdout.split()[-1]}: {run.stderr[-600:]}"


def test_a_damaged_dump_never_shows_control_codes(tmp_path: Path) -> None:
    path = tmp_path / "dump\x1b[31m"
    path.write_bytes(images.kdump(PAGES, FRAMES, TEXT, machine="\x1b[2Jarm"))
    with pytest.raises(PostmortemError) as caught:
        open_core(path)
    assert str(caught.value).isprintable()


def test_nothing_is_left_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    whole = images.kdump(PAGES, FRAMES, TEXT, compress=False)
    path.write_bytes(whole[:-5000])
    open_core(path)
    assert "DRGN_PREFER_PGTABLE_READER" not in os.environ


def test_one_bad_page_leaves_the_registers_of_the_cpus(tmp_path: Path) -> None:
    """A page descriptor that makes no sense: libkdumpfile must not read the file by itself."""
    source = next(DUMPS.glob("7.2-healthy-idle.vmcore*"))
    path = tmp_path / "vmcore"
    unpack(source, path)
    image = Image(path)
    last = max(image.descriptors)
    image.write(image.descriptors[last] + 8, (1 << 30).to_bytes(4, "little"))
    with postmortem.open(path, debuginfod=False) as case:
        assert not case.input.complete
        assert [bool(cpu.frames) for cpu in case.cpus] == [True, True]


class Recorded:
    """A program that tells what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def set_core_dump(self, path: Path) -> None:
        pass

    def __getitem__(self, name: str) -> Any:
        self.asked.append(name)
        return SimpleNamespace(string_=images.vmcoreinfo)


def test_a_live_kernels_note_is_read_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading text by drgn makes every ``char`` signed, and types are not known yet."""
    kcore = tmp_path / "kcore"
    kcore.write_bytes(images.elf_core([(0, 0xFFFF888000000000, bytes(4096))], b""))
    monkeypatch.setattr(open_elf.drgn, "Program", Recorded)
    core = open_elf.open_kcore(Input(InputKind.KCORE, Format.KCORE, (kcore,)))
    assert core.info.vmcoreinfo_from == "memory"
    assert core.info.vmcoreinfo["OSRELEASE"]
    assert cast(Recorded, core.program).asked == []
