"""Compare time lost, pressure, perf's events and relay channels with what the machine read itself.

    python -m corpus.accounting_oracle               # all captures of scenarios counted-*
    python -m corpus.accounting_oracle VMCORE ...    # these dumps

The guest stopped its tasks, read its files, and was dumped a moment later. What a stopped task
did can't change: it must be equal. What went on is listed in :data:`DRIFT` with how far it may
have gone, so that no wrong column hides behind it.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import drgn

import postmortem
from corpus.kernels import default_cache
from postmortem.case import Case
from postmortem.kernel.delays import CAUSES, Account, accounts
from postmortem.kernel.perf import perf_events
from postmortem.kernel.psi import PsiGroup, group_pressures, pressure
from postmortem.kernel.schedstat import schedstat
from postmortem.printers.accounting import io_lines, schedstat_line, schedstat_lines
from postmortem.printers.pressure import pressure_lines

SECONDS = 6
"""Between the guest's first words and its dump: the serial line is slow."""
DRIFT = {
    "pressure": (
        r"total=(\d+)|avg(?:10|60|300)=([\d.]+)",
        "time went on: a total by no more than that, an average by what it decays",
        (SECONDS * 1_000_000, 45.0),
    ),
    "schedstat": (
        r"(?<= )(\d+)",
        "both CPUs went on; nanoseconds by no more than the time, counts by 5000",
        (SECONDS * 1_000_000_000,),
    ),
}
"""Which numbers may differ, why, and by how much."""


@dataclass
class Compared:
    """The outcome for one kind of text."""

    name: str
    lines: int = 0
    moved: int = 0
    """Lines that differ by no more than what the machine may have gone on."""
    unequal: list[tuple[str | None, str | None]] = field(default_factory=list)


def captured() -> list[Path]:
    """Dumps of machines that told what they had counted."""
    return [path for path in sorted(default_cache().glob("*/counted-*/vmcore")) if told(path)]


def told(path: Path) -> dict[str, list[str]]:
    """What the guest read, by the name of the file."""
    found: dict[str, list[str]] = json.loads((path.parent / "truth.json").read_text()).get(
        "files", {}
    )
    return found


def compare(case: Case, files: dict[str, list[str]]) -> Iterator[Compared]:
    """Everything that the guest told and that we can print."""
    if "taskstats" in files:
        yield from _accounts(case.prog, files)
    if "pressure_cpu" in files:
        yield from _pressure(case.prog, files)
    if "perf" in files:
        yield from _perf(case, files["perf"])
    if "relay" in files:
        yield from _relay(case, files["relay"])
    if "schedstat" in files:
        yield _drifting(
            "/proc/schedstat",
            files["schedstat"],
            schedstat_lines(schedstat(case.prog)),
            "schedstat",
        )


def _accounts(prog: drgn.Program, files: dict[str, list[str]]) -> Iterator[Compared]:
    found = accounts(prog)
    threads = {one.task.pid: one.account for one in found.each}
    processes = {one.task.tgid: one.account for one in found.processes}
    yield _taskstats(prog, files["taskstats"], threads, processes)
    lines = [line for line in files["schedstats"] if " " in line]
    ours = [f"{pid} {schedstat_line(threads[pid])}" for pid in _pids(lines) if pid in threads]
    yield _equal("/proc/PID/schedstat", lines, ours)
    ours = [
        f"{pid} {line}"
        for pid in dict.fromkeys(_pids(files["ios"]))
        for line in io_lines(processes[pid])
    ]
    yield _equal("/proc/PID/io", files["ios"], ours)


