"""What each task did with its time: CPU, and what it waited for, as taskstats reports it.

Source: kernel/delayacct.c, kernel/tsacct.c, include/linux/delayacct.h,
include/linux/task_io_accounting.h, kernel/sched/stats.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.cpu.clock import machine_time
from postmortem.kernel.layout import Layout
from postmortem.kernel.system import present_cpus
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.model.findings import Problem

CAUSES = {
    "cpu": "run queue",
    "blkio": "block I/O",
    "swapin": "swap-in",
    "freepages": "reclaim",
    "thrashing": "thrashing",
    "compact": "compaction",
    "wpcopy": "write-protect copy",
    "irq": "interrupts",
}
"""What a task may be delayed by, in the order of ``struct taskstats``: the kernel's word, ours."""

IO = (
    "rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes",
)  # fmt: skip
"""Members of ``struct task_io_accounting`` in the order of /proc/PID/io."""

_TASK = {
    "delays": "delays",
    "signal": "signal",
    "utime": "utime",
    "stime": "stime",
    "virtual": "se.sum_exec_runtime",
    "cpu_count": "sched_info.pcount",
    "cpu_delay": "sched_info.run_delay",
    "cpu_max": "sched_info.max_run_delay",
    "cpu_min": "sched_info.min_run_delay",
    "cpu_at": "sched_info.max_run_delay_ts.tv_sec",
    "voluntary": "nvcsw",
    "involuntary": "nivcsw",
    **{name: f"ioac.{name}" for name in IO},
}
_NEEDED = frozenset({"virtual", "cpu_count", "cpu_delay"})
_U64 = (1 << 64) - 1


@dataclass(frozen=True)
class Delay:
    """How often a task was delayed by one cause, and for how long altogether."""

    count: int = 0
    total_ns: int = 0
    max_ns: int | None = None
    """The longest one; ``None`` on kernels that do not keep it."""
    min_ns: int | None = None
    max_at: int | None = None
    """Unix time of the longest one, 0 if there was none; ``None``: not kept."""

    def __add__(self, other: Delay) -> Delay:
        longest = max(self, other, key=lambda one: one.max_ns or 0)
        return Delay(
            self.count + other.count,
            (self.total_ns + other.total_ns) & _U64,
            longest.max_ns,
            _least((self.min_ns, other.min_ns)),
            longest.max_at,
        )

    @property
    def mean_ns(self) -> float:
        """Of one delay; 0 if there was none."""
        return self.total_ns / self.count if self.count else 0.0


@dataclass(frozen=True)
class Account:
    """The time of a task, or the sum of several. Nanoseconds."""

    user_ns: int = 0
    system_ns: int = 0
    virtual_ns: int = 0
    """By the scheduler's own clock: ``se.sum_exec_runtime``."""
    voluntary: int = 0
    involuntary: int = 0
    delays: Mapping[str, Delay] = field(default_factory=dict)
    """By the names of :data:`CAUSES`: those that this kernel counts and did count for the task."""
    io: Mapping[str, int] = field(default_factory=dict)
    in_io_ns: int | None = None
    """How long the block I/O lasted that it waited for when the machine died; ``None``: none."""

    def __add__(self, other: Account) -> Account:
        return Account(
            self.user_ns + other.user_ns,
            self.system_ns + other.system_ns,
            self.virtual_ns + other.virtual_ns,
            self.voluntary + other.voluntary,
            self.involuntary + other.involuntary,
            {
                name: self.delays.get(name, Delay()) + other.delays.get(name, Delay())
                if name in self.delays and name in other.delays
                else self.delays.get(name) or other.delays[name]
                for name in CAUSES
                if name in self.delays or name in other.delays
            },
            _io_sum((self.io, other.io)),
            _most((self.in_io_ns, other.in_io_ns)),
        )

    @property
    def waited_ns(self) -> int:
        """All delays together; causes may overlap (a page that is read back in is block I/O)."""
        return sum(delay.total_ns for delay in self.delays.values())


