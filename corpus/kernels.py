"""Debian's kernels, fetched by apt and unpacked, never installed.

Every suite gets an apt root of its own inside the cache, so that neither the
host's sources nor its package state matter, and no privilege is needed.
"""

from __future__ import annotations

import lzma
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path("/etc/apt")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class FetchError(Exception):
    """A kernel or a tool cannot be had; the text says what to do."""


def mirror() -> str:
    """Where this machine gets Debian's packages: what apt is set up for, or $POSTMORTEM_MIRROR."""
    wanted = os.environ.get("POSTMORTEM_MIRROR")
    if wanted:
        return wanted.rstrip("/")
    files = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]
    for file in files:
        if file.is_file():
            found = re.search(r"^[^#\n]*?(https?://\S+)/debian/?(?:\s|$)", file.read_text(), re.M)
            if found:
                return found[1]
    raise FetchError("apt knows no Debian mirror: set POSTMORTEM_MIRROR to one (http://HOST)")


@dataclass(frozen=True)
class Kernel:
    """A kernel of the corpus: a Debian meta package, followed to its newest build."""

    name: str
    suite: str
    package: str
    arch: str = "x86_64"

    @property
    def debian_arch(self) -> str:
        return {"x86_64": "amd64", "aarch64": "arm64"}[self.arch]

    @property
    def cross(self) -> str:
        """What the names of its compiler and binutils begin with on this host."""
        return "" if self.arch == platform.machine() else f"{self.arch}-linux-gnu-"


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("5.10", "bullseye", "linux-image-cloud-amd64"),
        Kernel("6.1", "bookworm", "linux-image-cloud-amd64"),
        Kernel("6.12", "bookworm", "linux-image-6.12-cloud-amd64"),
        Kernel("7.2", "sid", "linux-image-cloud-amd64"),
        # PREEMPT_RT, with all drivers.
        Kernel("6.12rt", "bookworm", "linux-image-6.12-rt-amd64"),
        Kernel("6.12-arm64", "bookworm", "linux-image-6.12-arm64", "aarch64"),
        # Not fetched but built, with what no kernel of Debian's has: corpus/own_kernel.py.
        Kernel("6.12own", "bookworm", "linux-source-6.12"),
    )
}


@dataclass(frozen=True)
class Tree:
    """An unpacked kernel: what its Debian packages contain, under one root."""

    kernel: Kernel
    root: Path

    @property
    def release(self) -> str:
        """What ``uname -r`` says in the guest."""
        return self.root.name

    @property
    def image(self) -> Path:
        boot = self.root / "boot" / f"vmlinuz-{self.release}"
        if boot.exists():
            return boot
        # Since 7.x Debian keeps the image beside its modules.
        return self.modules / "vmlinuz"

    @property
    def headers(self) -> Path:
        return self.root / "usr" / "src" / f"linux-headers-{self.release}"

    @property
    def modules(self) -> Path:
        merged = self.root / "usr" / "lib" / "modules" / self.release
        return merged if merged.exists() else self.root / "lib" / "modules" / self.release

    def with_dependencies(self, names: Sequence[str]) -> list[Path]:
        """Files of the modules *names* and what they need, in the order of loading.

        A name without a file is built in, or not configured: left out.
        """
        found: dict[str, Path] = {}
        for name in names:
            pattern = name.replace("-", "_").replace("_", "[-_]") + ".ko*"
            path = next(iter(sorted(self.modules.rglob(pattern))), None)
            if path is None:
                continue
            for needed in [*self.with_dependencies(_depends(path)), path]:
                found.setdefault(needed.name, needed)
        return list(found.values())