def _pids(lines: Iterable[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines]


def _taskstats(
    prog: drgn.Program,
    lines: Sequence[str],
    threads: dict[int, Account],
    processes: dict[int, Account],
) -> Compared:
    """Field by field, in the layout of that kernel's ``struct taskstats``."""
    kind = prog.type("struct taskstats")
    found = Compared("taskstats")
    for line in lines:
        what, number, data = line.split()
        raw = bytes.fromhex(data)
        account = (threads if what == "pid" else processes)[int(number)]
        for name, value in _fields(account, process=what == "tgid").items():
            if not kind.has_member(name):
                continue
            offset = int(drgn.offsetof(kind, name))
            if offset + 8 > len(raw):
                continue  # the kernel's own answer is shorter than its struct
            theirs = struct.unpack_from("<Q", raw, offset)[0]
            found.lines += 1
            if theirs != value:
                found.unequal.append((f"{what} {number} {name} {theirs}", str(value)))
    return found


def _fields(account: Account, *, process: bool) -> dict[str, int]:
    found = {
        "cpu_run_real_total": account.user_ns + account.system_ns,
        "cpu_run_virtual_total": account.virtual_ns,
        "nvcsw": account.voluntary,
        "nivcsw": account.involuntary,
    }
    for cause in CAUSES:
        delay = account.delays.get(cause)
        if delay is None:
            continue
        found[f"{cause}_count"] = delay.count
        found[f"{cause}_delay_total"] = delay.total_ns
        if delay.max_ns is not None:
            found[f"{cause}_delay_max"] = delay.max_ns
            found[f"{cause}_delay_min"] = delay.min_ns or 0
    if not process:  # of a process the kernel sums up nothing of this kind
        names = {"rchar": "read_char", "wchar": "write_char"}
        names |= {"syscr": "read_syscalls", "syscw": "write_syscalls"}
        for name, value in account.io.items():
            # xacct_add_tsk() rounds all of them to 1024, the system calls as well.
            found[names.get(name, name)] = value & ~1023
    return found


def _pressure(prog: drgn.Program, files: dict[str, list[str]]) -> Iterator[Compared]:
    groups: dict[str, PsiGroup] = {"pressure": pressure(prog)}
    for one in group_pressures(prog):
        groups[f"group{one.path.replace('/', '_')}"] = one
    for name, group in groups.items():
        for resource in ("cpu", "io", "memory", "irq"):
            lines = files.get(f"{name}_{resource}", [])
            if lines:
                ours = pressure_lines(group, resource)
                yield _drifting(f"{name} {resource}", lines, ours, "pressure")


# --- perf


_SCRIPT = ["-F", "pid,tid,time,cpu,event,ip,period", "--ns"]
_SAMPLE = re.compile(
    r"\s*(-?\d+)/(-?\d+)\s+\[(\d+)\]\s+(\d+)\.(\d{9}):\s+(\d+)\s+\S+\s+([0-9a-f]+)"
)


def _perf(case: Case, lines: Sequence[str]) -> Iterator[Compared]:
    """Counts and times of each event as read() gave them, and each sample in perf's own words."""
    found = perf_events(case.prog)
    by_id = {event.id: event for event in found.events if not event.parent}
    theirs = [line for line in lines if line.startswith("event ")]
    ours = []
    for line in theirs:
        event = by_id.get(int(line.split()[4]))
        if event is not None:
            attr = event.attr
            ours.append(
                f"event {attr.type} {attr.config} {event.cpu} {event.id} {event.count}"
                f" {event.enabled_ns} {event.running_ns}"
            )
    yield _equal("perf events", theirs, ours)
    samples = [line.split()[2:] for line in lines if line.startswith("sample ")]
    yield _equal("perf script", sorted(map(" ".join, samples)), sorted(_scripted(case)))


def _scripted(case: Case) -> Iterator[str]:
    """pid, tid, time, CPU, ip, period of each sample that perf script reads off our file."""
    result = case.run("perf")
    data = next(export.data for export in result.exports if export.suffix == "data")
    with tempfile.NamedTemporaryFile(suffix=".data") as file:
        file.write(data)
        file.flush()
        done = subprocess.run(
            ["perf", "script", "-f", "-i", file.name, *_SCRIPT],
            capture_output=True, check=True, text=True, errors="replace",
        )  # fmt: skip
    for match in map(_SAMPLE.match, done.stdout.splitlines()):
        if match is not None:
            pid, tid, cpu, seconds, nanoseconds, period, ip = match.groups()
            time = int(seconds) * 1_000_000_000 + int(nanoseconds)
            # A task that is ending has the number -1, which the guest prints without a sign.
            pid, tid = (str(int(number) & 0xFFFFFFFF) for number in (pid, tid))
            yield f"{pid} {tid} {time} {int(cpu)} {ip} {period}"


# --- relay


_BLKPARSE = "%c %s %T %t %S %N %P %p\\n"


def _relay(case: Case, lines: Sequence[str]) -> Iterator[Compared]:
    """Each record that the guest saw, in our copies and as blkparse reads them."""
    result = case.run("relay")
    archive = next(export.data for export in result.exports if export.suffix == "tar")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            names = tar.getnames()
            tar.extractall(folder)  # our own, without folders
        ours = [line for name in sorted(names) for line in _blktrace(Path(folder) / name)]
        yield _equal("blktrace records", sorted(lines), sorted(ours))
        done = subprocess.run(
            ["blkparse", "-q", "-f", _BLKPARSE, "-i", names[0].partition(".")[0], "-D", folder],
            capture_output=True, check=True, text=True, errors="replace",
        )  # fmt: skip
        records = [line.split() for line in lines]
        # CPU, sequence, seconds, nanoseconds, sector, bytes, pid; notifications are no events.
        told = [
            (int(r[8]), int(r[2]), *divmod(int(r[3]), 1_000_000_000), int(r[4]), int(r[5]))
            for r in records
            if int(r[6], 16) >> 16 != _NOTIFY
        ]
        first = min((one[2:4] for one in told), default=(0, 0))
        read = [
            tuple(map(int, line.split()[:6]))
            for line in done.stdout.splitlines()
            if line[:1].isdigit()
        ]
        yield _equal("blkparse", _since(told, first), _since(read, min(r[2:4] for r in read)))


_NOTIFY = 1 << 10
"""BLK_TC_NOTIFY"""


def _since(found: Iterable[tuple[int, ...]], first: tuple[int, ...]) -> list[str]:
    """Times from the first event on, as blkparse counts them."""
    begin = first[0] * 1_000_000_000 + first[1]
    return sorted(
        f"{cpu} {sequence} {seconds * 1_000_000_000 + ns - begin} {sector} {size}"
        for cpu, sequence, seconds, ns, sector, size in found
    )


def _blktrace(path: Path) -> Iterator[str]:
    """``struct blk_io_trace`` by ``struct blk_io_trace``."""
    data, cpu = path.read_bytes(), path.name.rpartition(".")[2]
    at = 0
    while at + 48 <= len(data):
        magic, sequence, time, sector, size, action, pid, _device, own, _error, more = (
            struct.unpack_from("<IIQQIIIIIHH", data, at)
        )
        if magic >> 8 != 0x656174:
            yield f"no record at {at} of {path.name}"
            return
        yield f"record {cpu} {sequence} {time} {sector} {size} {action:x} {pid} {own} {more}"
        at += 48 + more


def _equal(name: str, theirs: Sequence[str], ours: Iterable[str]) -> Compared:
    found = Compared(name, len(theirs))
    found.unequal = [pair for pair in zip_longest(theirs, ours) if pair[0] != pair[1]]
    return found


def _drifting(name: str, theirs: Sequence[str], ours: Iterable[str], kind: str) -> Compared:
    pattern, _why, most = DRIFT[kind]
    found = Compared(name, len(theirs))
    for one, two in zip_longest(theirs, ours):
        if one == two:
            continue
        if one is None or two is None or re.sub(pattern, "", one) != re.sub(pattern, "", two):
            found.unequal.append((one, two))
            continue
        pairs = zip(re.finditer(pattern, one), re.finditer(pattern, two), strict=True)
        if all(_near(a, b, most) for a, b in pairs):
            found.moved += 1
        else:
            found.unequal.append((one, two))
    return found


def _near(a: re.Match[str], b: re.Match[str], most: Sequence[float]) -> bool:
    group = next(index for index, value in enumerate(a.groups()) if value is not None)
    one, two = float(a[group + 1]), float(b[group + 1])
    if "." in a[group + 1]:
        return two <= one <= two + most[group]  # nothing is stalled any more: it only decays
    return one <= two <= one + most[group]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.accounting_oracle")
    parser.add_argument("paths", nargs="*", type=Path, metavar="VMCORE")
    parser.add_argument("-v", "--verbose", type=int, default=3, metavar="N", help="show N lines")
    options = parser.parse_args(argv)
    unequal = 0
    for path in options.paths or captured():
        with postmortem.open(path, debuginfod=False) as case:
            results = list(compare(case, told(path)))
        for found in results:
            where = "/".join(path.parts[-3:-1])
            print(
                f"{where:48} {found.name:28} {found.lines:5} compared, {found.moved} moved,"
                f" {len(found.unequal)} unequal"
            )
            for theirs, ours in found.unequal[: options.verbose]:
                print(f"  kernel: {theirs}\n  ours:   {ours}")
            unequal += len(found.unequal)
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
