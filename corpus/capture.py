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
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

from corpus import initrd, module, tools, truth
from corpus.flattened import FlattenedError, rearrange
from corpus.guest import Guest, GuestError
from corpus.kernels import KERNELS, FetchError, Tree, busybox, default_cache, fetch
from corpus.scenarios import Scenario, ScenarioError, load

# What "until" means on the console.
ENDS = {
    # The last lines of a panic; an NMI may leave the console before the very last.
    "panic": r"---\[ end Kernel panic[^\n]*\n|Kernel Offset: [^\n]*\n|Rebooting in",
    "survived": r"pm: survived",
}

# More memory than this is for machines with very many tasks.
ORDINARY_MIB = 512

# For the last line of the console.
SETTLE_SECONDS = 0.2

# Enough for Debian's cloud kernels with makedumpfile in their initrd.
CRASH_KERNEL_MIB = 112
# KASLR may put the kernel into the middle of the memory; this leaves room on one side.
CRASH_KERNEL_GUEST_MIB = 192
CRASH_KERNEL_SECONDS = 60

# An emulated machine breaks by itself now and then.
RETRIES = 1

CAPTURE_ERRORS = (
    FetchError, FlattenedError, GuestError, subprocess.SubprocessError, truth.TruthError
)  # fmt: skip


