"""Run ``postmortem analyze /proc/kcore`` inside a booted guest.

    python -m corpus.live --kernel 6.12                      # a healthy machine
    python -m corpus.live --kernel 6.12 --fault null-chain   # one that has oopsed

The guest gets a disk with this very Python, its libraries, postmortem and the
packages that it needs. The answer comes back over the serial line and is held
against the truth of the scenarios healthy-idle and soft-oops.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from corpus import initrd, module, truth
from corpus.capture import one_at_a_time
from corpus.guest import Guest, GuestError
from corpus.kernels import KERNELS, FetchError, Tree, busybox, default_cache, fetch
from corpus.scenarios import Scenario, load

SITE = "site"
DISK_MIB = 512
MEMORY_MIB = 512
# Python is some twenty times slower under TCG: 25 s on an idle machine.
SECONDS = 180

SCRIPT = """
mount -t ext4 -o ro /dev/vda /mnt
for folder in proc sys dev; do mount -o bind /$folder /mnt/$folder; done
mount -t tmpfs tmpfs /mnt/tmp
{before}
echo 'pm: answer' > /dev/report
PYTHONPATH=/{site} PYTHONHOME={home} PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \\
    chroot /mnt {python} -m postmortem analyze /proc/kcore --json > /dev/report 2> /dev/console
