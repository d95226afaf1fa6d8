"""``postmortem sysrq`` beside what of crash(8) comes nearest, on one dump.

    python benchmarks/sysrq_keys.py --dump vmcore                            # ours alone
    python benchmarks/sysrq_keys.py --dump vmcore --vmlinux vmlinux          # crash from PATH
    python benchmarks/sysrq_keys.py ... --crash /path/to/crash --rounds 5

Whole processes, as ``benchmarks/analyze.py`` measures them. ``t`` prints every task with its
stack as the kernel does, and the run queues; ``foreach bt`` prints stacks, ``ps`` a line a
task. ``m`` prints zones and free lists; ``kmem -i`` a page of sums. postmortem has the dump
alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__:
    from benchmarks.analyze import BenchmarkError, Subject, measure, show
else:
    from analyze import BenchmarkError, Subject, measure, show

PAIRS = {
    "t": ("foreach bt", "ps"),
    "w": ("foreach UN bt",),
    "m": ("kmem -i",),
    "q": ("timer -r",),
}
"""Our keys, and the commands of crash that are nearest to each."""


def ours(key: str, dump: Path) -> Subject:
    command = [sys.executable, "-m", "postmortem", "sysrq", key, str(dump)]
    return Subject(f"postmortem sysrq {key}", command, good=(0, 1))


def crash(line: str, options: argparse.Namespace) -> Subject:
    command = [str(options.crash), "-s", str(options.vmlinux), str(options.dump)]
    return Subject(f"crash: {line}", command, f"{line}\nquit\n".encode())


def main() -> int:
    parser = argparse.ArgumentParser(description="SysRq keys of a dump, beside crash")
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--vmlinux", type=Path, help="of the same build, with DWARF: for crash")
    parser.add_argument("--crash", type=Path, default=Path("crash"), help="the program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", default="".join(PAIRS))
    options = parser.parse_args()
    try:
        for key in options.keys:
            subjects = [ours(key, options.dump)]
            if options.vmlinux:
                subjects += [crash(line, options) for line in PAIRS.get(key, ())]
            measure(subjects, options.rounds)
            show(subjects)
    except (BenchmarkError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
