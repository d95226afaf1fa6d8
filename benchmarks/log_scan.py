"""How fast logs are scanned, beside ``grep -aE`` with the same headers on the same file.

    python benchmarks/log_scan.py [--megabytes 200]

The logs are made up: lines of a boot, and reports of which no two are alike.
Prints a line per measurement; times are CPU seconds, so that a busy machine
doesn't blur them. Peak memory is that of the scanning process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OOPS = (ROOT / "tests/log/fixtures/x86_gpf.txt").read_bytes()
CALM = [
    b"x86/fpu: xstate_offset[%d]:  576, xstate_sizes[2]:  256",
    b"pci 0000:00:%02x.0: reg 0x10: [mem 0xfebc0000-0xfebdffff]",
    b"usb 1-%d: new high-speed USB device number 4 using xhci_hcd",
    b"systemd[1]: Started unit %d of the boot.",
    b"EXT4-fs (vda%d): mounted filesystem with ordered data mode. Quota mode: none.",
    b"acme_nic eth%d: Link is Up - 1Gbps/Full - flow control off",
    b'audit: type=1400 audit(1700000000.%d:65): apparmor="STATUS" operation="profile_load"',
]


def make(path: Path, size: int, reports: int) -> None:
    """A log of ``size`` bytes with ``reports`` different oopses evenly in it."""
    spacing = size // max(reports, 1)
    written = made = line = 0
    with path.open("wb") as file:
        while written < size:
            block = b""
            for line in range(line + 1, line + 201):  # noqa: B020
                text = CALM[line % len(CALM)].replace(b"%02x", b"%d") % line
                block += b"[%8d.%06d] %s\n" % (line // 100, line % 100 * 10_000, text)
            if made < reports and written >= made * spacing:
                block += OOPS.replace(b"acme_queue_kick", b"acme_%d" % made)
                made += 1
            file.write(block)
            written += len(block)


CHILD = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[2])
from postmortem.log.scan import scan_file
begin = time.process_time()
scan = scan_file(sys.argv[1])
print(json.dumps({"seconds": time.process_time() - begin, "reports": len(scan.reports),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def ours(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(ROOT)], capture_output=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


PIECE = 300_000
"""Bytes that grep gets with whole headers: its automaton for hundreds of them reads 30 kB/s."""


def grep(path: Path, pattern: str, size: int) -> float:
    """Bytes a second of CPU that grep takes for the first ``size`` bytes."""
    piece = path.with_name("piece")
    with path.open("rb") as file:
        size = piece.write_bytes(file.read(size))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Into a pipe: with /dev/null for output GNU grep stops at the first match.
    subprocess.run(["grep", "-aEc", pattern, str(piece)], stdout=subprocess.PIPE, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return size / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def extended(header: str) -> str:
    """A header of the table as POSIX extended regular expression."""
    text = re.sub(r"\(\?P<\w+>|\(\?:", "(", header)
    text = re.sub(r"\(\?!.*?\)", "", text).replace(r"\d", "[0-9]").replace(r"\w", "[[:alnum:]_]")
    text = text.replace(r"\s", "[[:space:]]").replace(r"\S", "[^[:space:]]").replace(r"\b", "")
    text = re.sub(r"\[([^\]]*)\[\[:alnum:\]_\]([^\]]*)\]", r"[\1[:alnum:]_\2]", text)
    return re.sub(r"([*+?}])\?", r"\1", text)


def patterns() -> dict[str, str]:
    """The headers as grep takes them: whole expressions, and only their fixed phrases."""
    sys.path.insert(0, str(ROOT))
    from postmortem.log.headers import FORMS, literals

    whole = []
    for form in FORMS:
        pattern = extended(form.header)
        test = subprocess.run(["grep", "-E", pattern, os.devnull], capture_output=True, check=False)
        if test.returncode < 2:
            whole.append(pattern)
    print(f"grep takes {len(whole)} of {len(FORMS)} headers", file=sys.stderr)
    fixed = "|".join(re.sub(r"([\[\](){}.*+?^$|\\])", r"\\\1", text) for text in literals())
    return {"headers": "|".join(f"({pattern})" for pattern in whole), "phrases": fixed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    size = parser.parse_args().megabytes * 1_000_000
    searches = patterns()
    with tempfile.TemporaryDirectory() as folder:
        for name, reports in (("few reports", 10), ("many reports", size // 20_000)):
            path = Path(folder) / "log"
            make(path, size, reports)
            size_now = path.stat().st_size
            result = ours(path)
            print(
                f"{name}: postmortem {size_now / result['seconds'] / 1e6:.0f} MB/s,"
                f" {result['reports']:.0f} reports, peak {result['peak_mb']:.0f} MB"
            )
            for what, pattern in searches.items():
                speed = grep(path, pattern, PIECE if what == "headers" else size_now) / 1e6
                print(f"{name}: grep -aE with the {what} {speed:.3g} MB/s")


if __name__ == "__main__":
    main()
