"""Compare whom the OOM killer chose with whom we had said, by a dump taken just before.

    python -m corpus.oom_oracle                  # all captures of scenario sysrq-kill
    python -m corpus.oom_oracle FOLDER ...

The guest was dumped, then went on: somebody pressed key f, a process ate up its memory
cgroup, another one the machine. The console has the kernel's tables and victims. The first
table must be ours line by line; each victim must be who has most points of those that were
in the dump and still live. A process that is younger than the dump is not predicted.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import drgn

import postmortem
from corpus.kernels import default_cache
from postmortem.kernel.memory_groups import memory_groups
from postmortem.kernel.oom import OomTask, oom, oom_in_group, worst
from postmortem.printers.acting import tasks_table

_STAMP = re.compile(r"^\[ *\d+\.\d+\] ")
_ROW = re.compile(r"\[ *(?P<pid>\d+)\] ")
_KILL = re.compile(
    r"oom-kill:constraint=.*?(?:oom_memcg=(?P<group>[^,]+))?(?:,global_oom)?,task_memcg=[^,]*,"
    r"task=(?P<comm>.*?),pid=(?P<pid>\d+),"
)


@dataclass(frozen=True)
class Kill:
    """What the console says of one."""

    group: str | None
    """The memory cgroup that was out of memory; ``None``: the machine."""
    pid: int
    comm: str
    table: tuple[str, ...]
    """Title, heading and rows."""


def kills(console: str) -> Iterator[Kill]:
    """Every kill on the console, in order."""
    table: list[str] = []
    for line in console.replace("\r", "").splitlines():
        text = _STAMP.sub("", line)
        if text.startswith("Tasks state (memory"):
            table = [text]
        elif table and (text.startswith("[  pid") or _ROW.match(text)):
            table.append(text)
        elif (match := re.search(_KILL, text)) is not None:
            yield Kill(match["group"], int(match["pid"]), match["comm"], tuple(table))
            table = []


def compare(prog: drgn.Program, seen: Sequence[Kill]) -> Iterator[tuple[str, bool]]:
    """Each statement, and whether it is right."""
    yield from _table(prog, seen[0].table)
    whole = oom(prog)
    groups = {group.path: group for group in memory_groups(prog).groups}
    in_dump = {one.task.tgid for one in whole.tasks}
    dead: set[int] = set()
    for kill in seen:
        where = f"cgroup {kill.group}" if kill.group else "the machine"
        if kill.pid not in in_dump:
            yield f"{where}: {kill.pid} ({kill.comm}) was killed, which is younger", True
            continue
        found = oom_in_group(prog, groups[kill.group]) if kill.group else whole
        chosen = worst(one for one in found.tasks if one.task.tgid not in dead)
        yield (
            f"{where}: {kill.pid} ({kill.comm}) was killed, we say {_named(chosen)}",
            (chosen is not None and chosen.leader.pid == kill.pid),
        )
        dead.add(kill.pid)


def _named(one: OomTask | None) -> str:
    return f"{one.leader.pid} ({one.leader.comm}), {one.points} points" if one else "nobody"


def _table(prog: drgn.Program, theirs: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The table of the first kill; who came, went or ran after the dump is told apart."""
    lines = [line.text for line in tasks_table(prog, oom(prog).tasks)]
    rows, own = (
        {_pid(text): text for text in side} for side in (theirs, lines)
    )  # fmt: skip
    both = [pid for pid in rows if pid in own]
    same = [pid for pid in both if rows[pid] == own[pid]]
    for pid in both:
        if rows[pid] != own[pid]:
            yield f"table: {rows[pid]!r}, we say {own[pid]!r}", False
    gone = len(set(rows) ^ set(own))
    yield f"table: {len(same)} of {len(both)} lines equal, {gone} of who came or went", bool(same)


def _pid(text: str) -> str:
    found = _ROW.match(text)
    return found["pid"] if found is not None else text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.oom_oracle", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*")
    options = parser.parse_args(argv)
    wrong = 0
    for folder in options.folders or sorted(default_cache().glob("*/sysrq-kill")):
        seen = list(kills((folder / "console.log").read_text(errors="replace")))
        print("/".join(folder.parts[-2:]))
        with postmortem.open(folder / "vmcore", debuginfod=False) as case:
            for said, right in compare(case.prog, seen):
                print(f"  {'right' if right else 'WRONG'}  {said}")
                wrong += not right
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
