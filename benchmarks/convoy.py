"""Thousands of blocked tasks: ``postmortem hung`` beside crash and bare drgn, and the cost a task.

    python -m corpus.capture --only 'convoy*'
    python benchmarks/convoy.py DUMP...                             # the curve over several dumps
    sudo python benchmarks/convoy.py DUMP --vmlinux vmlinux --chroot SID

The last dump is the one that the others are measured on, too. postmortem gets no debug
information; crash's ``foreach bt`` and drgn's stack traces, which only print stacks and
resolve no lock, need the vmlinux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

if __package__:
    from benchmarks.analyze import BenchmarkError, Subject, enter_mount_namespace, measure, show
else:
    from analyze import BenchmarkError, Subject, enter_mount_namespace, measure, show

DRGN_STACKS = """
import sys, drgn
from drgn.helpers.linux.pid import for_each_task
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
prog.load_debug_info([sys.argv[2]], main=True)
for task in for_each_task(prog):
    try:
        print(prog.stack_trace(task))
    except ValueError:
        pass
"""


def command(dump: Path) -> list[str]:
    return [sys.executable, "-m", "postmortem", "hung", "--no-debuginfod", str(dump)]


def tasks_of(dump: Path) -> int:
    """How many tasks the dump has."""
    done = subprocess.run([*command(dump), "--json"], capture_output=True, check=False)
    return int(json.loads(done.stdout)["system"]["tasks"])


def curve(dumps: list[Path], rounds: int) -> None:
    """Cost a task, the start taken away, from the smallest dump to the largest."""
    found = []
    for dump in dumps:
        subject = Subject(dump.parent.name or dump.name, command(dump), good=(0, 1))
        measure([subject], rounds)
        found.append((tasks_of(dump), median(subject.cpu), median(subject.wall)))
    found.sort()
    print(f"{'tasks':>8} {'wall s':>8} {'cpu s':>8}   us a task more")
    for number, (tasks, cpu, wall) in enumerate(found):
        more = ""
        if number:
            before_tasks, before_cpu, _ = found[number - 1]
            more = f"{(cpu - before_cpu) / max(1, tasks - before_tasks) * 1e6:.0f}"
        print(f"{tasks:8} {wall:8.2f} {cpu:8.2f}   {more}")


def others(options: argparse.Namespace) -> list[Subject]:
    """Who prints the same stacks, ours first."""
    dump = str(options.dump)
    vmlinux = str(options.vmlinux)
    crash = ["crash", "-s", vmlinux, dump]
    if options.chroot:
        inside = ["/run/postmortem-bench/vmlinux", "/run/postmortem-bench/vmcore"]
        crash = ["chroot", str(options.chroot), "crash", "-s", *inside]
    drgn = [sys.executable, "-c", DRGN_STACKS, dump, vmlinux]
    return [
        Subject("postmortem hung (no debug info)", command(options.dump), good=(0, 1)),
        Subject("crash: foreach bt", crash, b"foreach bt\nquit\n"),
        Subject("drgn with DWARF: all stacks", drgn),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="postmortem hung on convoys of tasks")
    parser.add_argument("dumps", type=Path, nargs="+")
    parser.add_argument("--vmlinux", type=Path, help="of the same build, with DWARF")
    parser.add_argument("--chroot", type=Path, help="run the crash that is installed in there")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.dump = options.dumps[-1]
    if options.chroot and options.vmlinux:
        enter_mount_namespace(options)
    try:
        curve(options.dumps, options.rounds)
        if options.vmlinux:
            compared = others(options)
            measure(compared, 1)
            show(compared)
    except (BenchmarkError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
