"""``sysrq_sched_debug_show()``: run queues and the tasks on them.

Source: kernel/sched/debug.c. Which lines there are is decided by the words that the kernel
has and the members behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.kernel.code.references import refers
from postmortem.kernel.cpu.percpu import number
from postmortem.kernel.rodata import Format, rodata
from postmortem.kernel.runqueues import CfsRq, FairQueues, Groups, RunQueue, run_queues
from postmortem.kernel.tasks.rows import Row, task_rows
from postmortem.kernel.timekeeping import monotonic_ns, sched_clock_ns
from postmortem.printers.lines import Line

_MS = 1_000_000
_CFS_COUNTS = (
    "nr_spread_over", "nr_queued", "nr_running", "h_nr_runnable", "h_nr_queued", "h_nr_running",
    "h_nr_delayed", "idle_nr_running", "idle_h_nr_running", "h_nr_idle", "load",
)  # fmt: skip
_CFS_LOADS = (
    "load_avg", "runnable_avg", "util_avg", "util_est_enqueued", "util_est",
    "removed.load_avg", "removed.util_avg", "removed.runnable_avg", "tg_load_avg_contrib",
    "tg_load_avg", "throttled", "throttle_count",
)  # fmt: skip
_RQ_STATISTICS = ("yld_count", "sched_count", "sched_goidle", "ttwu_count", "ttwu_local")
_SCALING = ("none", "logarithmic", "linear")


def split(value: int | None) -> str:
    """Nanoseconds as ``%Ld.%06ld`` of ``SPLIT_NS()``: the sign of less than 1 ms is lost."""
    if value is None:
        return "?"
    value = signed(value)
    high = abs(value) // _MS
    return f"{-high if value < 0 else high}.{abs(value) % _MS:06d}"


def signed(value: int, bits: int = 64) -> int:
    """As C takes an unsigned number for a signed one."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def sched_debug(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq t prints after the tasks.

    :raises LookupError: the types are missing.
    """
    if rodata(prog).format("Sched Debug Version: ") is None:
        return  # built without CONFIG_SCHED_DEBUG
    for text in _SchedDebug(prog).lines():
        yield Line(text)


class _SchedDebug:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._strings = rodata(prog)
        self._queues = run_queues(prog)
        self._rows = _by_cpu(task_rows(prog).rows)
        self._fair = FairQueues(prog)
        self._groups = Groups.of(prog)
        self._cpu_nodes: dict[int, int] = {}
        enabled = readable(lambda: integer(prog["sched_schedstats"].key.enabled))
        self._statistics = bool(enabled)
        kind = prog.type("struct task_struct")
        self._numa = kind.has_member("numa_group")
        self._grouped = kind.has_member("sched_task_group")
        self._eevdf = prog.type("struct sched_entity").has_member("deadline")

    def lines(self) -> Iterator[str]:
        yield from self._head()
        for queue in self._queues:
            yield from self._cpu(queue)

    # --- the machine ------------------------------------------------------------------

    def _head(self) -> Iterator[str]:
        prog = self._prog
        found = self._strings.format("Sched Debug Version: ")
        version = found.text.partition(",")[0] if found is not None else "Sched Debug Version: ?"
        name = prog["init_uts_ns"].name
        release, built = (_text(part) for part in (name.release, name.version))
        yield f"{version}, {release} {built.partition(' ')[0]}"
        clocks = [queue.members.get("clock", 0) for queue in self._queues]
        latest = max(clocks, default=0)
        for label, value in (
            ("ktime", split(readable(lambda: monotonic_ns(prog)))),
            ("sched_clk", split(sched_clock_ns(prog, latest))),
            ("cpu_clk", split(latest)),
            ("jiffies", self._number("jiffies")),
            ("sched_clock_stable()", self._stable()),
        ):
            if label != "sched_clock_stable()" or self._strings.has(label):
                yield f"{label:<40}: {value}"
        yield ""
        yield "sysctl_sched"
        for label, is_time in _SYSCTLS:
            if self._strings.has(label):
                number = self._number(label)
                shown = split(int(number)) if is_time and number.isdigit() else number
                yield f"  .{label:<40}: {shown}"
        label = "sysctl_sched_tunable_scaling"
        number = self._number(label)
        word = _SCALING[int(number)] if number in ("0", "1", "2") else "?"
        yield f"  .{label:<40}: {number} ({word})"
        yield ""

    def _number(self, name: str) -> str:
        found = readable(lambda: integer(self._prog[name]))
        return "?" if found is None else str(found)

    def _stable(self) -> str:
        found = readable(lambda: integer(self._prog["__sched_clock_stable"].key.enabled))
        return "?" if found is None else str(int(found > 0))

    # --- a CPU ------------------------------------------------------------------------

    def _cpu(self, queue: RunQueue) -> Iterator[str]:
        found = self._strings.format("cpu#%d, %u.%03u MHz")
        khz = readable(lambda: integer(self._prog["cpu_khz"])) if found is not None else None
        if found is not None:
            khz = khz or 1
            yield f"cpu#{queue.cpu}, {khz // 1000}.{khz % 1000:03d} MHz"
        else:
            yield f"cpu#{queue.cpu}"
        members = queue.members
        yield _entry("nr_running", members.get("nr_running"))
        yield _entry("nr_switches", members.get("nr_switches"))
        yield _entry("nr_uninterruptible", _either_sign(members.get("nr_uninterruptible")))
        yield _entry("next_balance", split(members.get("next_balance")))
        yield _entry("curr->pid", queue.current_pid)
        yield _entry("clock", split(members.get("clock")))
        yield _entry("clock_task", split(members.get("clock_task")))
        yield _entry("avg_idle", members.get("avg_idle"))
        yield _entry("max_idle_balance_cost", members.get("max_idle_balance_cost"))
        if self._statistics:
            for label in _RQ_STATISTICS:
                yield _entry(label, members.get(label))
        for cfs in queue.cfs:
            yield from self._fair_queue(queue.cpu, cfs)
        yield from self._realtime(queue)
        yield from self._deadline(queue)
        yield from self._tasks(queue)
        yield ""

    def _fair_queue(self, cpu: int, cfs: CfsRq) -> Iterator[str]:
        yield ""
        yield f"cfs_rq[{cpu}]:{cfs.path if cfs.path is not None else ''}"
        members = cfs.members
        for label, value in self._times(cfs):
            if self._prints(label):
                yield _entry(label, value)
        for label in _CFS_COUNTS:
            if label in members and self._prints(label):
                yield _entry(label, _either_sign(members[label]))
        loads = {**members}
        if cfs.tg_load_avg is not None:
            loads["tg_load_avg"] = cfs.tg_load_avg
        for label in _CFS_LOADS:
            if label in loads and self._prints(label):
                yield _entry(label, loads[label])
        if cfs.entity is not None:
            yield from self._group_entity(cfs.entity)

    def _prints(self, label: str) -> bool:
        """Whether ``print_cfs_rq()`` has this word; that some function has it says little."""
        if readable(lambda: self._prog.symbol("print_cfs_rq")) is None:
            return self._strings.has(label)
        return refers(self._prog, "print_cfs_rq", label)

    def _times(self, cfs: CfsRq) -> Iterator[tuple[str, str]]:
        """Virtual times; those of an empty queue are -1."""
        members = cfs.members
        first, last = cfs.first, cfs.last
        if not self._eevdf:
            if "exec_clock" in members:
                yield "exec_clock", split(members["exec_clock"])
            low = first["vruntime"] if first is not None else -1
            high = last["vruntime"] if last is not None else -1
            yield "MIN_vruntime", split(low)
            yield "min_vruntime", split(members.get("min_vruntime"))
            yield "max_vruntime", split(high)
            yield "spread", split(high - low)
            own = members.get("min_vruntime", 0)
            yield "spread0", split(own - (self._first_minimum or 0))
            return
        root = cfs.root
        left = root.get("min_vruntime", -1) if root is not None else -1
        right = last["vruntime"] if last is not None else -1
        yield "left_deadline", split(first["deadline"] if first is not None else -1)
        yield "left_vruntime", split(left)
        if "zero_vruntime" in members:
            yield "zero_vruntime", split(members["zero_vruntime"])
        elif "min_vruntime" in members:
            yield "min_vruntime", split(members["min_vruntime"])
        total, weight = cfs.average()
        if "sum_w_vruntime" in members:
            own = signed(members["sum_w_vruntime"])
            yield "sum_w_vruntime", f"{own} ({abs(own).bit_length() - 1} bits)"
            yield "sum_weight", str(members.get("sum_weight", "?"))
            yield "sum_shift", str(members.get("sum_shift", "?"))
        yield "avg_vruntime", split(cfs.zero + (total // weight if weight else 0))
        yield "right_vruntime", split(right)
        yield "spread", split(right - left)

    @property
    def _first_minimum(self) -> int | None:
        """``min_vruntime`` of CPU 0's root queue."""
        for queue in self._queues:
            if queue.cpu == 0 and queue.cfs:
                root = next((cfs for cfs in queue.cfs if cfs.entity is None), queue.cfs[-1])
                return root.members.get("min_vruntime")
        return None

    def _group_entity(self, entity: Mapping[str, int]) -> Iterator[str]:
        for label in ("exec_start", "vruntime", "sum_exec_runtime"):
            yield _entry(f"se->{label}", split(entity.get(label)))
        for label in ("load.weight", "avg.load_avg", "avg.util_avg", "avg.runnable_avg"):
            if self._strings.has(f"se->{label}"):
                yield _entry(f"se->{label}", entity.get(label))

    def _realtime(self, queue: RunQueue) -> Iterator[str]:
        yield ""
        path = "/" if self._strings.has("rt_rq[%d]:%s\n") else ""
        yield f"rt_rq[{queue.cpu}]:{path}"
        for label in ("rt_nr_running", "rt_nr_migratory", "rt_throttled"):
            if label in queue.rt and self._strings.has(label):
                yield _entry(label, queue.rt[label])
        for label in ("rt_time", "rt_runtime"):
            if label in queue.rt and self._strings.has(label):
                yield _entry(label, split(queue.rt[label]))

    def _deadline(self, queue: RunQueue) -> Iterator[str]:
        yield ""
        yield f"dl_rq[{queue.cpu}]:"
        for label in ("dl_nr_running", "dl_nr_migratory"):
            if label in queue.dl and self._strings.has(label):
                yield _entry(label, queue.dl[label])
        yield _entry("dl_bw->bw", None if queue.dl_bw is None else signed(queue.dl_bw))
        yield _entry(
            "dl_bw->total_bw", None if queue.dl_total_bw is None else signed(queue.dl_total_bw)
        )

    # --- its tasks --------------------------------------------------------------------

    def _tasks(self, queue: RunQueue) -> Iterator[str]:
        yield ""
        yield "runnable tasks:"
        heading: Format | None = self._strings.format("task   PID")
        dashes: Format | None = self._strings.starting("-" * 60)
        for found in (heading, dashes):
            if found is not None:
                yield from found.text.removesuffix("\n").split("\n")
        for row in self._rows.get(queue.cpu, ()):
            yield self._row(queue, row)

    def _row(self, queue: RunQueue, row: Row) -> str:
        task, members = row.task, row.members
        mark = ">R" if task.address == queue.current else f" {row.letter}"
        switches = _padded(9, _sum(members, "nvcsw", "nivcsw"))
        prio = _padded(5, members.get("prio"))
        vruntime = members.get("vruntime")
        if self._eevdf:
            cfs = self._queue_of(queue, members)
            eligible = "?"
            if cfs is not None and vruntime is not None:
                eligible = "E" if cfs.is_eligible(vruntime) else "N"
            custom = "S" if members.get("custom_slice") else " "
            text = (
                f"{mark} {task.comm:>15} {task.pid:5d} {split(vruntime):>16}   {eligible}   "
                f"{split(members.get('deadline')):>16} {custom} {split(members.get('slice')):>16} "
                f"{split(members.get('sum_exec_runtime')):>16} {switches}   {prio} "
            )
            times = ["wait_sum", "sum_sleep_runtime", "sum_block_runtime"]
        else:
            text = f"{mark} {task.comm:>15} {task.pid:5d} {split(vruntime):>16} {switches} {prio} "
            times = ["wait_sum", "sum_exec_runtime", "sum_sleep_runtime"]
            if self._has_block:
                times.append("sum_block_runtime")
        text += " ".join(f"{self._time(members, name):>16}" for name in times)
        if self._numa:
            node, group = self._node_of(task.cpu), self._numa_group(members.get("numa_group", 0))
            text += f"   {node}      {group}" if self._eevdf else f" {node} {group}"
        if self._grouped:
            path = self._groups.path(members.get("group", 0))
            text += f"        {path}" if self._eevdf else f" {path}"
        return text

    def _queue_of(self, queue: RunQueue, members: Mapping[str, int]) -> CfsRq | None:
        """The fair queue that a task belongs to; without groups each CPU has one."""
        if "cfs_rq" in members or self._grouped:
            return self._fair.at(members.get("cfs_rq", 0), queue.cpu)
        return queue.cfs[0] if queue.cfs else None

    @property
    def _has_block(self) -> bool:
        """A fourth time, without a heading, since v5.16 (847fc0cd0664)."""
        return self._strings.format("%9lld.%06ld %9lld.%06ld %9lld.%06ld %9lld.%06ld") is not None

    def _time(self, members: Mapping[str, int], name: str) -> str:
        """Statistics are zero while they are switched off."""
        if name != "sum_exec_runtime" and not self._statistics:
            return "0.000000"
        return split(members.get(name))

    def _node_of(self, cpu: int) -> int:
        if cpu not in self._cpu_nodes:
            self._cpu_nodes[cpu] = number(self._prog, "numa_node", cpu, "int") or 0
        return self._cpu_nodes[cpu]

    def _numa_group(self, address: int) -> int:
        if not address:
            return 0
        found = readable(
            lambda: int(drgn.Object(self._prog, "struct numa_group *", address).gid.value_())
        )
        return found or 0


_SYSCTLS: Sequence[tuple[str, bool]] = (
    ("sysctl_sched_latency", True),
    ("sysctl_sched_min_granularity", True),
    ("sysctl_sched_idle_min_granularity", True),
    ("sysctl_sched_wakeup_granularity", True),
    ("sysctl_sched_base_slice", True),
    ("sysctl_sched_child_runs_first", False),
    ("sysctl_sched_features", False),
)


def _by_cpu(rows: Sequence[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.task.cpu, []).append(row)
    return found


def _entry(label: str, value: int | str | None) -> str:
    return f"  .{label:<30}: {'?' if value is None else value}"


def _padded(width: int, value: int | None) -> str:
    return f"{'?' if value is None else value:>{width}}"


def _sum(members: Mapping[str, int], *names: str) -> int | None:
    found = [members.get(name) for name in names]
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def _either_sign(value: int | None) -> int | None:
    """A count that may have become negative, of 32 or of 64 bits."""
    if value is None:
        return None
    return signed(value) if value >> 63 else signed(value, 32) if value >> 31 == 1 else value


def _text(array: drgn.Object) -> str:
    value: bytes = array.string_()
    return value.decode("utf-8", "replace")
