"""What the stacks of all tasks cost: the curve over the number of tasks, and peers beside it.

    python benchmarks/stacks.py --dump 1000/vmcore --dump 12700/vmcore --dump 30000/vmcore
    sudo python benchmarks/stacks.py --dump vmcore --vmlinux vmlinux --chroot SID   # and crash(8)

Whole processes, as ``benchmarks/analyze.py`` measures them: ``postmortem stacks`` unwinds
every task, groups and prints; bare drgn unwinds and formats every stack with the same ORC
tables (and with DWARF's unwind tables where --vmlinux is given); crash runs ``foreach bt``.
The marginal cost is that of a task more, without what opening the dump costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))
from analyze import BenchmarkError, Subject, enter_mount_namespace, measure, show

ORC = """
import sys, drgn
from postmortem.dump.core import open_input
from postmortem.inputs.recognise import recognise
from postmortem.dump.selfdescribe import describe
core = open_input(recognise([sys.argv[1]]))
describe(core.program, dict(core.info.vmcoreinfo))
from drgn.helpers.linux.pid import for_each_task
for task in for_each_task(core.program):
    try:
        print(task.pid.value_(), core.program.stack_trace(task))
    except (ValueError, LookupError) as exc:
        print(exc)
"""
DWARF = """
import sys, drgn
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
try:
    prog.load_debug_info([sys.argv[2]])
except drgn.MissingDebugInfoError:
    pass
from drgn.helpers.linux.pid import for_each_task
for task in for_each_task(prog):
    try:
        print(task.pid.value_(), prog.stack_trace(task))
    except (ValueError, LookupError) as exc:
        print(exc)
"""


def tasks_of(dump: Path) -> int:
    """How many tasks are in a dump."""
    command = [sys.executable, "-m", "postmortem", "stacks", "--no-debuginfod", "--json", str(dump)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode not in (0, 1):
        raise BenchmarkError(f"{dump}: {done.stderr.decode(errors='replace').strip()}")
    return int(json.loads(done.stdout)["system"]["tasks"])


def ours(dump: Path) -> Subject:
    command = [sys.executable, "-m", "postmortem", "stacks", "--no-debuginfod", str(dump)]
    return Subject(f"postmortem stacks {dump.parent.name}", command, good=(0, 1))


def peers(dump: Path, options: argparse.Namespace) -> list[Subject]:
    found = [Subject("drgn, every stack, ORC", [sys.executable, "-c", ORC, str(dump)])]
    if options.vmlinux:
        command = [sys.executable, "-c", DWARF, str(dump), str(options.vmlinux)]
        found.append(Subject("drgn, every stack, DWARF", command))
        crash = ["crash", "-s", str(options.vmlinux), str(dump)]
        if options.chroot:
            inside = ("/run/postmortem-bench/vmlinux", "/run/postmortem-bench/vmcore")
            crash = ["chroot", str(options.chroot), "crash", "-s", *inside]
        found.append(Subject("crash: foreach bt", crash, b"foreach bt\nquit\n"))
    return found


def curve(subjects: Sequence[Subject], counts: Sequence[int]) -> None:
    """Cost by number of tasks; CPU seconds, because a busy machine stretches the others."""
    print(f"\n{'tasks':>8}  {'wall s':>7}  {'cpu s':>7}  {'us a task':>9}  {'us a task more':>14}")
    before: tuple[int, float] | None = None
    for count, subject in sorted(zip(counts, subjects, strict=True), key=lambda pair: pair[0]):
        cpu = median(subject.cpu)
        more = ""
        if before is not None and count > before[0]:
            more = f"{1e6 * (cpu - before[1]) / (count - before[0]):14.1f}"
        print(
            f"{count:8}  {median(subject.wall):7.3f}  {cpu:7.3f}  {1e6 * cpu / count:9.1f}  {more}"
        )
        before = (count, cpu)


def main() -> int:
    parser = argparse.ArgumentParser(description="the stacks of all tasks")
    parser.add_argument("--dump", type=Path, action="append", required=True)
    parser.add_argument("--peers-on", type=Path, help="the dump for the peers; default: the first")
    parser.add_argument("--vmlinux", type=Path, help="of the same build, with DWARF: for peers")
    parser.add_argument("--chroot", type=Path, help="run the crash that is installed in there")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dumps: list[Path] = options.dump
    options.dump = options.peers_on or dumps[0]
    if options.chroot:
        if options.vmlinux is None:
            parser.error("--chroot is for crash, which needs --vmlinux")
        enter_mount_namespace(options)
    try:
        counts = [tasks_of(dump) for dump in dumps]
        sizes = [ours(dump) for dump in dumps]
        measure(sizes, options.rounds)
        curve(sizes, counts)
        compared = [ours(options.dump), *peers(options.dump, options)]
        measure(compared, max(1, options.rounds // 2))
    except (BenchmarkError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print()
    show(compared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