@contextmanager
def one_at_a_time(cache: Path, place: int = 0) -> Iterator[None]:
    """Guests have two CPUs and time-outs: many of them at once would disturb each other.

    Whoever shares the cache waits here for the guest before it at the same place.
    """
    with (cache / (f"qemu.lock.{place}" if place else "qemu.lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


_BUILDING = threading.Lock()
"""Modules and busybox are made once for all guests, by whoever comes first."""


def folder(cache: Path, tree: Tree, scenario: Scenario, road: str) -> Path:
    suffix = "" if road == "outside" else f".{road}"
    return cache / tree.release / f"{scenario.name}{suffix}"


def is_captured(target: Path, scenario: Scenario, digest: str) -> bool:
    """Whether *target* holds this very capture; its truth is brought up to date then."""
    file = target / "truth.json"
    try:
        document = json.loads(file.read_text())
        if document["digest"] != digest:
            return False
    except (OSError, ValueError, KeyError):
        return False
    current = {"about": scenario.about, "truth": asdict(scenario.truth)}
    written = json.dumps({**document, **current}, indent=1) + "\n"
    if written != file.read_text():
        file.write_text(written)
    return True


def digest(scenario: Scenario, tree: Tree) -> str:
    sources = [*initrd.ROOTFS.iterdir(), *module.sources(scenario.fault)]
    contents = [source.read_bytes() for source in sorted(sources)]
    return scenario.digest(tree.release.encode(), *contents)


def guest_initrd(tree: Tree, scenario: Scenario, cache: Path) -> bytes:
    cross = tree.kernel.cross
    disk = ["virtio_pci", "virtio_blk"] if scenario.disk_mib else []
    with _BUILDING:
        modules = tree.with_dependencies(["qemu_fw_cfg", *disk, *scenario.modules])
        if scenario.fault:
            modules.append(module.build(tree, btf=scenario.module_btf))
        small = initrd.scenario(scenario.script, cross) + initrd.programs(scenario.programs, cross)
        return initrd.base(busybox(tree.kernel, cache), modules).bytes() + small


def ext4_disk(scenario: Scenario, scratch: Path) -> tuple[str, ...]:
    """A disk with an empty ext4 file system for the guest, as options of QEMU."""
    if not scenario.disk_mib:
        return ()
    disk = scratch / "disk"
    with disk.open("wb") as empty:
        empty.truncate(scenario.disk_mib << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(disk)], check=True)
    return (
        "-drive", f"file={disk},if=none,id=backend,format=raw,cache=unsafe",
        "-device", "virtio-blk-pci,drive=backend,id=disk",
    )  # fmt: skip


def have_host_act(guest: Guest, scenario: Scenario) -> None:
    if scenario.host:
        guest.wait_for("pm: host", scenario.seconds)
        guest.qmp.run(scenario.host, **scenario.host_arguments)


def capture(tree: Tree, scenario: Scenario, road: str, cache: Path) -> Path:
    """Run *scenario* on the kernel of *tree*; give the folder with what it left."""
    target = folder(cache, tree, scenario, road)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    ROADS[road](tree, scenario, cache, partial)
    for dump in partial.glob("vmcore*"):
        # Half of a guest's memory is zeroes: let them take no room on the disk.
        subprocess.run(["fallocate", "-d", str(dump)], check=False, stderr=subprocess.DEVNULL)
    console, report = (
        (partial / name).read_text(errors="replace") for name in ("console.log", "report.log")
    )
    truth.confirms(scenario, console)
    document = {
        "scenario": scenario.name,
        "about": scenario.about,
        "kernel": tree.kernel.name,
        "road": road,
        "digest": digest(scenario, tree),
        "truth": asdict(scenario.truth),
        "machine": truth.machine(report or console) if scenario.initrd else None,
    }
    read = truth.files(report)
    if read:
        document["files"] = read
    (partial / "report.log").unlink()
    (partial / "truth.json").write_text(json.dumps(document, indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def from_outside(tree: Tree, scenario: Scenario, cache: Path, target: Path) -> None:
    """Let QEMU write the memory of the guest, as ``virsh dump --memory-only`` does."""
    with tempfile.TemporaryDirectory(prefix="pm-") as scratch:
        image = None
        if scenario.initrd:
            image = Path(scratch) / "initrd"
            image.write_bytes(guest_initrd(tree, scenario, cache))
        with (
            Guest(
                kernel=tree.image,
                initrd=image,
                arguments=scenario.arguments,
                console=target / "console.log",
                report=target / "report.log",
                memory_mib=scenario.memory_mib,
                cpus=scenario.cpus or 2,
                numa_nodes=scenario.numa_nodes or 1,
                arch=tree.kernel.arch,
                vmcoreinfo=scenario.vmcoreinfo,
                devices=ext4_disk(scenario, Path(scratch)),
            ) as guest,
        ):
            have_host_act(guest, scenario)
            end = ENDS.get(scenario.until, scenario.until)
            guest.wait_for("pm: host" if scenario.snapshot else end, scenario.seconds)
            time.sleep(SETTLE_SECONDS)
            guest.dump(target / "vmcore")
            if scenario.snapshot:
                guest.qmp.run("cont")
                guest.wait_for(end, scenario.seconds)
                time.sleep(SETTLE_SECONDS)
            # Which of the formats there are depends on how QEMU was built.
            for name in sorted(guest.dump_formats().intersection(scenario.formats)):
                guest.dump(target / f"vmcore.{name}", name)
    for dump in target.glob("vmcore*"):
        dump.chmod(0o644)


def by_kdump(tree: Tree, scenario: Scenario, cache: Path, target: Path) -> None:
    """Let a second kernel in the guest save the memory of the first, filtered."""
    program = tools.makedumpfile(cache)
    modules = tree.with_dependencies(["virtio_pci", "virtio_blk"])
    crash = initrd.crash(busybox(tree.kernel, cache), modules, program, scenario.makedumpfile)
    with tempfile.TemporaryDirectory(prefix="pm-") as scratch:
        image = Path(scratch) / "initrd"
        image.write_bytes(
            guest_initrd(tree, scenario, cache) + initrd.with_crash_kernel(tree.image, crash)
        )
        disk = Path(scratch) / "disk"
        with disk.open("wb") as empty:
            empty.truncate(1 << 30)
        with Guest(
            kernel=tree.image,
            initrd=image,
            arguments=f"{scenario.arguments} crashkernel={CRASH_KERNEL_MIB}M",
            console=target / "console.log",
            report=target / "report.log",
            memory_mib=scenario.memory_mib + CRASH_KERNEL_GUEST_MIB,
            arch=tree.kernel.arch,
            devices=(
                "-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe",
                "-device", "virtio-blk-pci,drive=disk",
            ),
        ) as guest:  # fmt: skip
            have_host_act(guest, scenario)
            end = guest.wait_for(
                "pm: saved|kexec_file_load: .*", scenario.seconds + CRASH_KERNEL_SECONDS
            )
            if end != "pm: saved":
                raise GuestError(end)
            guest.wait_for_end(20)
        with disk.open("rb") as stream:
            size = rearrange(stream, target / "vmcore")
            if "flattened" in scenario.formats:
                stream.seek(0)
                (target / "vmcore.flattened").write_bytes(stream.read(size))


ROADS = {"outside": from_outside, "kdump": by_kdump}


def chosen(
    scenarios: dict[str, Scenario], kernels: Sequence[str], only: Sequence[str], road: str
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
        and (road != "kdump" or scenario.can_kdump)
        and (
            any(fnmatch(scenario.name, pattern) for pattern in only)
            if only
            else not scenario.on_request
        )
    ]


def attempt(tree: Tree, scenario: Scenario, road: str, cache: Path) -> bool:
    """Capture it, if need be twice, and say how it went."""
    start = time.monotonic()
    for _ in range(1 + RETRIES):
        try:
            result = str(capture(tree, scenario, road, cache))
            break
        except CAPTURE_ERRORS as error:
            result = f"FAILED: {error}"
    seconds = time.monotonic() - start
    print(f"{tree.kernel.name:10} {scenario.name:24} {seconds:5.1f} s  {result}", flush=True)
    return not result.startswith("FAILED")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.capture", description="Capture dumps of machines that broke."
    )
    parser.add_argument("--kernel", action="append", choices=[*KERNELS], default=[])
    parser.add_argument("--only", action="append", default=[], metavar="SCENARIO",
                        help="name or pattern; may be repeated")  # fmt: skip
    parser.add_argument("--road", choices=[*ROADS], default="outside",
                        help="QEMU dumps the guest, or the guest itself by kdump")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=default_cache(),
                        help="default: $POSTMORTEM_CACHE or ~/.cache/postmortem")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="N",
                        help="begin nothing after N seconds; small guests first")  # fmt: skip
    parser.add_argument("--jobs", type=int, choices=range(1, 9), default=1, metavar="N",
                        help="so many guests at once")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="capture again what is there")
    parser.add_argument("--refresh", action="store_true", help="ask Debian for newer kernels")
    parser.add_argument("--list", action="store_true", help="say what would be captured")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no guest behind
    cache: Path = options.cache.expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        wanted = chosen(load(), options.kernel, options.only, options.road)
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
    if options.seconds != float("inf"):
        # Whatever the time allows is to be the same for each kernel; sorting is stable.
        wanted.sort(key=lambda pair: (pair[1].memory_mib > ORDINARY_MIB, pair[1].name))
    deadline = time.monotonic() + options.seconds
    places: SimpleQueue[int] = SimpleQueue()
    for place in range(options.jobs):
        places.put(place)

    def one(pair: tuple[str, Scenario]) -> str:
        """Empty if it is there, "missing" or "failed" if it is not."""
        kernel, scenario = pair
        tree = trees[kernel]
        target = folder(cache, tree, scenario, options.road)
        if not options.force and is_captured(target, scenario, digest(scenario, tree)):
            return ""
        if time.monotonic() > deadline:
            return "missing"
        place = places.get()
        try:
            with one_at_a_time(cache, place):
                return "" if attempt(tree, scenario, options.road, cache) else "failed"
        finally:
            places.put(place)

    pool = ThreadPoolExecutor(options.jobs)
    try:
        outcomes = list(pool.map(one, wanted))
    finally:
        pool.shutdown(cancel_futures=True)
    for outcome, said in (("missing", "not captured for lack of time"), ("failed", "failed")):
        names = [
            f"{kernel} {scenario.name}"
            for (kernel, scenario), its_outcome in zip(wanted, outcomes, strict=True)
            if its_outcome == outcome
        ]
        if names:
            print(f"{said}: {len(names)} of {len(wanted)}:", *names, sep="\n  ")
    return 1 if "failed" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