@dataclass(frozen=True)
class Accounted:
    """A task and its account; of a process: its leader, the sum, how many threads."""

    task: Task
    account: Account
    threads: int = 1


@dataclass(frozen=True)
class Accounts:
    """Those of all tasks, in the order of the kernel's list."""

    each: tuple[Accounted, ...]
    processes: tuple[Accounted, ...]
    causes: tuple[str, ...]
    """What this kernel counts: keys of :data:`CAUSES`."""
    enabled: bool | None
    """Whether delay accounting was on; ``None``: the kernel was built without it."""
    covered: int
    """How many tasks have an account of delays: those that began while it was on."""
    problems: tuple[Problem, ...] = ()

    @property
    def total(self) -> Account:
        """Of all tasks that were alive."""
        return _sum(one.account for one in self.each)

    def why_not(self) -> str | None:
        """Why only the run queue's delays are known, with the switch; ``None`` if all are."""
        if self.enabled is None:
            return "this kernel was built without CONFIG_TASK_DELAY_ACCT"
        if not self.enabled:
            return (
                "delay accounting was off: delayacct on the kernel's command line turns it on"
                " (since 5.14 sysctl kernel.task_delayacct=1 as well)"
            )
        if self.covered < len(self.each):
            count = len(self.each) - self.covered
            return f"{count} tasks began before delay accounting was on and have no such account"
        return None


def accounts(prog: drgn.Program) -> Accounts:
    """Read them.

    :raises LookupError: the types are missing.
    """
    found = all_tasks(prog)
    reader = _Reader(prog)
    each = []
    signals: dict[int, list[Accounted]] = {}
    covered = lost = 0
    for task in found.tasks:
        try:
            account, signal, known = reader.read(task)
        except damage():
            lost += 1
            continue
        covered += known
        one = Accounted(task, account)
        each.append(one)
        signals.setdefault(signal, []).append(one)
    problems = list(found.problems)
    if lost:
        problems.append(Problem("accounts", f"those of {lost} tasks can't be read"))
    processes = tuple(
        _process(threads, reader.dead_threads(signal)) for signal, threads in signals.items()
    )
    causes = tuple(name for name in CAUSES if name == "cpu" or name in reader.counted)
    return Accounts(tuple(each), processes, causes, reader.enabled, covered, tuple(problems))


def _process(threads: list[Accounted], dead: Account) -> Accounted:
    leader = next((one.task for one in threads if one.task.pid == one.task.tgid), threads[0].task)
    return Accounted(leader, _sum([one.account for one in threads]) + dead, len(threads))


def _sum(found: Iterable[Account]) -> Account:
    total = Account()
    for one in found:
        total = total + one
    return total


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _least(values: Iterable[int | None]) -> int | None:
    """The kernel's own rule: 0 means that there was none yet."""
    known = [value for value in values if value is not None]
    return min((value for value in known if value), default=0) if known else None


