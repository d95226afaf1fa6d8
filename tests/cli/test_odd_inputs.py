"""What somebody gives by mistake: one clear sentence, and the exit status that says so."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from postmortem import cli
from tests.dump import images

ELF = images.qemu_elf(images.machine(), images.vmcoreinfo())
KDUMP = images.kdump(images.pages_of(images.machine()), 1024, images.vmcoreinfo())

UNKNOWN, UNREADABLE, USAGE = 3, 4, 2


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("202611261200/vmcore")
        member.size = len(KDUMP)
        archive.addfile(member, io.BytesIO(KDUMP))
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("vmcore", KDUMP)
    return out.getvalue()


def elf32() -> bytes:
    """The head of a core of a 32-bit ARM machine: ELFCLASS32, EM_ARM 40."""
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    return ident + struct.pack("<HHIIIIIHHHHHH", 4, 40, 1, 0, 52, 0, 0, 52, 32, 0, 40, 0, 0)


PROCESS = images.elf_core([], images.note(b"CORE", 6, bytes(16)))
KERNEL = images.elf_object({".text": b"", "__ksymtab": b""})
MODULE = images.elf_object({".modinfo": b"", ".gnu.linkonce.this_module": b""}, kind=1)

FILES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", UNKNOWN, "is empty"),
    "picture.png": (b"\x89PNG\r\n\x1a\n" + bytes(100), UNKNOWN, "picture"),
    "letter.txt": (b"Dear all,\nthe server is down again.\n", UNKNOWN, "kernel"),
    "noise": (bytes(range(256)) * 64, UNKNOWN, "neither a dump nor a log"),
    "zeroes": (bytes(1 << 16), UNKNOWN, "neither a dump nor a log"),
    "dump that was cut": (KDUMP[:5000], UNKNOWN, "copy it again"),
    "dump of headers": (ELF[:300], UNKNOWN, ""),
    "vmlinux": (KERNEL, UNKNOWN, "with --vmlinux"),
    "ext4.ko": (MODULE, UNKNOWN, "kernel module"),
    "core.4711": (PROCESS, UNKNOWN, "open it with gdb"),
    "elf32": (elf32(), UNKNOWN, ""),
    "crash.tar.gz": (tar(), UNKNOWN, "tar -xf"),
    "crash.zip": (zipped(), UNKNOWN, "unzip"),
    "twice.gz.gz": (gzip.compress(gzip.compress(KDUMP)), UNKNOWN, "more than once"),
    "cut.gz": (gzip.compress(KDUMP)[:20], UNKNOWN, "holds nothing readable"),
    "bzImage": (bytes(0x202) + b"HdrS" + bytes(64), UNKNOWN, "bootable kernel"),
    "minidump.dmp": (b"MDMP\x93\xa7" + bytes(64), UNKNOWN, "WinDbg"),
    "system.journal": (b"LPKSHHRH" + bytes(200), UNKNOWN, "journalctl"),
    "utf16.txt": ("to buy: milk, bread\n".encode("utf-16"), UNKNOWN, "no line in it looks like"),
    "disk.qcow2": (b"QFI\xfb" + bytes(200), UNKNOWN, "disk image"),
}


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(args)
    assert isinstance(left.value.code, int)
    return left.value.code


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("postmortem: ")
    assert all(line.startswith("Try 'postmortem") for line in lines[1:]), err
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data, status, says = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    assert run("analyze", str(path)) == status
    said = sentence(capsys)
    assert str(path) in said
    assert says in said


def fifo(folder: Path) -> str:
    """Somebody opened it and wrote nothing."""
    path = folder / "fifo"
    os.mkfifo(path)
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    if os.fork() == 0:
        path.open("wb").close()
        os._exit(0)
    return str(path)


def unix_socket(folder: Path) -> str:
    path = folder / "socket"
    socket.socket(socket.AF_UNIX).bind(str(path))
    return str(path)


def loop(folder: Path) -> str:
    path = folder / "loop"
    path.symlink_to(path)
    return str(path)


ELSEWHERE: dict[str, tuple[Callable[[Path], str], int, str]] = {
    "a path that is wrong": (lambda folder: str(folder / "absent"), UNREADABLE, "does not exist"),
    "a folder of nothing": (str, UNREADABLE, "is a directory without"),
    "a URL": (lambda folder: "https://crash.example/vmcore", UNREADABLE, "is a URL"),
    "a FIFO without anything": (fifo, UNKNOWN, "is empty"),
    "a socket": (unix_socket, UNREADABLE, ""),
    "a terminal's name": (lambda folder: "/dev/null", UNREADABLE, ""),
    "a link in a circle": (loop, UNREADABLE, "can't be opened"),
    "a name that is too long": (lambda folder: "v" * 5000, UNREADABLE, "can't be opened"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_no_file_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, status, says = ELSEWHERE[name]
    assert run("analyze", make(tmp_path)) == status
    assert says in sentence(capsys)


def test_two_dumps_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").write_bytes(ELF)
    (tmp_path / "two").write_bytes(KDUMP)
    assert run("analyze", str(tmp_path / "one"), str(tmp_path / "two")) == USAGE
    assert "one input at a time" in sentence(capsys)
