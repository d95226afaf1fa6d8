"""Compare what postmortem prints for SysRq keys with what the kernel itself printed.

    python -m corpus.sysrq_oracle                # all captures of scenarios sysrq-*
    python -m corpus.sysrq_oracle VMCORE ...     # these dumps
    python -m corpus.sysrq_oracle --key m -v VMCORE

The guest pressed the keys, and its memory was taken a moment later: its log holds the
kernel's own lines. Line by line they must be equal, but for fields that moved between
printing and dumping. Those are listed in :data:`DRIFT`, each with how far it may have
moved, so that no wrong column can hide behind them. What is neither is unequal, and the
exit status 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import drgn
from drgn.helpers.linux.pid import for_each_task

import postmortem
from corpus.kernels import default_cache
from postmortem.case import Case
from postmortem.kernel.sysrq import sysrq_keys
from postmortem.model.report import Record
from postmortem.printers.sysrq import SHOWN, sysrq

_NUMBER = re.compile(
    r"(?<![\w+/.])-?(?:0x[0-9a-f]+|[0-9a-f]{16}|[0-9a-f]{8}|\d+(?:\.\d+)?|\?)(?=kB|KB|\W|$)"
)
_IDLE_WORKER = re.compile(r"Workqueue:  0x0 \(\S+\)$")
_LETTERS = re.compile(r"(?<=kB )\([A-Z]+\) ")
"""Which lists the free blocks of an order are on: as their number."""
_UNASKED = re.compile(r"INFO: NMI handler .* took too long")
"""What the kernel says in between of itself."""
_HEADER = "sysrq: "
_HELP = "sysrq: HELP : "
ANY = float("inf")


class Drift(NamedTuple):
    """How far a field may have moved between print and dump."""

    keys: str
    line: str
    """Regular expression that the kernel's line matches."""
    label: str
    """Regular expression of the word before the number, or ``#N`` for the Nth number."""
    most: float
    why: str


DRIFT: tuple[Drift, ...] = (
    Drift(
        "m",
        r"^(Node|active_anon| |\w+ free:)",
        r"(in)?active_(anon|file)",
        2048,
        "pages faulted in",
    ),
    Drift("m", r"^", r"free", 4096, "pages given out and back"),
    Drift("m", r"^", r"free_pcp", 4096, "CPUs' own lists"),
    Drift("m", r"^", r"local_pcp", 1 << 16, "of the CPU that prints: another one when dumped"),
    Drift("m", r"^( mapped|Node)", r"mapped|pagetables|shmem", 1024, "processes start and end"),
    Drift("m", r"^(Node| unevictable)", r"dirty|writeback|writepending", 64, "written"),
    Drift("m", r"slab_reclaimable", r"slab_(un)?reclaimable", 64, "objects come and go"),
    Drift("m", r"^Node", r"kernel_stack", 64, "a task more or less"),
    Drift("m", r"\d+\*4kB", r"#.*", 4096, "blocks split and merged"),
    Drift("t", r"^(ktime|sched_clk|cpu_clk)", r"#0", 5000, "ms of the clocks"),
    Drift("t", r"^jiffies", r"#0", 5000, "time"),
    Drift("t", r"^  \.(clock|clock_task) ", r"#0", 5000, "ms of the clock"),
    Drift("t", r"^  \.next_balance", r"#0", 5, "jiffies / 10^6"),
    Drift("t", r"^  \.(nr_switches|yld_count|sched_count|ttwu_\w+)", r"#0", 5000, "it runs"),
    Drift(
        "t",
        r"^  \.(nr_running|nr_queued|h_nr_\w+|rt_nr_\w+|nr_uninterruptible)",
        r"#0",
        4,
        "it runs",
    ),
    Drift("t", r"^  \.(avg_idle|max_idle_balance_cost)", r"#0", 1e9, "it runs"),
    Drift("t", r"^  \.(curr->pid|load) ", r"#0", 1 << 30, "it runs"),
    Drift(
        "t", r"^  \.\w*(vruntime|deadline|spread0?|exec_clock|exec_start)", r"#0", 1e6, "it runs"
    ),
    Drift("t", r"^  \.(sum_w\w+|sum_weight|sum_shift)", r"#.", ANY, "it runs"),
    Drift(
        "t", r"^  \.(\w+_avg|util_est\w*|tg_load_avg\w*|removed\.\w+) ", r"#0", 1 << 18, "decays"
    ),
    Drift("t", r"^  \.(rt_time|rt_throttled)", r"#0", 1000, "it runs"),
    Drift("t", r"^  \.se->", r"#0", 1e7, "it runs"),
    Drift("lp", r"^[A-Z0-9]{2,4}:", r"[A-Z0-9]+|[0-9a-f:]+|knlGS|EFLAGS", ANY, "CPUs run"),
    Drift("p", r"PMC|ctrl|status|overflow|fixed", r"#.*", ANY, "no dump has it"),
    Drift("t", r"^  pwq ", r"active|refcnt", 64, "work comes and is done"),
    Drift("q", r"^now at", r"#0", 5e9, "the clock"),
    Drift("q", r"^ # expires at", r"#[23]", 5e9, "the clock"),
    Drift("q", r"^  \.(expires_next|nr_events|nr_retries|last_tick) ", r"#0", 5e9, "timers fire"),
    Drift("q", r"^  \.(idle|iowait)_\w+", r"#0", ANY, "CPUs sleep and wake"),
    Drift(
        "q", r"^  \.(last_jiffies|next_timer|tick_stopped|max_hang_time) ", r"#0", ANY, "CPUs sleep"
    ),
    Drift("q", r"^jiffies", r"#0", 5000, "time"),
    Drift("q", r"^ next_event:", r"#0", ANY, "timers fire"),
    Drift("q", r"^ retries:", r"#0", 16, "timers fire"),
)


