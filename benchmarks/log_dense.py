"""How fast a log is read that is nothing but different oopses.

    python -m benchmarks.log_dense [--reports 3000]

Two logs are made up: in one the functions of all stacks are of one kernel and come again
and again, as on a machine that runs on after its oopses; in the other no two frames are alike.
Prints megabytes per CPU second, after a first pass that compiles the tables.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from postmortem.log.scan import scan_file

FRAMES = 20
KERNEL_FUNCTIONS = 3000
_ROWS = ("RAX RBX RCX", "RDX RSI RDI", "RBP R08 R09", "R10 R11 R12", "R13 R14 R15")


def oops(number: int, frame: Callable[[], str], dice: random.Random) -> Iterator[str]:
    """The lines of one report of x86-64."""
    yield f"BUG: unable to handle page fault for address: ffff8880{dice.randrange(1 << 32):08x}"
    yield "#PF: supervisor read access in kernel mode"
    yield "#PF: error_code(0x0000) - not-present page"
    yield "PGD 112049067 P4D 112049067 PUD 0 "
    yield f"Oops: 0000 [#{number + 1}] PREEMPT SMP NOPTI"
    cpu = f"CPU: {number % 64} PID: {number + 700} Comm: acmed{number % 9}"
    yield f"{cpu} Tainted: G      D    OE     6.9.0 #1"
    yield "Hardware name: ACME Rack/ACME1, BIOS 1.0 01/01/2024"
    yield f"RIP: 0010:acme_f{number}+0x17/0x40 [acme]"
    code = [f"{dice.randrange(256):02x}" for _ in range(63)]
    yield f"Code: {' '.join(code[:42])} <48> {' '.join(code[42:])}"
    yield f"RSP: 0018:ffffab85{dice.randrange(1 << 32):08x} EFLAGS: 00010002"
    for row in _ROWS:
        yield " ".join(f"{name}: {dice.randrange(1 << 64):016x}" for name in row.split())
    yield "FS:  00007f0000000000(0000) GS:ffff888000000000(0000) knlGS:0000000000000000"
    yield "CR2: ffff888000000000 CR3: 0000000112049000 CR4: 0000000000750ee0"
    yield "Call Trace:"
    yield " <TASK>"
    for _ in range(FRAMES):
        yield f" {frame()}"
    yield " do_syscall_64+0x5c/0x90"
    yield " entry_SYSCALL_64_after_hwframe+0x6e/0xd8"
    yield " </TASK>"
    yield f"Modules linked in: acme(OE) {' '.join(f'mod{number}' for number in range(40))}"
    yield "---[ end trace 0000000000000000 ]---"


def write(path: Path, reports: int, alike: bool) -> None:
    """A log of so many oopses; ``alike``: the frames are of one kernel's functions."""
    dice = random.Random(5)
    pool = [
        f"acme_g{n}+{dice.randrange(1, 4096):#x}/0x1000 [acme]" for n in range(KERNEL_FUNCTIONS)
    ]
    made = iter(range(reports * FRAMES))

    def frame() -> str:
        if alike:
            return dice.choice(pool)
        return f"acme_h{next(made)}+{dice.randrange(1, 4096):#x}/0x1000 [acme]"

    clock = 10.0
    with path.open("w") as file:
        for number in range(reports):
            clock += 5
            for line in oops(number, frame, dice):
                clock += 0.00001
                file.write(f"[{clock:12.6f}] {line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=3000)
    reports = parser.parse_args().reports
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        write(path, 20, alike=False)
        scan_file(str(path))
        for name, alike in (("functions of one kernel", True), ("all frames different", False)):
            write(path, reports, alike)
            begin = time.process_time()
            scan = scan_file(str(path))
            seconds = time.process_time() - begin
            size = path.stat().st_size
            speed = size / seconds / 1e6
            print(f"{name}: {len(scan.reports)} reports, {size / 1e6:.0f} MB, {speed:.1f} MB/s")


if __name__ == "__main__":
    main()
