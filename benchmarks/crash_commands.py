"""Command lines in crash(8) and in our shell, side by side.

    python benchmarks/crash_commands.py --dump vmcore --vmlinux vmlinux [-v NUMBER...]
    python benchmarks/crash_commands.py ... --table docs/crash-table.md
    python benchmarks/crash_commands.py --dump vmcore --answers     # ours alone: who is silent?

crash has the vmlinux with its DWARF, our shell has the dump alone. What is compared is
content: the addresses, numbers and names that each prints, not blanks, their order, leading
zeros or gdb's ``$1 =``. A line is *same* if ours has all but a fiftieth of crash's words.
Why another one differs stands behind it in crash-lines.txt; one without a reason is an
error. Each line's time is the wall clock's between two marks in the output.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

LINES = Path(__file__).with_name("crash-lines.txt")
SAME = 0.98
SECONDS = 900
NO_TIME = 0.02
"""Seconds: below this it is the clock's own mark that is measured."""
_MARK = "@@@"
_WORD = re.compile(r"[0-9a-f]{8,16}|[A-Za-z_][\w./:-]{2,}|\b\d+\b")
_GDB = re.compile(r"^(.*= )?\$\d+ = |\\0{1,3}", re.MULTILINE)


@dataclass(frozen=True)
class Said:
    """What a shell says to a line, and how long it took."""

    text: str
    seconds: float


def answers(command: list[str], lines: list[str]) -> tuple[dict[int, Said], float]:
    """What a shell says to each line, by number, and its CPU seconds in all."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script"
        marked = (
            f'!date "+{_MARK} {number} %s.%N"\n{line}\n' for number, line in enumerate(lines, 1)
        )
        script.write_text("".join(marked) + f'!date "+{_MARK} 0 %s.%N"\nq\n')
        before = _children_seconds()
        done = subprocess.run([*command, "-i", str(script)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS, check=False)  # fmt: skip
    texts: dict[int, list[str]] = {}
    starts: list[tuple[int, float]] = []
    for line in done.stdout.decode(errors="replace").splitlines(keepends=True):
        head, mark, rest = line.partition(_MARK)
        number = starts[-1][0] if starts else 0
        texts.setdefault(number, []).append(head if mark else line)
        if mark:
            words = rest.split()
            starts.append((int(words[0]), float(words[1])))
    found = {
        number: Said("".join(texts.get(number, ())), end - begin)
        for (number, begin), (_, end) in pairwise(starts)
    }
    return found, _children_seconds() - before


def _children_seconds() -> float:
    import os

    spent = os.times()
    return spent.children_user + spent.children_system


def words(text: str) -> set[str]:
    """Content: addresses, numbers and names."""
    found = _WORD.findall(_GDB.sub(" ", text.replace("\0", "")))
    return {word.rstrip(":.").lstrip("0") or "0" for word in found}


@dataclass(frozen=True)
class Row:
    """A line with how the two compare."""

    number: int
    line: str
    reason: str
    theirs: Said
    ours: Said

    @property
    def share(self) -> float:
        """Of crash's words that ours prints too."""
        wanted = words(self.theirs.text)
        return len(wanted & words(self.ours.text)) / max(1, len(wanted))

    @property
    def verdict(self) -> str:
        return "same" if self.share >= SAME else self.reason or "?"


def read_lines() -> list[tuple[str, str]]:
    """Each line with the reason why it differs."""
    pairs = (line.partition("\t") for line in LINES.read_text().splitlines())
    return [(line, reason.strip()) for line, _, reason in pairs]


def table(rows: list[Row], versions: str, totals: str) -> str:
    """The page that says how the two compare."""
    same = sum(row.verdict == "same" for row in rows)
    timed = [row.ours.seconds / row.theirs.seconds for row in rows
             if row.theirs.seconds > NO_TIME]  # fmt: skip
    out = [
        "# Beside crash(8)",
        "",
        f"{len(rows)} lines of crash's own help and of guides, run in {versions} with the",
        "kernel's vmlinux, and in our shell with the dump alone. Written by",
        "`benchmarks/crash_commands.py --table`, where it stands what counts as the same.",
        "",
        f"{same} lines are the same; each other has its reason. {totals}",
        f"A line's time in ours is {statistics.median(timed):.2f} of crash's in the median, of the"
        f" {len(timed)} lines that",
        f"take crash more than {NO_TIME * 1000:.0f} ms.",
        "",
        "*crash refuses* is what crash's own parser does not take and ours does.",
        "",
        "| line | words of crash's | of them ours | seconds crash / ours | verdict |",
        "|---|--:|--:|--:|---|",
    ]
    for row in rows:
        line = row.line.replace("|", "\\|")
        out.append(
            f"| `{line}` | {len(words(row.theirs.text))} | {row.share:.0%} |"
            f" {row.theirs.seconds:.2f} / {row.ours.seconds:.2f} | {row.verdict} |"
        )
    return "\n".join(out) + "\n"


def silent(command: list[str], lines: list[str]) -> int:
    """Print what ours says to lines that it does not answer; how many have no word at all."""
    said, _ = answers(command, lines)
    none = 0
    for number, line in enumerate(lines, 1):
        text = said[number].text if number in said else ""
        none += not text.strip()
        short = text.strip().splitlines()
        if len(short) <= 1:
            print(f"{number:3} {line:60} {short[0][:120] if short else '(silence)'}")
    print(f"{len(lines)} lines, {none} without a word")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--vmlinux", type=Path)
    parser.add_argument("--crash", default="crash")
    parser.add_argument("--answers", action="store_true", help="ours alone")
    parser.add_argument("--table", type=Path, help="write the page here")
    parser.add_argument("-v", "--verbose", type=int, nargs="*", default=[], metavar="NUMBER")
    options = parser.parse_args()
    pairs = read_lines()
    lines = [line for line, _ in pairs]
    ours_command = [sys.executable, "-m", "postmortem", "shell", "--no-crashrc", str(options.dump)]
    if options.answers:
        return silent(ours_command, lines)
    start = time.monotonic()
    crash = [options.crash, "-s", "--no_scroll", str(options.vmlinux), str(options.dump)]
    theirs, their_seconds = answers(crash, lines)
    ours, our_seconds = answers(ours_command, lines)
    nothing = Said("", 0.0)
    rows = [
        Row(number, line, reason, theirs.get(number, nothing), ours.get(number, nothing))
        for number, (line, reason) in enumerate(pairs, 1)
    ]
    for row in rows:
        print(f"{row.number:3} {row.line:60} {row.share:6.2f} {row.theirs.seconds:7.2f}"
              f" {row.ours.seconds:7.2f}  {row.verdict}")  # fmt: skip
        if row.number in options.verbose:
            print(f"--- crash\n{row.theirs.text}\n--- ours\n{row.ours.text}")
            print("--- crash alone:", sorted(words(row.theirs.text) - words(row.ours.text))[:60])
    unexplained = [row for row in rows if row.verdict == "?"]
    totals = f"CPU seconds for all of it: crash {their_seconds:.1f}, ours {our_seconds:.1f}."
    print(f"{len(rows)} lines, {sum(row.verdict == 'same' for row in rows)} the same,"
          f" {len(unexplained)} that differ without a reason; {totals}")  # fmt: skip
    if options.table:
        version = subprocess.run([options.crash, "--version"], capture_output=True, text=True,
                                 check=False).stdout.split("\n")  # fmt: skip
        name = next((line for line in version if line.startswith("crash ")), "crash")
        options.table.write_text(table(rows, name, totals))
    print(f"{time.monotonic() - start:.0f} s in all")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
