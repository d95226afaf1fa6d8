"""Boot a kernel, break it as a scenario says, keep what is left of it.

    python -m corpus.capture                     # everything that is not there yet
    python -m corpus.capture --kernel 6.12 --only null-chain --only oom-leak
    python -m corpus.capture --list

A capture is a folder CACHE/RELEASE/SCENARIO with ``vmcore`` (and ``vmcore.FORMAT``),
``console.log`` and ``truth.json``.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

from corpus import initrd, module, truth
from corpus.guest import Guest, GuestError
from corpus.kernels import KERNELS, FetchError, Tree, default_cache, fetch
from corpus.scenarios import Scenario, ScenarioError, load

# What "until" means on the console.
ENDS = {
    "panic": r"---\[ end Kernel panic[^\n]*\n|Rebooting in",
    "survived": r"pm: survived",
}
BUSYBOX = Path("/bin/busybox")


@contextmanager
def one_at_a_time(cache: Path) -> Iterator[None]:
    """Guests have two CPUs and time-outs: two of them at once would disturb each other."""
    with (cache / "qemu.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def folder(cache: Path, tree: Tree, scenario: Scenario) -> Path:
    return cache / tree.release / scenario.name


def is_captured(target: Path, digest: str) -> bool:
    try:
        return bool(json.loads((target / "truth.json").read_text())["digest"] == digest)
    except (OSError, ValueError, KeyError):
        return False


def digest(scenario: Scenario, tree: Tree) -> str:
    sources = [*initrd.ROOTFS.iterdir()]
    if scenario.fault:
        sources += module.SOURCES.iterdir()
    contents = [source.read_bytes() for source in sorted(sources)]
    return scenario.digest(tree.release.encode(), *contents)


def guest_initrd(tree: Tree, scenario: Scenario) -> bytes:
    modules = tree.with_dependencies(["qemu_fw_cfg"])
    if scenario.fault:
        modules.append(module.build(tree, btf=scenario.module_btf))
    return initrd.base(BUSYBOX, modules) + initrd.scenario(scenario.script)


def capture(tree: Tree, scenario: Scenario, cache: Path) -> Path:
    """Run *scenario* on the kernel of *tree*; give the folder with what it left."""
    target = folder(cache, tree, scenario)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    console = partial / "console.log"
    with tempfile.TemporaryDirectory(prefix="pm-") as scratch:
        image = None
        if scenario.initrd:
            image = Path(scratch) / "initrd"
            image.write_bytes(guest_initrd(tree, scenario))
        with one_at_a_time(cache), Guest(
            kernel=tree.image,
            initrd=image,
            arguments=scenario.arguments,
            console=console,
            memory_mib=scenario.memory_mib,
            arch=tree.kernel.arch,
            vmcoreinfo=scenario.vmcoreinfo,
        ) as guest:
            if scenario.host:
                guest.wait_for("pm: host", scenario.seconds)
                guest.qmp.run(scenario.host)
            guest.wait_for(ENDS.get(scenario.until, scenario.until), scenario.seconds)
            guest.dump(partial / "vmcore")
            # Which of the formats there are depends on how QEMU was built.
            for name in sorted(guest.dump_formats().intersection(scenario.formats)):
                guest.dump(partial / f"vmcore.{name}", name)
    for dump in partial.glob("vmcore*"):
        dump.chmod(0o644)
    said = console.read_text(errors="replace")
    document = {
        "scenario": scenario.name,
        "about": scenario.about,
        "kernel": tree.kernel.name,
        "road": "outside",
        "digest": digest(scenario, tree),
        "truth": asdict(scenario.truth),
        "machine": truth.machine(said) if scenario.initrd else None,
    }
    (partial / "truth.json").write_text(json.dumps(document, indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def chosen(
    scenarios: dict[str, Scenario], kernels: Sequence[str], only: Sequence[str]
) -> list[tuple[str, Scenario]]:
    """Pairs of kernel name and scenario, as the command line asks for them."""
    for pattern in only:
        if not any(fnmatch(name, pattern) for name in scenarios):
            raise ScenarioError(f"no scenario is called {pattern}")
    return [
        (kernel, scenario)
        for kernel in KERNELS
        if not kernels or kernel in kernels
        for scenario in scenarios.values()
        if kernel in scenario.kernels
        and (not only or any(fnmatch(scenario.name, pattern) for pattern in only))
    ]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.capture", description="Capture dumps of machines that broke."
    )
    parser.add_argument("--kernel", action="append", choices=[*KERNELS], default=[])
    parser.add_argument("--only", action="append", default=[], metavar="SCENARIO",
                        help="name or pattern; may be repeated")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=default_cache(),
                        help="default: $POSTMORTEM_CACHE or ~/.cache/postmortem")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="capture again what is there")
    parser.add_argument("--refresh", action="store_true", help="ask Debian for newer kernels")
    parser.add_argument("--list", action="store_true", help="say what would be captured")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    cache: Path = options.cache.expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    failed = 0
    try:
        wanted = chosen(load(), options.kernel, options.only)
        if options.list:
            for kernel, scenario in wanted:
                print(f"{kernel:10} {scenario.name:24} {scenario.truth.kind:24} {scenario.about}")
            return 0
        trees = {
            name: fetch(KERNELS[name], cache, options.refresh)
            for name in dict.fromkeys(kernel for kernel, _ in wanted)
        }
    except (FetchError, ScenarioError) as error:
        print(f"capture: {error}", file=sys.stderr)
        return 1
    for kernel, scenario in wanted:
        tree = trees[kernel]
        if not options.force and is_captured(folder(cache, tree, scenario), digest(scenario, tree)):
            continue
        start = time.monotonic()
        try:
            target = capture(tree, scenario, cache)
            result = str(target)
        except (GuestError, FetchError, truth.TruthError, subprocess.SubprocessError) as error:
            failed += 1
            result = f"FAILED: {error}"
        print(f"{kernel:10} {scenario.name:24} {time.monotonic() - start:5.1f} s  {result}",
              flush=True)  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
