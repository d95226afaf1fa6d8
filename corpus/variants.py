"""One dump in all the forms that a user may have it in.

    python -m corpus.variants DUMP FOLDER [FORM ...]

Made by makedumpfile on the host from a dump that holds every page.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus import tools
from corpus.kernels import FetchError, default_cache
from corpus.tools import Program

_EHDR_BYTES = 64
_PHDR_BYTES = 56
_FIRMWARE = range(0xFF00_0000, 0x1_0000_0000)

# Everything but what the kernel itself needs: no zero, cache, user and free pages.
FILTERED = ("-d", "31")

FORMS: dict[str, tuple[str, ...]] = {
    "zlib": ("-c", *FILTERED),
    "lzo": ("-l", *FILTERED),
    "zstd": ("-z", *FILTERED),
    "uncompressed": FILTERED,
    "elf": ("-E", *FILTERED),
    "unfiltered": ("-z", "-d", "0"),
    "no-zero-pages": ("-z", "-d", "1"),
}
"""Name of the form and the options of makedumpfile that give it."""

SPLIT_PARTS = 3


class VariantError(Exception):
    """makedumpfile could not make this form of this dump."""


def repaired(dump: Path, target: Path) -> None:
    """Copy QEMU's ELF file so that makedumpfile accepts it.

    QEMU 7.2 writes e_ehsize 8 and puts section headers between the ELF header and
    the program headers. makedumpfile reads the program headers right behind an ELF
    header of the regular size, wherever e_phoff points. The firmware's flash below
    4 GiB, which QEMU counts as memory, is left out.
    """
    shutil.copy(dump, target)
    with target.open("r+b") as file:
        head = bytearray(file.read(4096))
        if head[:4] != b"\x7fELF":
            return
        (offset,) = struct.unpack_from("<Q", head, 32)
        (count,) = struct.unpack_from("<H", head, 56)
        headers = head[offset : offset + count * _PHDR_BYTES]
        (physical,) = struct.unpack_from("<Q", headers, (count - 1) * _PHDR_BYTES + 24)
        if physical in _FIRMWARE:
            count -= 1
            struct.pack_into("<H", head, 56, count)  # e_phnum
        struct.pack_into("<QQ", head, 32, _EHDR_BYTES, 0)  # e_phoff, e_shoff
        struct.pack_into("<H", head, 52, _EHDR_BYTES)  # e_ehsize
        struct.pack_into("<HHH", head, 58, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
        head[_EHDR_BYTES : _EHDR_BYTES + len(headers)] = headers
        file.seek(0)
        file.write(head)


def form(program: Program, dump: Path, target: Path, name: str) -> None:
    """Write *dump* in the form *name* to *target*."""
    _makedumpfile(program, *FORMS[name], str(dump), str(target))


def split(program: Program, dump: Path, target: Path) -> None:
    """Write the parts target-1, target-2 ... of one dump, as ``makedumpfile --split``."""
    parts = [f"{target}-{number}" for number in range(1, SPLIT_PARTS + 1)]
    # The default block of 1024 MiB would put a small guest into the first part whole.
    block = ("--splitblock-size", "8")
    _makedumpfile(program, "--split", *block, "-z", *FILTERED, str(dump), *parts)


def flattened(program: Program, dump: Path, target: Path) -> None:
    """Write what ``makedumpfile -F`` sends through a pipe."""
    with target.open("wb") as out:
        _makedumpfile(program, "-F", "-z", *FILTERED, str(dump), out=out.fileno())


def incomplete(program: Program, dump: Path, target: Path) -> None:
    """Write the first two thirds of a filtered dump: the disk was full."""
    form(program, dump, target, "zstd")
    with target.open("r+b") as file:
        file.truncate(target.stat().st_size * 2 // 3)


def log(program: Program, dump: Path, target: Path) -> None:
    """Write the printk buffer as text, as kdump-tools does: dmesg.TIME, vmcore-dmesg.txt."""
    _makedumpfile(program, "--dump-dmesg", str(dump), str(target))


SPECIAL: dict[str, Callable[[Program, Path, Path], None]] = {
    "split": split,
    "flattened": flattened,
    "incomplete": incomplete,
    "dmesg": log,
}


def make(program: Program, dump: Path, folder: Path, names: Sequence[str]) -> None:
    """Write *dump* to ``FOLDER/vmcore.FORM`` for each of *names*."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source = Path(scratch) / "vmcore"
        repaired(dump, source)
        for name in names:
            target = folder / f"vmcore.{name}"
            for old in folder.glob(f"vmcore.{name}*"):
                old.unlink()
            special = SPECIAL.get(name)
            if special:
                special(program, source, target)
            else:
                form(program, source, target, name)


def _makedumpfile(program: Program, *arguments: str, out: int | None = None) -> None:
    done = program.run("--message-level", "4", *arguments, out=out)
    if done.returncode:
        raise VariantError(f"makedumpfile {' '.join(arguments)}: {done.stderr.strip()}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.variants", description=__doc__)
    parser.add_argument("dump", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("form", nargs="*", help=f"default: all of {', '.join([*FORMS, *SPECIAL])}")
    options = parser.parse_args(argv)
    failed = 0
    for name in options.form or [*FORMS, *SPECIAL]:
        try:
            program = tools.makedumpfile(default_cache())
            make(program, options.dump, options.folder, [name])
        except (FetchError, VariantError, OSError) as error:
            # A filtered dump cannot become every form: go on with the others.
            print(f"variants: {name}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
