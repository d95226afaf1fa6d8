"""Command lines in crash(8) and in our shell, side by side.

    python benchmarks/crash_commands.py --dump vmcore --vmlinux vmlinux [-v NUMBER...]

crash has the vmlinux with its DWARF, our shell has the dump alone. What is compared is
content: the addresses, numbers and names that each prints, not blanks or their order.
``recall`` is the share of crash's words that ours prints too. docs/shell.md explains the
lines that differ.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINES = Path(__file__).with_name("crash-lines.txt")
_MARK = "@@@"
_WORD = re.compile(r"[0-9a-f]{8,16}|[A-Za-z_][\w./:-]{2,}|\b\d+\b")
SECONDS = 900


def answers(command: list[str], lines: list[str], *flags: str) -> tuple[dict[int, str], float]:
    """What a shell says to each line, by number, and its CPU seconds in all."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script"
        marked = (f'!echo "{_MARK} {number}"\n{line}\n' for number, line in enumerate(lines, 1))
        script.write_text("".join(marked) + "q\n")
        before = _children_seconds()
        done = subprocess.run([*command, "-i", str(script)], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=SECONDS, check=False)  # fmt: skip
    found: dict[int, str] = {}
    number = 0
    for line in done.stdout.decode(errors="replace").splitlines(keepends=True):
        head, mark, rest = line.partition(_MARK)
        if mark and rest.strip().isdecimal():
            found[number] = found.get(number, "") + head
            number = int(rest)
            found[number] = ""
        else:
            found[number] = found.get(number, "") + line
    return found, _children_seconds() - before


def _children_seconds() -> float:
    import os

    spent = os.times()
    return spent.children_user + spent.children_system


def words(text: str) -> set[str]:
    return set(_WORD.findall(text.replace("\0", "")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--vmlinux", type=Path, required=True)
    parser.add_argument("--crash", default="crash")
    parser.add_argument("-v", "--verbose", type=int, nargs="*", default=[], metavar="NUMBER")
    options = parser.parse_args()
    lines = LINES.read_text().splitlines()
    start = time.monotonic()
    crash = [options.crash, "-s", "--no_scroll", str(options.vmlinux), str(options.dump)]
    theirs, their_seconds = answers(crash, lines)
    ours_command = [sys.executable, "-m", "postmortem", "shell", "--no-crashrc", str(options.dump)]
    ours, our_seconds = answers(ours_command, lines)
    same = answered = 0
    for number, line in enumerate(lines, 1):
        theirs_said, ours_said = words(theirs.get(number, "")), words(ours.get(number, ""))
        recall = len(theirs_said & ours_said) / max(1, len(theirs_said))
        same += recall >= 0.9
        answered += bool(ours_said)
        print(f"{number:3} {line:60} {len(theirs_said):7} {len(ours_said):7} {recall:6.2f}")
        if number in options.verbose:
            print(f"--- crash\n{theirs.get(number)}\n--- ours\n{ours.get(number)}")
    print(f"{len(lines)} lines, {answered} answered, {same} with nine tenths of crash's words")
    print(f"CPU seconds: crash {their_seconds:.1f}, ours {our_seconds:.1f}")
    print(f"{time.monotonic() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
