"""Compare what postmortem prints of ftrace's buffers with what the kernel itself printed.

    python -m corpus.trace_oracle                # all captures of scenarios trace-*
    python -m corpus.trace_oracle VMCORE ...     # these dumps
    python -m corpus.trace_oracle --dat          # trace-cmd report of our trace.dat as well

The guest stopped tracing, read its files, and was dumped then, so nothing may differ: line by
line the texts must be equal. Blank lines are not compared: the guest's report leaves them out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import postmortem
from corpus.kernels import default_cache
from postmortem.case import Case
from postmortem.kernel.tasks.unwind import sleeping_stacks
from postmortem.trace.buffers import TraceArray, trace_arrays
from postmortem.trace.events import Event, events
from postmortem.trace.files import FILES, OF_INSTANCES, file_lines
from postmortem.trace.formats import event_formats
from postmortem.trace.stats import stats_lines
from postmortem.trace.text import Trace
from postmortem.trace.trace_dat import format_file, write

_NO_SNAPSHOT = "# * Snapshot is freed *"


@dataclass
class Compared:
    """The outcome for one file of the guest."""

    name: str
    lines: int = 0
    seconds: float = 0
    unequal: list[tuple[str | None, str | None]] = field(default_factory=list)
    """What the kernel printed and what we did."""


def captured() -> list[Path]:
    """Dumps of machines that read their traces before they were dumped."""
    return [path for path in sorted(default_cache().glob("*/trace-*/vmcore")) if told(path)]


def told(path: Path) -> dict[str, list[str]]:
    """What the guest read, by the name of the file."""
    found: dict[str, list[str]] = json.loads((path.parent / "truth.json").read_text()).get(
        "files", {}
    )
    return found


def compare(case: Case, files: dict[str, list[str]]) -> Iterator[Compared]:
    """Every file of the guest that we can print."""
    for array in trace_arrays(case.prog):
        name = array.name or "main"
        if f"trace_{name}" in files:
            yield _compared(name, files[f"trace_{name}"], Trace(case.prog, array).lines())
        yield from _stats(array, name, files)
        if array.name:
            continue
        if "latency_main" in files:
            theirs = files["latency_main"]
            yield _compared(
                "latency", theirs, Trace(case.prog, array, latency=True).lines(), len(theirs)
            )
        snapshot = files.get("snapshot_main", [_NO_SNAPSHOT])
        if _NO_SNAPSHOT not in snapshot:
            yield _compared("snapshot", snapshot, Trace(case.prog, array, array.snapshot).lines())
    if files.get("formats"):
        yield _formats(case, files["formats"])
    yield from _other_files(case, files)
    if files.get("stacks"):
        yield _stacks(case, files["stacks"])


_ENTERED = ("entry_SYSCALL_64", "asm_")


def _stacks(case: Case, theirs: list[str]) -> Compared:
    """``/proc/PID/stack`` of the tasks that sleep in system calls, which traced calls are part of.

    Left out: threads of the kernel, which went on meanwhile, and what that kernel broke off.
    """
    told: dict[int, list[str]] = {}
    pid = 0
    for line in theirs:
        if line.startswith("task "):
            pid = int(line.removeprefix("task "))
        else:
            told.setdefault(pid, []).append(line.removeprefix("[<0>] ").partition(" [")[0])
    found = Compared("stacks")
    for stack in sleeping_stacks(case.prog).by_task.values():
        wanted = told.get(stack.task.pid, [])
        if not wanted or not wanted[-1].startswith(_ENTERED):
            continue
        ours = [
            f"{frame.function}+{frame.offset:#x}/{frame.size:#x}"
            for frame in stack.shape.frames
            if frame.function
        ]
        found.lines += len(wanted)
        # /proc leaves out the functions of the scheduler.
        found.unequal += [
            pair for pair in zip_longest(wanted, ours[-len(wanted) :]) if pair[0] != pair[1]
        ]
    return found


def has_calls(case: Case) -> bool:
    """Whether an instance holds calls: trace-cmd puts a call and its return into one line."""
    return any(array.tracer == "function_graph" for array in trace_arrays(case.prog))


def _other_files(case: Case, files: dict[str, list[str]]) -> Iterator[Compared]:
    """What ``postmortem trace --file`` prints."""
    for name in FILES:
        theirs = files.get(name.replace("/", "_"))
        if theirs:
            yield _compared(name, theirs, file_lines(case.prog, name))
    for name in files:
        if re.fullmatch(r"function\d+", name):
            yield _compared(name, files[name], file_lines(case.prog, f"trace_stat/{name}"))
    for array in trace_arrays(case.prog):
        for name in OF_INSTANCES:
            told = files.get(f"{name}_{array.name}" if array.name else name)
            if told:
                yield _compared(f"{name} {array.name}", told, file_lines(case.prog, name, array))


def _compared(
    name: str, theirs: list[str], ours: Iterable[str], most: int | None = None
) -> Compared:
    found = Compared(name, len(theirs))
    begin = time.process_time()
    lines = [line for line in "".join(ours).replace("\r", "").split("\n") if line][:most]
    found.seconds = time.process_time() - begin
    found.unequal = [pair for pair in zip_longest(theirs, lines) if pair[0] != pair[1]]
    return found


def _stats(array: TraceArray, name: str, files: dict[str, list[str]]) -> Iterator[Compared]:
    ours = [line for line in stats_lines(array) if not line.startswith("#")]
    theirs = [
        line
        for cpu in array.main.cpus
        for line in files.get(f"stats_{name}_cpu{cpu.cpu}", [])
        if not line.startswith("now ts")
    ]
    if theirs:
        yield _compared(f"stats of {name}", theirs, [f"{line}\n" for line in ours])


def _formats(case: Case, theirs: list[str]) -> Compared:
    """The format files of events, as trace.dat has them."""
    names = {line.removeprefix("ID: ") for line in theirs if line.startswith("ID: ")}
    by_id = {str(one.id): one for one in event_formats(case.prog).all()}
    ids = [line.removeprefix("ID: ") for line in theirs if line.startswith("ID: ")]
    assert len(names) == len(ids)
    return _compared("formats", theirs, [format_file(by_id[one]) for one in ids if one in by_id])


# --- trace-cmd


_REPORTED = re.compile(r"\s*(.*)-(-?\d+)\s+\[(\d+)\]\s+(?:\S+\s+)?(\d+\.\d+): +(\S.*)$")


def compare_dat(case: Case, version: int) -> Compared:
    """Events of trace-cmd's report of our file: task, CPU, time and name of each, in order."""
    array = trace_arrays(case.prog)[0]
    found = Compared(f"trace-cmd, version {version}")
    with tempfile.NamedTemporaryFile(suffix=".dat") as file:
        begin = time.process_time()
        write(file, [Trace(case.prog, array)], None, version)  # type: ignore[arg-type]
        found.seconds = time.process_time() - begin
        file.flush()
        report = subprocess.run(
            ["trace-cmd", "report", "-i", file.name, "-t"],
            capture_output=True, check=True, text=True, errors="replace",
        ).stdout  # fmt: skip
    theirs = [match.groups() for match in map(_REPORTED.match, report.splitlines()) if match]
    ours = []
    trace = Trace(case.prog, array)
    for event in _events(trace):
        format = trace.formats.get(event.type)
        seconds, rest = divmod(event.time, 1_000_000_000)
        name = format.name if format is not None else "?"
        comm = trace.cmdlines.comm(event.pid)
        ours.append((comm, str(event.pid), f"{event.cpu:03}", f"{seconds}.{rest:09}", name))
    found.lines = len(theirs)
    for one, two in zip_longest(theirs, ours):
        if one is None or two is None or one[:4] != two[:4] or one[4].split(":")[0] != two[4]:
            found.unequal.append((str(one), str(two)))
    return found