@dataclass
class Compared:
    """The outcome for one key of one dump."""

    key: str
    lines: int = 0
    equal: int = 0
    moved: Counter[str] = field(default_factory=Counter)
    moved_lines: int = 0
    gone: Counter[str] = field(default_factory=Counter)
    """Lines that only one of the two has, for a reason that is known."""
    unequal: list[tuple[str, str]] = field(default_factory=list)


def sections(case: Case) -> dict[str, list[Record]]:
    """The kernel's own lines by key, header included; the last time that it was pressed."""
    by_action = {key.action: key.key for key in reversed(sysrq_keys(case.prog).values())}
    found: dict[str, list[Record]] = {}
    current: list[Record] | None = None
    for record in case.log:
        if record.text.startswith(_HELP):
            found["h"] = [record]
            current = None
        elif record.text.startswith(_HEADER):
            key = by_action.get(record.text.removeprefix(_HEADER))
            current = found[key] = [] if key else None
        if current is not None and not _UNASKED.match(record.text):
            current.append(record)
    return found


def oom_sections(case: Case) -> dict[str, list[Record]]:
    """What an OOM printed just before it brought the machine down: of m, and the tables of f."""
    texts = [record.text for record in case.log]
    if not any(PANICKED in text for text in texts):
        return {}
    starts = [n for n, text in enumerate(texts) if text == "Mem-Info:"]
    tables = [n for n, text in enumerate(texts) if text.startswith("Tasks state (memory")]
    if not starts or not tables or tables[-1] < starts[-1]:
        return {}
    end = tables[-1]
    while end < len(texts) and texts[end].startswith(("Tasks state", "[")):
        end += 1
    before = case.log[starts[-1] : tables[-1]]
    slabs = [record for record in before if _UNRECLAIMABLE.match(record.text)]
    memory = [record for record in before if record not in slabs]
    return {"m": memory, "f": [*slabs, *case.log[tables[-1] : end]]}


PANICKED = "panic_on_oom is enabled"
_UNRECLAIMABLE = re.compile(r"Unreclaimable slab info:|Name  +Used|\S+ +\d+KB +\d+KB$")


def compare(case: Case, key: str, theirs: Sequence[Record]) -> Compared:
    """Our lines beside theirs."""
    default = default_level(case)
    ours = [
        (line.text, default if line.level is None else line.level)
        for line in sysrq(case.prog, key, _pressed_on(theirs) if key == "p" else None)
        if not line.ours
    ]
    if theirs and not theirs[0].text.startswith(_HEADER):
        ours = ours[1:]  # no key was pressed
    found = Compared(key, lines=len(theirs))
    told = [(record.text, record.level) for record in theirs]
    if key in "tw":
        ran = _ran_since(case, theirs)
        told, ours = _without_locks(found, told, ours, ran)
        _compare_tasks(found, told, ours, ran)
    elif key == "q":
        _compare_timers(found, told, ours)
    elif key in "lp":
        _compare_cpus(found, told, ours)
    else:
        if key == "d":
            ran = _ran_since(case, theirs)
            told, ours = _without_locks(found, told, ours, ran)
        for their, our in aligned(told, ours):
            judge(found, their, our)
    return found


