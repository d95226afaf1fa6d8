"""Builds the fault module for a kernel out of its unpacked headers, with BTF.

Kbuild would do the BTF itself, but not with every kernel's packages: Debian's
older headers lack the ``vmlinux`` whose BTF the module's is based on, and the
resolve_btfids that Kbuild insists on. So Kbuild leaves it out here, the base is
taken from the headers or out of the kernel image (the same ELF file without its
debug sections), and pahole is run as Kbuild would.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from corpus.kernels import FetchError, Tree
from corpus.scenarios import FAULT_MODULE

SOURCES = Path(__file__).parent / "faults"
NAME = FAULT_MODULE

# How a bzImage's payload begins, and who unpacks it.
_UNPACKERS = {
    b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"],
    b"\x02\x21\x4c\x18": ["lz4", "-dcq"],
    b"\xfd7zXZ\x00": ["xz", "-dcq", "--single-stream"],
    b"\x1f\x8b\x08": ["gzip", "-dcq"],
}


def extract_vmlinux(image: bytes) -> bytes:
    """The ELF file inside a bzImage. Source: Documentation/arch/x86/boot.rst, payload_offset."""
    (setup_sectors,) = struct.unpack_from("<B", image, 0x1F1)
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    for magic, command in _UNPACKERS.items():
        if payload.startswith(magic):
            # The four bytes behind the stream are its size; unpackers complain about them.
            done = subprocess.run(command, input=payload, capture_output=True)
            if done.stdout.startswith(b"\x7fELF"):
                return done.stdout
            raise FetchError(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")
    raise FetchError("the kernel image is packed in a way we do not know")


def sources(fault: str | None) -> list[Path]:
    """The files of the module that decide what *fault* does.

    Those that offer it, and the headers that they include with what stands behind those.
    """
    if not fault:
        return []
    offered = [file for file in SOURCES.glob("*.c") if f'{{ "{fault}", ' in file.read_text()]
    included = {
        SOURCES / name
        for file in offered
        for name in re.findall(r'^#include "([\w.]+)"', file.read_text(), re.MULTILINE)
    }
    behind = {header.with_suffix(".c") for header in included}
    return [*offered, *sorted(included | {file for file in behind if file.exists()})]


def build(tree: Tree, btf: bool = True) -> Path:
    """Give pm_fault.ko for *tree*, built when it is older than its sources.

    Beside it stands pm_fault.ko.debug, the same module with its DWARF.
    """
    suffix = "" if btf else "-nobtf"
    target = tree.root / f"{NAME}{suffix}.ko"
    sources = sorted(SOURCES.iterdir())
    newest = max(source.stat().st_mtime for source in sources)
    if target.exists() and target.stat().st_mtime > newest:
        return target
    return make(tree, SOURCES, NAME, target, btf=btf)


def make(tree: Tree, sources: Path, name: str, target: Path, *, btf: bool = True) -> Path:
    """Build the module *name* out of a folder of sources into *target*, and ``.debug`` beside."""
    with tempfile.TemporaryDirectory(prefix="pm-") as scratch:
        folder = Path(scratch) / name
        shutil.copytree(sources, folder)
        # The host's gcc serves all kernels, whatever compiler they were built with.
        command = ["make", "-C", str(tree.headers), f"M={folder}", f"CC={tree.kernel.cross}gcc"]
        _run([*command, "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"])
        built = folder / f"{name}.ko"
        if btf:
            command = ["pahole", "-J", "--btf_base", str(_btf_base(tree)), str(built)]
            _run(command, tree.kernel.cross)
        shutil.copy(built, target.with_suffix(".ko.debug"))
        _run([f"{tree.kernel.cross}objcopy", "--strip-debug", str(built), str(target)])
    return target


def _btf_base(tree: Tree) -> Path:
    """An ELF file with the kernel's own BTF."""
    vmlinux = tree.headers / "vmlinux"
    if not vmlinux.exists():
        vmlinux.write_bytes(extract_vmlinux(tree.image.read_bytes()))
    return vmlinux


def _run(command: list[str], cross: str = "") -> None:
    # pahole adds the section with llvm-objcopy unless it is told of another one.
    environment = {**os.environ, "LLVM_OBJCOPY": f"{cross}objcopy"}
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is missing, the fault module needs it") from None
    except subprocess.CalledProcessError as error:
        raise FetchError(f"{' '.join(command)}:\n{error.stdout}{error.stderr}") from None
