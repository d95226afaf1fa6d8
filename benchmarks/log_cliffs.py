"""Whether the reading of logs stays linear where it might not: time for twice the size.

    python -m benchmarks.log_cliffs [--lines 2000]

Each log is made up to be as bad as it can be in one way. Printed are CPU milliseconds for
so many lines and for twice as many, and the ratio: about 2 is linear, 4 would be square.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator

from postmortem.log.scan import scan_bytes

LINE_BYTES = 1_000_000


def _timed(texts: Iterator[str], step: float = 0.001) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"[{10 + number * step:12.6f}] {text}"


def tiny_reports(lines: int) -> Iterator[str]:
    """A check that fails in another function each time, and nothing else of it."""
    return _timed(
        f"WARNING: CPU: 0 PID: 7 at drivers/acme/a{n}.c:{n} acme_f{n}+0x1/0x20 [acme]"
        for n in range(lines)
    )


def endless_report(lines: int) -> Iterator[str]:
    """One oops whose stack does not end."""
    yield "[   10.000000] BUG: kernel NULL pointer dereference, address: 0000000000000010"
    yield "[   10.000000] Call Trace:"
    yield from _timed((f" acme_f{n}+0x10/0x20" for n in range(lines)), 0.0001)


def long_lines(lines: int) -> Iterator[str]:
    """Lines of a megabyte with words of headers in them, one for every two hundred asked for."""
    for n in range(max(1, lines // 200)):
        yield f"[{n:5}.000000] " + "BUG: no report Call Trace: " * (LINE_BYTES // 27)


def no_newline(lines: int) -> Iterator[str]:
    """All in one line."""
    yield "".join(f"[{n:5}.000000] BUG: KASAN: nothing at all " for n in range(lines))


def interleaved(lines: int) -> Iterator[str]:
    """Four CPUs that report at once, line by line, with caller ids."""
    starts = "BUG: kernel NULL pointer dereference, address: 0000000000000010"
    for n in range(lines):
        who, turn = n % 4, n // 4
        text = (starts, "Call Trace:")[turn % 40] if turn % 40 < 2 else f" acme_f{turn}+0x1/0x20"
        yield f"[{10 + n * 0.001:12.6f}][{f'T{who + 100}':>6}] {text}"


def callers(lines: int) -> Iterator[str]:
    """Each line is of another caller, and begins a report that never goes on."""
    for n in range(lines):
        text = "BUG: kernel NULL pointer dereference, address: 0000000000000010"
        yield f"[{10 + n * 0.001:12.6f}][{f'T{n}':>6}] {text}"


def boots(lines: int) -> Iterator[str]:
    """A machine that dies and starts again."""
    for n in range(max(1, lines // 4)):
        yield f"[    0.000000] Linux version 6.9.0 (acme@acme) #{n} SMP"
        yield "[    0.500000] ACPI: Early table checksum verification disabled"
        yield f"[    5.000000] BUG: unable to handle page fault for address: ffff8880{n:08x}"
        yield f"[    5.000001] RIP: 0010:acme_f{n}+0x17/0x40 [acme]"


def near_misses(lines: int) -> Iterator[str]:
    """Words of headers in lines that are none."""
    words = ("no BUG: here", "the last Oops: was long ago", "Call Trace: is off", "stack: 12 kB")
    return _timed(f"acme: {words[n % len(words)]} {n}" for n in range(lines))


def disks_and_tasks(lines: int) -> Iterator[str]:
    """Disks that fail, and tasks that hang: each of the latter may come from each of the former."""
    dice = random.Random(3)
    for n in range(lines):
        clock = f"[{10 + n * 0.01:12.6f}]"
        if n % 2:
            yield f"{clock} INFO: task acme{n}:{n + 100} blocked for more than 120 seconds."
        else:
            disk = f"sd{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676 % 26)}"
            yield f"{clock} I/O error, dev {disk}, sector {dice.randrange(1 << 30)} op 0x0:(READ)"


SHAPES: tuple[Callable[[int], Iterator[str]], ...] = (
    tiny_reports, endless_report, long_lines, no_newline, interleaved, callers, boots,
    near_misses, disks_and_tasks,
)  # fmt: skip


def seconds(data: bytes) -> float:
    """CPU time of reading it, the better of two."""
    found = []
    for _ in range(2):
        begin = time.process_time()
        scan_bytes(data)
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=2000)
    lines = parser.parse_args().lines
    for shape in SHAPES:
        once, twice = ("\n".join(shape(lines * n)).encode() for n in (1, 2))
        a, b = seconds(once), seconds(twice)
        print(f"{shape.__name__}: {a * 1000:.0f} ms, {b * 1000:.0f} ms, x{b / a:.2f}", flush=True)


if __name__ == "__main__":
    main()