# --- locks ------------------------------------------------------------------------

_HOLDER = re.compile(r"\d+ locks? held by .*/(?P<pid>\d+):$")


def _without_locks(
    found: Compared, theirs: list[Shown], ours: list[Shown], ran: set[int]
) -> tuple[list[Shown], list[Shown]]:
    """Both without the locks that differ of tasks that ran in between: who asked holds some."""
    their_locks, our_locks = _locks(theirs), _locks(ours)
    changed = {
        pid for pid in ran if their_locks.get(pid) != our_locks.get(pid)
    }  # fmt: skip
    for pid in changed:
        most = max(len(their_locks.get(pid, ())), len(our_locks.get(pid, ())))
        found.gone["locks of a task that ran in between"] += most
    gone = {id(line) for locks in (their_locks, our_locks) for pid in changed
            for line in locks.get(pid, ())}  # fmt: skip
    return [x for x in theirs if id(x) not in gone], [x for x in ours if id(x) not in gone]


def _locks(lines: list[Shown]) -> dict[int, list[Shown]]:
    """The lines about a task's locks by its pid."""
    found: dict[int, list[Shown]] = {}
    current: list[Shown] | None = None
    for line in lines:
        holder = _HOLDER.match(line[0])
        if holder is not None:
            current = found.setdefault(int(holder["pid"]), [])
        elif not line[0].startswith(" #"):
            current = None
        if current is not None:
            current.append(line)
    return found


# --- CPUs -------------------------------------------------------------------------


def _pressed_on(theirs: Sequence[Record]) -> int | None:
    """The CPU that printed its counters."""
    told = (re.match(r"CPU#(\d+):", record.text) for record in theirs)
    return next((int(cpu[1]) for cpu in told if cpu), None)


_CPU = re.compile(r"NMI backtrace for cpu (\d+)")


def _compare_cpus(found: Compared, theirs: list[Shown], ours: list[Shown]) -> None:
    """By CPU; who asked shows itself asking, which it no longer did when it was dumped.

    A CPU that was idle and still is, or the reverse, is not compared. Of ``p`` only what the
    CPU counts is: a key that is written to a file interrupts nobody whose registers it shows.
    """
    if found.key == "p":
        own = [pair for pair in ours[1:] if pair[0].startswith(("CPU#", "fixed")) or not pair[0]]
        found.gone["no interrupted context was printed"] += len(ours) - 1 - len(own)
        ours = [ours[0], *own]
        for pair in aligned(theirs, ours):
            judge(found, *pair)
        return
    their_cpus, our_cpus = _by_cpu(theirs), _by_cpu(ours)
    for cpu in dict.fromkeys([*their_cpus, *our_cpus]):
        one, other = their_cpus.get(cpu, []), our_cpus.get(cpu, [])
        asked = any(line[0].startswith(" dump_stack") for line in one)
        if cpu and (asked or _running(one) != _running(other)):
            found.gone["who asked, or ran something else"] += len(one)
            continue
        for pair in aligned(one, other):
            stale = [line for line in pair if line is not None and line[0].startswith(" ? ")]
            if None in pair and stale:
                found.gone["what was left on the stack of a CPU that ran"] += 1
            else:
                judge(found, *pair)


def _running(lines: list[Shown]) -> str:
    """What a CPU was at: its instruction pointer, or where it was idle."""
    return next((t for t, _ in lines if t.startswith("RIP:") or "idling at" in t), "")


def _by_cpu(lines: list[Shown]) -> dict[str, list[Shown]]:
    found: dict[str, list[Shown]] = {"": []}
    cpu = ""
    for line in lines:
        start = _CPU.match(line[0])
        if start is not None:
            cpu = start[1]
        if line[0].startswith(("Sending NMI", "sysrq: ")):
            if line[0].startswith("sysrq: "):
                found[""].append(line)  # who is asked depends on who asks
            continue
        found.setdefault(cpu, []).append(line)
    return found


