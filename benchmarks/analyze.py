"""Whole processes side by side on one dump: ``postmortem analyze`` and crash(8).

    python benchmarks/analyze.py --dump vmcore
    python benchmarks/analyze.py --dump vmcore --vmlinux vmlinux                  # crash from PATH
    sudo python benchmarks/analyze.py --dump vmcore --vmlinux vmlinux --chroot SID

Each command runs once to warm the file cache, then all take turns (A B C A B C ...),
so that a busy machine disturbs all alike. Wall time is a median; user+sys and the
peak of resident memory are what the kernel says of the process (wait4). The floors
show what a Python start and the bare opening of the dump cost.

This prints and judges nothing: figures depend on the machine. The ratios do much less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

CRASH_COMMANDS = b"sys\nbt -a\nps\nlog\nquit\n"
OPEN_ONLY = "import sys, drgn; drgn.Program().set_core_dump(sys.argv[1])"
PACKED = {".zst", ".xz", ".gz"}
"""Suffixes of dumps that only postmortem opens as they are."""
MOUNTED = "POSTMORTEM_BENCH_MOUNTED"


@dataclass
class Subject:
    """A command that is measured."""

    name: str
    command: Sequence[str]
    stdin: bytes = b""
    good: tuple[int, ...] = (0,)
    """Exit statuses that mean "did its work"."""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)


class BenchmarkError(Exception):
    """A command did not do its work, so its figures mean nothing."""


def run(subject: Subject) -> tuple[float, float, float, int]:
    """Run once; wall seconds, user+sys seconds, peak RSS in MiB, bytes of output."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out:
        stdin.write(subject.stdin)
        stdin.seek(0)
        start = time.perf_counter()
        child = subprocess.Popen(subject.command, stdin=stdin, stdout=out, stderr=out)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = code = os.waitstatus_to_exitcode(status)
        length = out.tell()
        if code not in subject.good:
            out.seek(max(length - 500, 0))
            end = out.read().decode(errors="replace").strip()
            raise BenchmarkError(f"{subject.name} ended with status {code}: {end}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, length


def measure(subjects: Sequence[Subject], rounds: int) -> None:
    for subject in subjects:
        *_, length = run(subject)
        print(f"{subject.name}: {length} bytes of output", file=sys.stderr)
    for _ in range(rounds):
        for subject in subjects:
            wall, cpu, rss, _ = run(subject)
            subject.wall.append(wall)
            subject.cpu.append(cpu)
            subject.rss_mib.append(rss)


def show(subjects: Sequence[Subject]) -> None:
    """A line each; ratios are those of the first subject's cost."""
    first = subjects[0]
    print(f"{'':34}  {'wall s':>7} {'min':>7}  {'cpu s':>7}  {'RSS MiB':>8}    wall   memory")
    for subject in subjects:
        wall, cpu = median(subject.wall), median(subject.cpu)
        rss = max(subject.rss_mib)
        times = wall / median(first.wall)
        memory = rss / max(first.rss_mib)
        print(
            f"{subject.name:34}  {wall:7.3f} {min(subject.wall):7.3f}  {cpu:7.3f}  {rss:8.1f}"
            f"  {times:5.2f} x  {memory:5.2f} x"
        )


def subjects(options: argparse.Namespace) -> list[Subject]:
    """What is compared, ours first."""
    dump, python = str(options.dump), sys.executable
    postmortem = [python, "-m", "postmortem"]
    ours = [*postmortem, "analyze", "--no-debuginfod", dump]
    found = [
        Subject("postmortem analyze", ours, good=(0, 1)),
        Subject("postmortem analyze --json", [*ours, "--json"], good=(0, 1)),
    ]
    if options.vmlinux:
        with_debug = [*ours, "--vmlinux", str(options.vmlinux)]
        found.append(Subject("postmortem analyze --vmlinux", with_debug, good=(0, 1)))
        crash = ["crash", "-s", str(options.vmlinux), dump]
        if options.chroot:
            inside = [f"/{name}" for name in mount_points(options)]
            crash = ["chroot", str(options.chroot), "crash", "-s", *inside]
        found.append(Subject("crash: sys; bt -a; ps; log", crash, CRASH_COMMANDS))
    if options.dump.suffix not in PACKED:
        found.append(Subject("floor: open the dump with drgn", [python, "-c", OPEN_ONLY, dump]))
    found += [
        Subject("floor: postmortem --version", [*postmortem, "--version"]),
        Subject("floor: python -c pass", [python, "-c", "pass"]),
    ]
    return found


def mount_points(options: argparse.Namespace) -> dict[str, Path]:
    """Where the files are to be seen below the chroot: vmlinux and dump."""
    return {
        "run/postmortem-bench/vmlinux": options.vmlinux.resolve(),
        "run/postmortem-bench/vmcore": options.dump.resolve(),
    }


def enter_mount_namespace(options: argparse.Namespace) -> None:
    """Show dump and vmlinux inside the chroot, in a mount namespace that ends with us."""
    if not os.environ.get(MOUNTED):
        os.environ[MOUNTED] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "none", options.chroot / "run"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", options.chroot / "proc"], check=True)
    for name, source in mount_points(options).items():
        target = options.chroot / name
        target.parent.mkdir(exist_ok=True)
        target.touch()
        subprocess.run(["mount", "--bind", source, target], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="postmortem beside crash on one dump")
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--vmlinux", type=Path, help="of the same build, with DWARF: for crash")
    parser.add_argument("--chroot", type=Path, help="run the crash that is installed in there")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.chroot:
        if options.vmlinux is None:
            parser.error("--chroot is for crash, which needs --vmlinux")
        enter_mount_namespace(options)
    compared = subjects(options)
    try:
        measure(compared, options.rounds)
    except (BenchmarkError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    show(compared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
