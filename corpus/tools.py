"""makedumpfile of Debian's newest suite, run with its own C library.

A makedumpfile that is older than the kernel misreads its memory (1.7.2 drops the
slab pages of 6.12), so the corpus takes the newest one; its shared libraries come
along, so that it runs on any host and inside a guest.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from corpus.kernels import Apt, FetchError

SUITE = "sid"


@dataclass(frozen=True)
class Program:
    """A program that was unpacked together with its shared libraries."""

    file: Path
    loader: Path
    libraries: Path

    def command(self, *arguments: str) -> list[str]:
        """What to execute on the host."""
        return [str(self.loader), "--library-path", str(self.libraries), str(self.file), *arguments]

    def run(self, *arguments: str, out: int | None = None) -> subprocess.CompletedProcess[str]:
        """Execute it on the host; *out* is a file descriptor for its standard output."""
        return subprocess.run(
            self.command(*arguments),
            stdout=subprocess.PIPE if out is None else out,
            stderr=subprocess.PIPE,
            text=True,
        )

    def needed(self) -> list[Path]:
        """The shared libraries, the loader left out."""
        listing = subprocess.run(
            [str(self.loader), "--library-path", str(self.libraries), "--list", str(self.file)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return [
            Path(path)
            for path in re.findall(r"=> (/\S+) \(0x", listing)
            if Path(path).name != self.loader.name
        ]


def makedumpfile(cache: Path) -> Program:
    root = cache / "tools" / "makedumpfile"
    file = root / "usr" / "bin" / "makedumpfile"
    if not file.exists():
        apt = Apt(SUITE, "amd64", cache / "apt" / f"{SUITE}-x86_64")
        apt.unpack(_libraries(apt, "makedumpfile"), root)
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    program = Program(file, libraries / "ld-linux-x86-64.so.2", libraries)
    if not program.loader.exists():
        raise FetchError(f"{program.loader} is not where it was expected")
    return program


def _libraries(apt: Apt, package: str) -> list[str]:
    """*package* and every library package that it needs, directly or not."""
    wanted = [package]
    for name in wanted:  # grows while it is walked
        wanted += [needed for needed in dict.fromkeys(apt.depends(name))
                   if needed.startswith(("lib", "zlib")) and needed not in wanted]  # fmt: skip
    return wanted