# --- timers -----------------------------------------------------------------------

_POINTER = re.compile(r"<[0-9a-f]{16}>")


def _compare_timers(found: Compared, theirs: list[Shown], ours: list[Shown]) -> None:
    """By address: a timer that is in both lists is the same but for when it expires."""
    (their_timers, their_rest), (our_timers, our_rest) = _timers(theirs), _timers(ours)
    for pair in aligned(their_rest, our_rest):
        judge(found, *pair)
    for name in dict.fromkeys([*their_timers, *our_timers]):
        one, other = their_timers.get(name, []), our_timers.get(name, [])
        if not one or not other:
            found.gone["a timer fired or was set"] += max(len(one), len(other))
        elif one == other:
            found.equal += len(one)
        elif one[:-1] == other[:-1] and one[-1][0].split("[")[0] == other[-1][0].split("[")[0]:
            found.equal += len(one) - 1
            judge(found, one[-1], other[-1])  # only "now" differs
        elif [_shape(line[0]) for line in one] == [_shape(line[0]) for line in other]:
            found.equal += len(one) - 1
            found.moved_lines += 1
            found.moved["timer set anew"] += 1
        else:
            found.unequal.append((str(one), str(other)))


def _timers(lines: list[Shown]) -> tuple[dict[str, list[Shown]], list[Shown]]:
    """Each timer's lines by its address, their number taken off; and the rest."""
    timers: dict[str, list[Shown]] = {}
    rest: list[Shown] = []
    current: list[Shown] = []
    number = 0
    for text, level in lines:
        if text.startswith(" #") and not text.startswith(" # "):
            if not text.startswith(f" #{number}: "):
                rest.append((f"timer out of order: {text}", level))
            number += 1
            current = [(re.sub(r"#\d+", "#", text), level)]
        elif text.startswith(" # expires") and current:
            whole = "".join(line for line, _ in current)
            name = _POINTER.search(whole)
            timers[name[0] if name else whole] = [*current, (text, level)]
            current = []
        elif current:
            current.append((text, level))
        else:
            rest.append((text, level))
            number = 0
    return timers, rest


# --- task lists -------------------------------------------------------------------

CLOCKS_DIFFER = 0.2
"""Seconds by which a CPU's clock may be behind that of the log, generously."""
_TASK = re.compile(r"task:.*? pid:\s*(?P<pid>\d+)")
_ROW = re.compile(r"(?P<mark>>R| [RSDTtXZPI]) .{15,}? +(?P<pid>\d+) +-?\d+\.\d{6} ")
_PART = re.compile(r"(cpu#\d+|cfs_rq\[|rt_rq\[|dl_rq\[|runnable tasks|Sched Debug|Showing )")
_WORK = re.compile(r"workqueue |  pwq |    (pending|in-flight|inactive|delayed):|pool \d")
_GROUP = re.compile(r"cfs_rq\[\d+\]:/")
_END = ("Sched Debug Version", "INFO: lockdep", "Showing ", "sysrq: ")


def _ran_since(case: Case, theirs: Sequence[Record]) -> set[int]:
    """Tasks that were on a CPU after the kernel had shown them, says the dump: by pid.

    ``se.exec_start`` is when a task was last accounted, by nearly the clock of the log.
    """
    shown: dict[int, float] = {}
    for record in theirs:
        found = _TASK.match(record.text) or _HOLDER.match(record.text) or _row(record.text)
        if found is not None:
            # A task that has a row too must not have run until that was printed.
            pid = int(found["pid"])
            shown[pid] = min(shown.get(pid, ANY), record.time or 0.0)
    on_cpu = set()
    for task in for_each_task(case.prog):
        ran = max(_times(task)) / 1e9 + CLOCKS_DIFFER
        if task.on_cpu or ran >= shown.get(task.pid.value_(), ANY):
            on_cpu.add(int(task.pid.value_()))
    return on_cpu


def _times(task: drgn.Object) -> Iterator[int]:
    """When a task was last accounted, and, where that is kept, when it last got a CPU."""
    yield int(task.se.exec_start.value_())
    if task.type_.type.has_member("sched_info"):
        yield int(task.sched_info.last_arrival.value_())


