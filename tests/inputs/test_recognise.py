"""What a file is, by content; what is not supported is named, in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.errors import (
    PostmortemError,
    UnknownInputError,
    UnreadableInputError,
    UsageError,
)
from postmortem.inputs.recognise import Format, InputKind, looks_like_text, recognise
from tests.dump import images

LOG = b"[    0.000000] Linux version 6.9.1 (gcc 12)\n[    1.5] Kernel panic - not syncing: sysrq\n"
ELF = images.qemu_elf(images.machine(), images.vmcoreinfo())
KDUMP = images.kdump(images.pages_of(images.machine()), 1024, images.vmcoreinfo())


def put(folder: Path, data: bytes, name: str = "input") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "kind", "layout"),
    [
        (ELF, InputKind.VMCORE, Format.ELF),
        (KDUMP, InputKind.VMCORE, Format.KDUMP),
        (LOG, InputKind.LOG, Format.TEXT),
        ("Größe: ядро упало\n".encode() * 50, InputKind.LOG, Format.TEXT),
        # A file system that lost the tail of a log leaves zeroes.
        (LOG + bytes(5000) + LOG, InputKind.LOG, Format.TEXT),
        (b"\x1b[0;31m" + LOG + b"\r\n\x07", InputKind.LOG, Format.TEXT),
    ],
)
def test_an_input_is_known_by_its_content(
    tmp_path: Path, data: bytes, kind: InputKind, layout: Format
) -> None:
    found = recognise([put(tmp_path, data, "misnamed.jpg")])
    assert (found.kind, found.format, found.outer) == (kind, layout, None)


@pytest.mark.parametrize("inner", [ELF, KDUMP, LOG], ids=["elf", "kdump", "log"])
@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("xz", lzma.compress),
        ("bzip2", bz2.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_compression_around_a_file_is_looked_through(
    tmp_path: Path, inner: bytes, name: str, compress: object
) -> None:
    assert callable(compress)
    found = recognise([put(tmp_path, compress(inner))])
    assert found.outer == name
    assert found.kind == recognise([put(tmp_path, inner)]).kind


def test_a_flattened_dump_is_known_by_what_is_inside(tmp_path: Path) -> None:
    found = recognise([put(tmp_path, images.flattened(KDUMP))])
    assert (found.kind, found.format, found.flattened) == (InputKind.VMCORE, Format.KDUMP, True)


def tar(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("vmcore")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (bytes.fromhex("ed238f61730119a8"), "LKCD"),
        (bytes.fromhex("a8190173618f23ed"), "LKCD"),
        (bytes.fromhex("a8190173618f23fd"), "s390"),
        (b"DISKDUMP", "diskdump"),
        (b"sadump\0\0", "sadump"),
        (bytes(512) + b"sadump\0\0", "medium of a Fujitsu sadump"),
        (bytes(4096) + b"sadump\0\0", "medium of a Fujitsu sadump"),
        (b"PAGEDU64", "Windows"),
        (b"MDMP\x93\xa7\0\0", "Windows minidump"),
        (b"EMiL\x01\0\0\0", "LiME"),
        (b"AVML\x02\0\0\0", "AVML"),
        (bytes.fromhex("d2bed2be"), "VMware"),
        (bytes.fromhex("14202801"), "Hyper-V"),
        (b"LibvirtQemudSave", "--memory-only"),
        (b"QEVM\0\0\0\x03", "dump-guest-memory"),
        (b"QFI\xfb", "disk image"),
        (b"LPKSHHRH", "journalctl"),
        (b"PK\x03\x04", "zip"),
        (tar(KDUMP), "tar archive"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (bytes(0x202) + b"HdrS", "bootable kernel image"),
        (images.elf_core([], images.note(b"Xen", 1, b"")), "Xen"),
        (
            images.elf_core(
                [],
                images.notes(images.vmcoreinfo()) + images.note(b"VMCOREINFO_XEN", 0, b"A=1\n"),
            ),
            "Xen",
        ),
        (images.elf_core([], images.note(b"VBCORE", 0, b"")), "VirtualBox"),
        (images.elf_core([], images.note(b"CORE", 6, bytes(16))), "process"),
        (images.elf_object({".text": b"", "__ksymtab": b""}), "vmlinux"),
        (images.elf_object({".modinfo": b"", ".gnu.linkonce.this_module": b""}, kind=1), "module"),
        (images.elf_object({".text": b""}, kind=3), "program"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_supported_is_named(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(UnknownInputError, match=word) as caught:
        recognise([put(tmp_path, data.ljust(8192, b"\x9d"))])
    assert caught.value.exit_status == 3
    assert "\n" not in str(caught.value)


def test_a_raw_image_is_suspected(tmp_path: Path) -> None:
    path = put(tmp_path, bytes(16))
    os.truncate(path, 32 << 20)
    with pytest.raises(UnknownInputError, match="raw memory image"):
        recognise([path])


def test_a_running_program_is_no_dump() -> None:
    with pytest.raises(UnknownInputError, match="program or library"):
        recognise([Path(sys.executable).resolve()])


@pytest.mark.parametrize("length", [1, 3, 7, 12, 20, 40, 63, 100, 1000, 5000])
@pytest.mark.parametrize("image", [ELF, images.flattened(KDUMP)], ids=["elf", "flattened"])
def test_a_file_that_ends_in_its_headers_is_no_log(
    tmp_path: Path, image: bytes, length: int
) -> None:
    path = put(tmp_path, image[:length])
    try:
        assert recognise([path]).kind is InputKind.VMCORE
    except UnknownInputError as error:
        assert str(path) in str(error)


def test_nothing_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(UnknownInputError, match="is empty"):
        recognise([put(tmp_path, b"")])
    with pytest.raises(UnreadableInputError, match="directory"):
        recognise([tmp_path])
    with pytest.raises(UnreadableInputError, match="does not exist"):
        recognise([tmp_path / "none"])
    with pytest.raises(UsageError, match="no input"):
        recognise([])
    with pytest.raises(UnreadableInputError, match="not valid"):
        recognise(["a\0b"])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableInputError, match="regular file"):
        recognise([tmp_path / "pipe"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = put(tmp_path, ELF)
    path.chmod(0)
    with pytest.raises(UnreadableInputError, match="privilege"):
        recognise([path])


def test_two_dumps_are_not_one_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one input at a time"):
        recognise([put(tmp_path, ELF, "a"), put(tmp_path, KDUMP, "b")])


def test_a_name_can_not_reach_the_terminal(tmp_path: Path) -> None:
    path = put(tmp_path, b"", "x\x1b]0;owned\x07\n")
    with pytest.raises(UnknownInputError) as caught:
        recognise([path])
    assert str(caught.value).isprintable()


def test_a_log_costs_no_drgn(tmp_path: Path) -> None:
    code = (
        "import sys; from postmortem.inputs.recognise import recognise;"
        "print(recognise([sys.argv[1]]).kind, 'drgn' in sys.modules, '_drgn' in sys.modules)"
    )
    path = put(tmp_path, LOG)
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert run.stdout.split() == ["log", "False", "False"]


@given(st.binary(max_size=4096))
@settings(max_examples=150, deadline=None)
def test_any_bytes_get_an_answer(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = put(tmp_path_factory.getbasetemp(), data, "any")
    try:
        recognise([path])
    except PostmortemError as error:
        assert str(error).isprintable()


@given(st.binary(min_size=1, max_size=2048))
def test_text_is_told_without_fear(data: bytes) -> None:
    looks_like_text(data)