def module_image(path: Path) -> bytes:
    """A kernel module uncompressed, so that insmod needs no help from the kernel."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _depends(module: Path) -> list[str]:
    """What *module* says in its .modinfo that it needs."""
    said = re.search(rb"\0depends=([^\0]*)\0", module_image(module))
    return said[1].decode().split(",") if said and said[1] else []


def default_cache() -> Path:
    """Where captures and kernels are kept: ``$POSTMORTEM_CACHE``, or in the home folder."""
    chosen = os.environ.get("POSTMORTEM_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "postmortem"


class Apt:
    """Debian's packages of one suite, downloaded without touching the host's apt."""

    def __init__(self, suite: str, architecture: str, root: Path) -> None:
        self._root = root
        for folder in ("state/lists/partial", "cache/archives/partial", "parts"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        # A mirror may lag behind; an old, but signed list is as good for us.
        signed = f"[signed-by={KEYRING} check-valid-until=no]"
        sources = [f"deb {signed} {mirror()}/debian {suite} main"]
        if suite != "sid":
            sources.append(f"deb {signed} {mirror()}/debian-security {suite}-security main")
        (root / "sources.list").write_text("\n".join(sources) + "\n")
        (root / "apt.conf").write_text(
            f'Dir::State "{root}/state"; Dir::State::status "/dev/null";\n'
            f'Dir::Cache "{root}/cache";\n'
            f'Dir::Etc::sourcelist "{root}/sources.list"; Dir::Etc::sourceparts "{root}/parts";\n'
            f'APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};\n'
            'APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "2";\n'
        )
        self._update()

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env={**os.environ, "APT_CONFIG": f"{self._root}/apt.conf", "LC_ALL": "C"},
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise FetchError(f"{command[0]} is missing: kernels are fetched by apt") from None
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise FetchError(f"{' '.join(command[:2])}: {''.join(reason)}")
        return done.stdout

    def _update(self) -> None:
        self._run("apt-get", "update", "-qq")
        if not any((self._root / "state" / "lists").glob("*_Packages*")):
            raise FetchError(f"apt has no package lists: is {mirror()} reachable from here?")

    def depends(self, package: str) -> list[str]:
        """Names in the Depends field of the newest *package*, alternatives left out."""
        shown = self._run("apt-cache", "show", "--no-all-versions", package)
        found = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
        return [] if not found else [part.split()[0] for part in found[1].split(",")]

    def unpack(self, packages: Sequence[str], target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._root) as scratch:
            self._run("apt-get", "download", "-qq", *packages, cwd=Path(scratch))
            for package in sorted(Path(scratch).glob("*.deb")):
                self._run("dpkg", "-x", str(package), str(target))


def fetch(kernel: Kernel, cache: Path, refresh: bool = False) -> Tree:
    """Give the unpacked *kernel*; fetch it when it is not there or *refresh* is wanted."""
    if kernel.package.startswith("linux-source-"):
        from corpus import own_kernel

        return own_kernel.fetch(kernel, cache, refresh)
    kernels = cache / "kernels"
    known = kernels / kernel.name
    if known.exists() and not refresh:
        return Tree(kernel, known.resolve())
    apt = Apt(kernel.suite, kernel.debian_arch, cache / "apt" / f"{kernel.suite}-{kernel.arch}")
    image = next(name for name in apt.depends(kernel.package) if name.startswith("linux-image-"))
    release = image.removeprefix("linux-image-").removesuffix("-unsigned")
    tree = Tree(kernel, kernels / release)
    if not tree.image.exists():
        partial = kernels / f".{release}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        packages = _with_parts(apt, [image, f"linux-headers-{release}"])
        apt.unpack(packages, partial)
        if kernel.cross:
            # The tools that build modules have to run here.
            host = Apt(kernel.suite, "amd64", cache / "apt" / f"{kernel.suite}-x86_64")
            host.unpack([name for name in packages if "-kbuild-" in name], partial)
        partial.rename(tree.root)
        _relocate(tree)
    known.unlink(missing_ok=True)
    known.symlink_to(release)
    return tree


def busybox(kernel: Kernel, cache: Path) -> Path:
    """A static busybox that runs in the guest: the host's, or one of Debian's."""
    if not kernel.cross:
        return Path("/bin/busybox")
    root = cache / "tools" / f"busybox-{kernel.arch}"
    if not root.exists():
        apt = Apt(kernel.suite, kernel.debian_arch, cache / "apt" / f"{kernel.suite}-{kernel.arch}")
        apt.unpack(["busybox-static"], root)
    return root / "bin" / "busybox"


def _with_parts(apt: Apt, packages: list[str]) -> list[str]:
    """*packages* and the packages that a kernel was split into."""
    wanted = list(packages)
    for package in wanted:  # grows while it is walked
        for name in apt.depends(package):
            part = re.match(r"linux-(binary|modules|headers|kbuild)-", name)
            if part and name not in wanted:
                wanted.append(name)
    return wanted


def _relocate(tree: Tree) -> None:
    """Let the headers find each other where they are, and modules their tree."""
    for makefile in tree.headers.glob("Makefile"):
        text = makefile.read_text()
        makefile.write_text(text.replace("/usr/src/", f"{tree.root}/usr/src/"))
