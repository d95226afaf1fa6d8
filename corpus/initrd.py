"""Initial RAM disks, written as newc cpio archives without root or cpio(1).

A kernel unpacks several archives one after the other: the large, common part is
made once for each kernel, and the scenario is a second archive of a few hundred
bytes behind it.
"""

from __future__ import annotations

import stat
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from corpus.kernels import module_image
from corpus.tools import Program

ROOTFS = Path(__file__).parent / "rootfs"
PROGRAMS = Path(__file__).parent / "programs"
DIRECTORIES = ("bin", "dev", "etc", "lib", "modules", "mnt", "proc", "run", "sys", "tmp", "var/log")


class Archive:
    """A newc cpio archive in the making. Sources: Documentation/driver-api/early-userspace."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._directories: set[str] = set()
        self._inode = 0

    def _entry(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (
            self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0
        )  # fmt: skip
        head = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

    def directory(self, name: str) -> None:
        if not name or name == "." or name in self._directories:
            return
        self.directory(str(Path(name).parent))
        self._directories.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o755) -> None:
        self.directory(str(Path(name).parent))
        self._entry(name, stat.S_IFREG | mode, data)

    def node(self, name: str, major: int, minor: int) -> None:
        self.directory(str(Path(name).parent))
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def bytes(self) -> bytes:
        trailer = Archive()
        trailer._entry("TRAILER!!!", 0)
        data = b"".join(self._parts + trailer._parts)
        return data + bytes(-len(data) % 512)


def compiled(source: Path, cross: str = "") -> bytes:
    """A C program as a static binary."""
    with tempfile.TemporaryDirectory(prefix="pm-") as scratch:
        program = Path(scratch) / "program"
        bare = ["-nostdlib"] if source.name == "segv.c" else []
        command = [f"{cross}gcc", "-O1", "-static", *bare, "-s", "-o", str(program), str(source)]
        subprocess.run(command, check=True)
        return program.read_bytes()


def base(busybox: Path, modules: Iterable[Path]) -> Archive:
    """The common part: busybox, our /init and kernel modules (in the order of loading)."""
    archive = Archive()
    for name in DIRECTORIES:
        archive.directory(name)
    archive.node("dev/console", 5, 1)
    archive.file("bin/busybox", busybox.read_bytes())
    archive.file("init", (ROOTFS / "init").read_bytes())
    for number, module in enumerate(modules):
        name = module.name.removesuffix(".xz")
        archive.file(f"modules/{number:02}-{name}", module_image(module), 0o644)
    return archive


def scenario(script: str, cross: str = "") -> bytes:
    """The small part: what this guest shall do, as the program /bin/trigger."""
    archive = Archive()
    archive.file("bin/trigger", b"#!/bin/sh\n" + script.encode() + b"\n")
    archive.file("bin/segv", compiled(ROOTFS / "segv.c", cross))
    return archive.bytes()


def programs(names: Iterable[str], cross: str = "") -> bytes:
    """Programs of programs/ that a scenario needs, as a part of its own."""
    archive = Archive()
    for name in names:
        archive.file(f"bin/{name}", compiled(PROGRAMS / f"{name}.c", cross))
    return archive.bytes() if names else b""


def crash(busybox: Path, modules: Iterable[Path], makedumpfile: Program, options: str) -> bytes:
    """The initrd of the kernel that takes over after a crash: it saves /proc/vmcore."""
    archive = base(busybox, modules)
    archive.file("lib/ld.so", makedumpfile.loader.read_bytes())
    archive.file("bin/makedumpfile", makedumpfile.file.read_bytes())
    for library in makedumpfile.needed():
        archive.file(f"lib/{library.name}", library.read_bytes(), 0o644)
    archive.file("etc/makedumpfile-options", options.encode() + b"\n", 0o644)
    return archive.bytes()


def with_crash_kernel(kernel: Path, initrd: bytes) -> bytes:
    """The part that makes a guest load *kernel* for the case of a crash."""
    archive = Archive()
    archive.directory("kdump")
    archive.file("kdump/kernel", kernel.read_bytes(), 0o644)
    archive.file("kdump/initrd", initrd, 0o644)
    archive.file("bin/kdump-load", compiled(ROOTFS / "kdump-load.c"))
    return archive.bytes()