def occurring(case: Case) -> set[tuple[str, str]]:
    """System and name of each event that some buffer of the machine holds."""
    found: set[tuple[str, str]] = set()
    for array in trace_arrays(case.prog):
        trace = Trace(case.prog, array)
        for number in {event.type for event in _events(trace)}:
            format = trace.formats.get(number)
            if format is not None:
                found.add((format.system, format.name))
    return found


def _events(trace: Trace) -> Iterator[Event]:
    return events(trace.buffer)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.trace_oracle")
    parser.add_argument("paths", nargs="*", type=Path, metavar="VMCORE")
    parser.add_argument("--dat", action="store_true", help="ask trace-cmd as well")
    parser.add_argument("-v", "--verbose", type=int, default=3, metavar="N", help="show N lines")
    options = parser.parse_args(argv)
    unequal = 0
    seen: set[tuple[str, str]] = set()
    for path in options.paths or captured():
        with postmortem.open(path, debuginfod=False) as case:
            results = list(compare(case, told(path)))
            seen |= occurring(case)
            if options.dat and not has_calls(case):
                results += [compare_dat(case, version) for version in (6, 7)]
        for found in results:
            where = "/".join(path.parts[-3:-1])
            print(f"{where:48} {found.name:22} {found.lines:7} lines, {len(found.unequal)} unequal,"
                  f" {found.seconds:.2f} s")  # fmt: skip
            for theirs, ours in found.unequal[: options.verbose]:
                print(f"  kernel: {theirs}\n  ours:   {ours}")
            unequal += len(found.unequal)
    print(f"{len({system for system, _ in seen})} systems, {len(seen)} events occurred")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
