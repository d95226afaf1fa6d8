"""Builds a kernel of our own from Debian's source: what their kernels leave out.

KDB, lockdep, the latency tracers and the callers of printk are in no kernel that Debian
ships, so no dump of one can tell whether we read them right. ``own-kernel.config`` asks
for them; all else is as ``make tinyconfig`` leaves it, so that two CPUs build it in some
minutes. It is built on request only:

    python -m corpus.own_kernel            # prints where it is

After that ``6.12own`` may stand among the kernels of a scenario, as in sysrq-locks: the
guest boots, its dump is read without its vmlinux.

Built once for each content of the configuration and version of the source: their digest
is in the release.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from corpus.kernels import KERNELS, Apt, FetchError, Kernel, Tree, default_cache

CONFIG = Path(__file__).with_name("own-kernel.config")
NEEDS = ("make", "gcc", "flex", "bison", "bc", "pahole")
"""Programs; Debian has them in make gcc flex bison bc pahole libelf-dev."""


def fetch(kernel: Kernel, cache: Path, refresh: bool = False) -> Tree:
    """Give the built *kernel*, whose package is one of Debian's ``linux-source-*``."""
    archive = source(kernel, cache, refresh)
    release = f"{_version(archive)}-own-{_digest(archive)}"
    tree = Tree(kernel, cache / "kernels" / release)
    if not tree.image.exists():
        missing = [name for name in NEEDS if shutil.which(name) is None]
        if missing:
            raise FetchError(f"a kernel is built with {', '.join(missing)}, which are not here")
        partial = cache / "kernels" / f".{release}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _build(archive, Path(scratch), release, partial)
        partial.rename(tree.root)
    return tree


def source(kernel: Kernel, cache: Path, refresh: bool = False) -> Path:
    """The tar file with the source, downloaded if it is not there."""
    name = kernel.package.removeprefix("linux-source-")
    root = cache / "sources" / name
    archive = root / "usr" / "src" / f"{kernel.package}.tar.xz"
    if refresh or not archive.exists():
        apt = Apt(kernel.suite, "amd64", cache / "apt" / f"{kernel.suite}-x86_64")
        apt.unpack([kernel.package], root)
    return archive


def _digest(archive: Path) -> str:
    """Of what the kernel is made from; its size stands for the archive, 150 MB that apt checked."""
    known = CONFIG.read_bytes() + f"{archive.name} {archive.stat().st_size}".encode()
    return hashlib.sha256(known).hexdigest()[:8]


def _version(archive: Path) -> str:
    name = archive.name.removesuffix(".tar.xz")
    made = _run(["tar", "--occurrence=1", "-xOf", str(archive), f"{name}/Makefile"])
    found = [re.search(rf"^{word} = *(\d+)$", made, re.M)
             for word in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]  # fmt: skip
    return ".".join(match[1] for match in found if match)


def _build(archive: Path, scratch: Path, release: str, target: Path) -> None:
    """Configure, build, and lay out as Debian's packages are."""
    _run(["tar", "-xf", str(archive), "-C", str(scratch), "--strip-components=1"])
    local = release.partition("-")[2]
    _run(["make", "-s", "tinyconfig"], scratch)
    _run(["scripts/kconfig/merge_config.sh", "-m", "-O", ".", ".config", str(CONFIG)], scratch)
    with (scratch / ".config").open("a") as config:
        config.write(f'CONFIG_LOCALVERSION="-{local}"\n')
    _run(["make", "-s", "olddefconfig"], scratch)
    if missing := _not_taken(scratch / ".config"):
        raise FetchError(f"this source has not, or not alone: {', '.join(missing)}")
    jobs = f"-j{os.cpu_count() or 1}"
    _run(["nice", "-n", "19", "make", "-s", jobs, "bzImage", "modules"], scratch)
    headers = target / "usr" / "src" / f"linux-headers-{release}"
    _run(["scripts/package/install-extmod-build", str(headers)], scratch,
         {"SRCARCH": "x86", "srctree": ".", "objtree": ".", "CC": "gcc", "HOSTCC": "gcc",
          "MAKE": "make", "KCONFIG_CONFIG": ".config"})  # fmt: skip
    debug = target / "usr" / "lib" / "debug" / "boot"
    for folder in (target / "boot", debug, target / "lib" / "modules" / release):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(scratch / "vmlinux", debug / f"vmlinux-{release}")
    shutil.copy(scratch / "System.map", target / "boot" / f"System.map-{release}")
    shutil.copy(scratch / ".config", target / "boot" / f"config-{release}")
    shutil.copy(scratch / "arch/x86/boot/bzImage", target / "boot" / f"vmlinuz-{release}")


def _not_taken(config: Path) -> list[str]:
    """What was asked for and is not so: its dependencies are others than we thought."""
    lines = set(config.read_text().splitlines())
    asked = [line for line in CONFIG.read_text().splitlines() if line.startswith("CONFIG_")]
    return [
        line
        for line in asked
        if line not in lines
        # What is off is not mentioned, or in a comment.
        and not (line.endswith("=n") and not any(x.startswith(line[:-1]) for x in lines))
    ]


def _run(command: list[str], folder: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "LC_ALL": "C", **(env or {})},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise FetchError(f"{' '.join(command[:4])}: {''.join(told)}")
    return done.stdout


def main() -> int:
    """Build it, if it is not there, and print where it is."""
    try:
        print(fetch(KERNELS["6.12own"], default_cache()).root)
    except FetchError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