def _compare_tasks(found: Compared, theirs: list[Shown], ours: list[Shown], ran: set[int]) -> None:
    """By pid: a task that was not on a CPU in between must be shown alike."""
    (their_tasks, their_rest), (our_tasks, our_rest) = _blocks(theirs), _blocks(ours)
    their_rows, our_rows = _rows(their_rest), _rows(our_rest)
    common = [pid for pid in their_tasks if pid in our_tasks]
    if common != [pid for pid in our_tasks if pid in their_tasks]:
        found.unequal.append(("order of the tasks", "another one"))
    for pid in dict.fromkeys([*their_tasks, *our_tasks]):
        one, other = their_tasks.get(pid, []), our_tasks.get(pid, [])
        if one == other:
            found.equal += len(one)
        elif not one or not other:
            found.gone["a task came or went"] += max(len(one), len(other))
        elif pid in ran:
            found.gone["its task ran in between"] += len(one)
        else:
            for pair in aligned(one, other):
                judge(found, *pair)
    plain = [[line for line in rest if not _row(line[0])] for rest in (their_rest, our_rest)]
    parts = [_parts(lines) for lines in plain]
    for name in dict.fromkeys([*parts[0], *parts[1]]):
        one, other = parts[0].get(name, []), parts[1].get(name, [])
        if _GROUP.match(name) and not (one and other):
            found.gone["a group's queue was put on the list or taken off"] += max(
                len(one), len(other)
            )
            continue
        for pair in aligned(one, other):
            work = [line for line in pair if line is not None and _WORK.match(line[0])]
            if work and (None in pair or _pools(work) > 1):
                found.gone["work came or was done"] += 1
            else:
                judge(found, *pair)
    for pid, row in their_rows.items():
        own = our_rows.get(pid)
        if own is None:
            found.gone["a task came or went"] += 1
        elif pid in ran:
            # What it is must stay, what it used may grow.
            found.moved_lines += 1
            found.moved["row of a task that ran"] += 1
        else:
            judge(found, (row, None), (own, None))


def _pools(work: list[Shown]) -> int:
    """How many pools of workers these lines are of."""
    pools = (re.match(r"  pwq (\d+):|pool (\d+):", text) for text, _level in work)
    return len({pool[0] for pool in pools if pool})


def _blocks(lines: list[Shown]) -> tuple[dict[int, list[Shown]], list[Shown]]:
    """Lines by pid, and those that are of no task."""
    tasks: dict[int, list[Shown]] = {}
    rest: list[Shown] = []
    current: list[Shown] | None = None
    for line in lines:
        task = _TASK.match(line[0])
        if task is not None:
            current = tasks.setdefault(int(task["pid"]), [])
        elif line[0].startswith(_END):
            current = None
        (rest if current is None else current).append(line)
    return tasks, rest


def _parts(lines: list[Shown]) -> dict[str, list[Shown]]:
    """The parts of the scheduler's output by their first lines."""
    found: dict[str, list[Shown]] = {}
    name = cpu = ""
    for line in lines:
        if _PART.match(line[0]):
            cpu = line[0].partition(",")[0] if line[0].startswith("cpu#") else cpu
            name = line[0] if line[0].startswith("cfs_rq") else f"{line[0][:14]} {cpu}"
        found.setdefault(name, []).append(line)
    return found


def _row(text: str) -> re.Match[str] | None:
    return _ROW.match(text)


def _rows(lines: list[Shown]) -> dict[int, str]:
    """The rows of the scheduler's tables by pid."""
    rows = (_row(text) for text, _level in lines)
    return {int(row["pid"]): row.string for row in rows if row is not None}


def default_level(case: Case) -> int:
    """``console_printk[1]``: of messages that are given none."""
    return int(case.prog["console_printk"][1].value_())


Shown = tuple[str, int | None]


def aligned(
    theirs: Sequence[Shown], ours: Sequence[Shown]
) -> Iterator[tuple[Shown | None, Shown | None]]:
    """Pair the lines by what they are beside their numbers."""
    shapes = [[_shape(text) for text, _ in side] for side in (theirs, ours)]
    matcher = SequenceMatcher(None, shapes[0], shapes[1], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and b - a == d - c):
            yield from zip(theirs[a:b], ours[c:d], strict=True)
        else:
            yield from ((line, None) for line in theirs[a:b])
            yield from ((None, line) for line in ours[c:d])


