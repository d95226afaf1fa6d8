"""Tasks, memory of tasks, run queues and slab counts: crash(8) and our shell on many dumps.

    python -m benchmarks.crash_facts --vmlinux vmlinux DUMP...

Each is asked ``sys``, ``ps``, ``runq`` and ``kmem -s`` once, crash with the vmlinux and its
DWARF, our shell with the dump alone. What is told is compared field by field, and every
difference is printed. A row that only one of them has is a difference, too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 900
LINES = ("sys", "ps", "runq", "kmem -s")
_TASK = re.compile(
    r"^(?P<active>>?) *(?P<pid>\d+) +(?P<ppid>\d+) +(?P<cpu>\d+) +(?P<key>[0-9a-f]{16}) +"
    r"(?P<state>\S+) +[\d.]+ +(?P<vsz>\d+) +(?P<rss>\d+) +(?P<comm>.*?) *$",
    re.MULTILINE,
)
_CACHE = re.compile(
    r"^(?P<key>[0-9a-f]{16}) +(?P<objsize>\d+) +(?P<allocated>\d+) +(?P<total>\d+) +"
    r"(?P<slabs>\d+) +(?P<ssize>\w+) +(?P<name>.*?) *$",
    re.MULTILINE,
)
_COUNT = re.compile(r"^ +TASKS: (\d+)", re.MULTILINE)
_QUEUE = re.compile(r"^(?=CPU \d+ RUNQUEUE)", re.MULTILINE)
_QUEUED = re.compile(r"^ +(\[ *\d+\] )PID: (\d+) +TASK: (\w+)|^  (\w[\w ]*): (\w+)", re.MULTILINE)
_CURRENT = re.compile(r"CURRENT: PID: (\d+) +TASK: (\w+)")

Facts = dict[tuple[str, str], str]
"""What was asked about whom, and the answer."""


@dataclass(frozen=True)
class Difference:
    about: str
    whom: str
    crash: str
    ours: str


def facts(text: str) -> Facts:
    """What a shell told, each number and name by itself."""
    found: Facts = {}
    count = _COUNT.search(text)
    if count:
        found["tasks", "all"] = count[1]
    for about, pattern in (("ps", _TASK), ("kmem -s", _CACHE)):
        for row in pattern.finditer(text):
            fields = row.groupdict()
            key = fields.pop("key")
            found.update({(f"{about} {name}", key): value for name, value in fields.items()})
    for part in _QUEUE.split(text)[1:]:
        queue = part.split("\n\n")[0]
        cpu = queue.split()[1]
        current = _CURRENT.search(queue)
        found["runq current", cpu] = " ".join(current.groups()) if current else "none"
        found["runq queued", cpu] = " ".join(_queued(queue))
    return found


def _queued(queue: str) -> Iterator[str]:
    """Names of the queues of a CPU, each with the tasks in it, in the order of running."""
    for row in _QUEUED.finditer(queue):
        if row[1]:
            yield f"{row[1].strip()}{row[2]}@{row[3]}"
        elif row[4] != "CURRENT":
            yield f"{row[4]}={row[5]}:"


def compare(theirs: Facts, ours: Facts) -> list[Difference]:
    """What is not the same, a fact that only one has included."""
    return [
        Difference(about, whom, theirs.get((about, whom), "-"), ours.get((about, whom), "-"))
        for about, whom in sorted({*theirs, *ours})
        if theirs.get((about, whom)) != ours.get((about, whom))
    ]


def ask(command: Sequence[str]) -> str:
    """What a shell that reads commands from ``-i FILE`` says to all lines."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as script:
        script.write("\n".join([*LINES, "q", ""]))
        script.flush()
        done = subprocess.run(
            [*command[:1], "-s", "-i", script.name, *command[1:]]
            if "crash" in Path(command[0]).name
            else [*command[:2], "-i", script.name, *command[2:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    return done.stdout.decode(errors="replace")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vmlinux", type=Path, required=True)
    parser.add_argument("--crash", default="crash", help="the program")
    parser.add_argument("--postmortem", default="postmortem", help="the program")
    parser.add_argument("--keep", type=Path, help="folder for what each of the two said")
    parser.add_argument("dumps", type=Path, nargs="+", metavar="DUMP")
    options = parser.parse_args(argv)
    compared, differ = Counter[str](), Counter[str]()
    for dump in options.dumps:
        try:
            said = {
                "crash": ask([options.crash, str(options.vmlinux), str(dump)]),
                "ours": ask([options.postmortem, "shell", str(dump)]),
            }
        except subprocess.TimeoutExpired as error:
            print(f"{dump}: {error}", flush=True)
            continue
        name = dump.parent.name
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for who, text in said.items():
                (options.keep / f"{name}.{who}").write_text(text)
        theirs, ours = facts(said["crash"]), facts(said["ours"])
        found = compare(theirs, ours)
        compared.update(about for about, _whom in theirs)
        differ.update(difference.about for difference in found)
        print(f"{name}: {len(theirs)} facts of crash's, {len(found)} differ", flush=True)
        for one in found:
            print(f"  {one.about} of {one.whom}: crash {one.crash}, ours {one.ours}", flush=True)
    for about, number in sorted(compared.items()):
        print(f"{about:18} {number:7} compared {differ[about]:6} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