def _io_sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = (found.get(name, 0) + value) & _U64
    return found


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._task = Layout(prog.type("struct task_struct"), _TASK)
        self._signal = _layout(
            prog, "struct signal_struct", {name: f"ioac.{name}" for name in IO} | {"stats": "stats"}
        )
        causes = [name for name in CAUSES if name != "cpu"]
        self._delays = _layout(
            prog,
            "struct task_delay_info",
            {
                f"{name}_{what}": f"{name}_{what}"
                for name in causes
                for what in ("delay", "count", "delay_max", "delay_min", "start")
            }
            | {f"{name}_at": f"{name}_delay_max_ts.tv_sec" for name in causes},
        )
        self._stats = _layout(
            prog,
            "struct taskstats",
            {
                f"{name}_{what}": f"{name}_{what}"
                for name in CAUSES
                for what in ("delay_total", "count", "delay_max", "delay_min")
            }
            | {f"{name}_at": f"{name}_delay_max_ts.tv_sec" for name in CAUSES}
            | {"real": "cpu_run_real_total", "virtual": "cpu_run_virtual_total"}
            | {"voluntary": "nvcsw", "involuntary": "nivcsw"},
        )
        layout = self._delays
        self.counted = (
            frozenset(name for name in causes if layout.has(f"{name}_delay"))
            if layout is not None
            else frozenset[str]()
        )
        # The switch is delayacct_on at boot; also a sysctl since v5.14 (0cd7c741f01d).
        on = readable(lambda: integer(prog["delayacct_on"]))
        self.enabled = None if layout is None else bool(on)
        told = machine_time(prog, present_cpus(prog))
        self._now = told.now_ns

    def read(self, task: Task) -> tuple[Account, int, bool]:
        """The account, ``struct signal_struct *``, and whether the task's delays are counted.

        :raises LookupError: the scheduler's part of the task is not in the dump.
        """
        read = readable(lambda: self._task.read(self._prog, task.address))
        if read is None:
            read = self._task.readable(self._prog, task.address)
            if any(name in _NEEDED and name not in read for name in _TASK):
                raise LookupError("a page of the task is not in the dump")
        delays = {
            "cpu": Delay(
                read.get("cpu_count", 0),
                read.get("cpu_delay", 0),
                read.get("cpu_max"),
                read.get("cpu_min"),
                read.get("cpu_at"),
            )
        }
        info = read.get("delays")
        own: dict[str, int] = {}
        if info and self._delays is not None:
            own = readable(lambda: self._counts(info)) or {}
        for name in self.counted:
            if f"{name}_delay" in own:
                delays[name] = Delay(
                    own.get(f"{name}_count", 0),
                    own[f"{name}_delay"],
                    own.get(f"{name}_delay_max"),
                    own.get(f"{name}_delay_min"),
                    own.get(f"{name}_at"),
                )
        account = Account(
            read.get("utime", 0),
            read.get("stime", 0),
            read.get("virtual", 0),
            read.get("voluntary", 0),
            read.get("involuntary", 0),
            delays,
            {name: read[name] for name in IO if name in read},
            self._in_io(task, own.get("blkio_start", 0)),
        )
        return account, read.get("signal", 0), bool(own)

    def _counts(self, info: int) -> dict[str, int]:
        assert self._delays is not None
        return self._delays.read(self._prog, info)

    def _in_io(self, task: Task, start: int) -> int | None:
        """A sleeping task with ``in_iowait``: the start of its I/O is that of this very wait."""
        if task.on_cpu or task.state not in "SD" or not start or not self._now:
            return None
        waits = readable(
            lambda: bool(
                drgn.Object(
                    self._prog, "struct task_struct", address=task.address
                ).in_iowait.value_()
            )
        )
        return max(0, self._now - start) if waits else None

    def dead_threads(self, signal: int) -> Account:
        """What is kept of threads that have ended: ``signal->stats`` and ``signal->ioac``.

        The latter has also the children that the process has waited for.
        """
        layout = self._signal
        if not signal or layout is None:
            return Account()
        read = readable(lambda: layout.read(self._prog, signal)) or {}
        io = {name: read[name] for name in IO if name in read}
        address, stats = read.get("stats"), self._stats
        if not address or stats is None:
            return Account(io=io)
        kept = readable(lambda: stats.read(self._prog, address)) or {}
        return Account(
            # taskstats keeps the sum of both only.
            system_ns=kept.get("real", 0),
            virtual_ns=kept.get("virtual", 0),
            voluntary=kept.get("voluntary", 0),
            involuntary=kept.get("involuntary", 0),
            delays={
                name: Delay(
                    kept.get(f"{name}_count", 0),
                    kept[f"{name}_delay_total"],
                    kept.get(f"{name}_delay_max"),
                    kept.get(f"{name}_delay_min"),
                    kept.get(f"{name}_at"),
                )
                for name in CAUSES
                if f"{name}_delay_total" in kept
            },
            io=io,
        )


def _layout(prog: drgn.Program, kind: str, members: Mapping[str, str]) -> Layout | None:
    """``None``: this kernel has no such struct."""
    return readable(lambda: Layout(prog.type(kind), members))