def _shape(text: str) -> str:
    return re.sub(" +", " ", _NUMBER.sub("#", _LETTERS.sub("", text)))


def judge(found: Compared, their: Shown | None, our: Shown | None) -> None:
    """Count one pair."""
    if their == our:
        found.equal += 1
        return
    if their is not None and our is not None and their[1] == our[1]:
        moved = _moved(found.key, their[0], our[0])
        if moved is not None:
            found.moved_lines += 1
            found.moved.update(moved)
            return
    shown = ["(none)" if side is None else f"<{side[1]}>{side[0]}" for side in (their, our)]
    found.unequal.append((shown[0], shown[1]))


def _moved(key: str, their: str, our: str) -> list[str] | None:
    """Labels of the fields that differ as they may; ``None`` if anything else does."""
    if _IDLE_WORKER.match(their) and _IDLE_WORKER.match(our):
        return ["last work of an idle worker"]
    if _shape(their) != _shape(our):
        return None
    pairs = zip(_NUMBER.finditer(their), _NUMBER.finditer(our), strict=True)
    labels = []
    for number, (one, other) in enumerate(pairs):
        if one[0] == other[0]:
            continue
        label = _label(their, one.start())
        if not any(_may(drift, key, their, label, number, one[0], other[0]) for drift in DRIFT):
            return None
        labels.append(label or f"#{number}")
    # Only the widths of what moved may differ, not blanks elsewhere.
    return labels or None


def _may(drift: Drift, key: str, line: str, label: str, number: int, one: str, other: str) -> bool:
    if key not in drift.keys or not re.search(drift.line, line):
        return False
    if not re.fullmatch(drift.label, f"#{number}" if drift.label.startswith("#") else label):
        return False
    return drift.most == ANY or abs(_value(one) - _value(other)) <= drift.most


def _value(text: str) -> float:
    if text == "?":
        return ANY
    plain = re.fullmatch(r"-?\d+(\.\d+)?", text)
    return float(text) if plain and len(text) != 16 else float(int(text, 16))


def _label(line: str, at: int) -> str:
    words = line[:at].rstrip().replace(":", " ").replace("=", " ").split()
    return words[-1] if words else ""


def report(name: str, found: Compared, verbose: bool) -> None:
    moved = ", ".join(f"{label} {count}" for label, count in found.moved.most_common(8))
    print(
        f"{name:40} {found.key}  {found.lines:5} lines {found.equal:5} equal"
        f" {found.moved_lines:5} moved {len(found.unequal):5} unequal"
        + (f"  ({moved})" if moved else "")
    )
    for what, count in found.gone.items():
        print(f"    not compared: {count} lines, {what}")
    for their, our in found.unequal[: None if verbose else 6]:
        print(f"    kernel: {their}\n    ours:   {our}")


MACHINES = ("sysrq-rest", "sysrq-crowd", "sysrq-nodes", "sysrq-locks", "oom-user", "oom-leak")
"""Scenarios in which the kernel printed what we print: sysrq-crash pressed another key."""


def captured() -> list[Path]:
    """The dumps of all captures that were made for this, and of machines that ran out of memory."""
    found = [path for name in MACHINES for path in default_cache().glob(f"*/{name}/vmcore")]
    # Of arm64 only the log is read: no printer runs on it.
    return sorted(path for path in found if not path.parts[-3].endswith("-arm64"))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.sysrq_oracle", description=__doc__)
    parser.add_argument("dumps", metavar="VMCORE", type=Path, nargs="*")
    parser.add_argument("--key", metavar="KEYS", help="only these")
    parser.add_argument("-v", "--verbose", action="store_true", help="every unequal line")
    options = parser.parse_args(argv)
    wrong = 0
    for path in options.dumps or captured():
        with postmortem.open(path, debuginfod=False) as case:
            for key, theirs in [*sections(case).items(), *oom_sections(case).items()]:
                if key not in ("h", "f") and key not in SHOWN:
                    continue
                if options.key is None or key in options.key:
                    found = compare(case, key, theirs)
                    report("/".join(path.parts[-3:-1]), found, options.verbose)
                    wrong += len(found.unequal)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