echo "pm: status $?" > /dev/report
sleep 60
"""


def python_disk(disk: Path, scratch: Path, *more: Path, programs: Sequence[Path] = ()) -> None:
    """An ext4 image with the running Python and everything that postmortem imports.

    :param more: Folders and files that Python shall find beside the packages.
    :param programs: of the host, where they are there.
    """
    root = scratch / "root"
    for name in ("proc", "sys", "dev", "tmp", "bin", "var", SITE):
        (root / name).mkdir(parents=True)
    for program in programs:
        _copy(program, root)
    stdlib = Path(sysconfig.get_path("stdlib"))
    ignore = shutil.ignore_patterns("test", "tests", "site-packages", "dist-packages", "config-*",
                                    "__pycache__", "idlelib", "tkinter", "*.a")  # fmt: skip
    shutil.copytree(stdlib, root / stdlib.relative_to("/"), ignore=ignore)
    for package in sorted(packages("postmortem")):
        _copy_package(package, root / SITE)
    for path in more:
        if path.is_dir():
            shutil.copytree(
                path, root / SITE / path.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(path, root / SITE)
    python = Path(sys.executable).resolve()
    _copy(python, root)
    for library in _libraries([python, *programs, *root.rglob("*.so*")]):
        _copy(library, root)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), f"{DISK_MIB}M"], check=True
    )


def packages(distribution: str) -> set[str]:
    """Importable packages and modules of *distribution* and of everything that it requires.

    Asked of what is installed and not listed here: a list goes on naming what was dropped.
    """
    installed: dict[str, set[str]] = {}
    for package, owners in metadata.packages_distributions().items():
        for owner in owners:
            installed.setdefault(_canonical(owner), set()).add(package)
    found: set[str] = set()
    wanted, seen = [_canonical(distribution)], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        found |= installed.get(name, set())
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(_canonical(requirement.name))
    return found


def _canonical(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _copy(file: Path, root: Path) -> None:
    target = root / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(file, target)


def _copy_package(name: str, site: Path) -> None:
    spec = find_spec(name)
    if spec is None:
        raise FetchError(f"the Python package {name} is not installed here")
    ignore = shutil.ignore_patterns("__pycache__")
    for place in spec.submodule_search_locations or ():
        if not Path(place).is_dir():
            continue  # the hook of an editable installation
        shutil.copytree(place, site / name, ignore=ignore)
        libraries = Path(place).with_name(f"{name}.libs")  # what auditwheel puts beside
        if libraries.exists():
            shutil.copytree(libraries, site / libraries.name)
    if not spec.submodule_search_locations and spec.origin:
        shutil.copy(spec.origin, site)


def _libraries(programs: Sequence[Path]) -> set[Path]:
    """Shared libraries of the host that *programs* need."""
    listing = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True
    ).stdout  # fmt: skip
    found = {Path(path) for path in re.findall(r"(/\S+) \(0x", listing)}
    return {path for path in found if not str(path).startswith(tempfile.gettempdir())}


def analyze(tree: Tree, scenario: Scenario, cache: Path) -> tuple[int, str, dict[str, Any]]:
    """Give postmortem's exit status, what it wrote, and the guest's account of itself."""
    with tempfile.TemporaryDirectory(prefix="pm-live-") as folder:
        scratch = Path(folder)
        disk = scratch / "disk"
        python_disk(disk, scratch)
        modules = tree.with_dependencies(["qemu_fw_cfg", "virtio_pci", "virtio_blk", "ext4"])
        if scenario.fault:
            modules.append(module.build(tree))
        # The fault kills the shell that asks for it, so it gets one of its own.
        fault = f"(echo {scenario.fault} > /proc/pm_fault) 2> /dev/null" if scenario.fault else ""
        script = SCRIPT.format(
            before=fault, site=SITE, home=sys.base_prefix, python=os.path.realpath(sys.executable)
        )
        image = scratch / "initrd"
        image.write_bytes(
            initrd.base(busybox(tree.kernel, cache), modules).bytes()
            + initrd.scenario(replace(scenario, fault=None, trigger=script).script)
        )
        with one_at_a_time(cache), Guest(
            kernel=tree.image,
            initrd=image,
            arguments=scenario.arguments,
            console=scratch / "console.log",
            report=scratch / "report.log",
            memory_mib=MEMORY_MIB,
            arch=tree.kernel.arch,
            devices=("-drive", f"file={disk},if=none,id=disk,format=raw,readonly=on",
                     "-device", "virtio-blk-pci,drive=disk"),
        ) as guest:  # fmt: skip
            guest.wait_for(r"pm: status \d+", SECONDS)
        report = (scratch / "report.log").read_text(errors="replace").replace("\r", "")
    answer, status = re.findall(r"pm: answer\n(.*)pm: status (\d+)", report, re.DOTALL)[0]
    return int(status), answer, truth.machine(report)


def wrong(scenario: Scenario, machine: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What the answer gets wrong."""
    verdict, system = document["verdict"], document["system"]
    expected = {
        "kind": (verdict["kind"], (scenario.truth.kind, *scenario.truth.also)),
        "function": (verdict["culprit"]["function"], (scenario.truth.function,)),
        "release": (system["release"], (machine["release"],)),
        "cpus": (system["cpus"], (machine["cpus"],)),
        "input": (document["input"]["kind"], ("kcore",)),
    }
    return [f"{name}: {said!r}, not {right[0]!s}"
            for name, (said, right) in expected.items() if said not in right]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.live", description=__doc__)
    parser.add_argument("--kernel", choices=[*KERNELS], default="6.12")
    parser.add_argument("--fault", choices=["null-chain"], help="break the machine first")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the whole answer")
    options = parser.parse_args(argv)
    cache = default_cache().expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    scenario = load()["soft-oops" if options.fault else "healthy-idle"]
    try:
        tree = fetch(KERNELS[options.kernel], cache)
        try:
            status, answer, machine = analyze(tree, scenario, cache)
        except GuestError as error:
            # An emulated machine stops by itself now and then, as those of the exam do.
            print(f"live: {error}; booted once more", file=sys.stderr)
            status, answer, machine = analyze(tree, scenario, cache)
    except (FetchError, GuestError, truth.TruthError, subprocess.SubprocessError) as error:
        print(f"live: {error}", file=sys.stderr)
        return 1
    try:
        document = json.loads(answer)
    except ValueError:
        print(f"live: postmortem ended with {status} and no JSON:\n{answer}", file=sys.stderr)
        return 1
    if options.verbose:
        print(json.dumps(document, indent=1))
    mistakes = wrong(scenario, machine, document)
    print(f"{options.kernel} live {scenario.name}: {document['verdict']['title']} "
          f"(exit status {status}) {'; '.join(mistakes) or 'right'}")  # fmt: skip
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
