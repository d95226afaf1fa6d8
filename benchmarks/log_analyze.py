"""How much more ``postmortem analyze`` of a large log costs than ``postmortem log``.

    python benchmarks/log_analyze.py [--megabytes 200] [--reports 3]

The log is made up: lines of a boot, a few oopses, a hung-task report, and a list of
blocked tasks as sysrq w prints it. Both commands read it once in a process of their
own; times are CPU seconds, so that a busy machine doesn't blur them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from log_scan import make

TASK = b"""\
[%(time)s] INFO: task worker:%(pid)d blocked for more than 120 seconds.
[%(time)s]       Not tainted 6.12.1 #1
[%(time)s] task:worker          state:D stack:0     pid:%(pid)d  tgid:%(pid)d  ppid:1
[%(time)s] Call Trace:
[%(time)s]  <TASK>
[%(time)s]  __schedule+0x3b8/0xb40
[%(time)s]  schedule+0x27/0xf0
[%(time)s]  schedule_preempt_disabled+0x15/0x30
[%(time)s]  __mutex_lock.constprop.0+0x2a1/0x6d0
[%(time)s]  acme_flush+0x2f/0x60 [acme]
[%(time)s]  </TASK>
"""


def append_hang(path: Path, tasks: int) -> None:
    """A hung task as the kernel reports it, and blocked ones as sysrq w lists them."""
    with path.open("ab") as file:
        file.write(TASK % {b"time": b"  900000.000000", b"pid": 4000})
        file.write(b"[  900001.000000] sysrq: Show Blocked State\n")
        for number in range(tasks):
            values = {b"time": b"  900001.%06d" % number, b"pid": 5000 + number}
            file.write(b"".join((TASK % values).splitlines(keepends=True)[2:]))


def cost(command: list[str]) -> float:
    """CPU seconds of a process."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with status {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--reports", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.log"
        make(path, options.megabytes << 20, options.reports)
        append_hang(path, options.tasks)
        python = [sys.executable, "-m", "postmortem"]
        found = {name: cost([*python, name, str(path)]) for name in ("log", "analyze")}
    print(f"log      {found['log']:6.2f} s")
    print(f"analyze  {found['analyze']:6.2f} s  {found['analyze'] / found['log']:5.2f} x")


if __name__ == "__main__":
    main()
