"""Run queues of all CPUs with what the scheduler's debug output shows of them.

Source: kernel/sched/sched.h, kernel/sched/debug.c, kernel/sched/fair.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage, integer, member, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.layout import Layout
from postmortem.kernel.masks import for_each_online_cpu
from postmortem.kernel.memo import fact
from postmortem.kernel.paths import kernfs_path

_MAX_GROUPS = 4096
_MAX_DEPTH = 64
_WEIGHT_SHIFT = 10
"""SCHED_FIXEDPOINT_SHIFT"""

Members = Mapping[str, int]

_RQ = {
    name: name
    for name in (
        "nr_running", "nr_switches", "nr_uninterruptible", "next_balance", "clock",
        "clock_task", "avg_idle", "max_idle_balance_cost", "yld_count", "sched_count",
        "sched_goidle", "ttwu_count", "ttwu_local",
    )
}  # fmt: skip
_RT = {
    name: f"rt.{name}"
    for name in ("rt_nr_running", "rt_nr_migratory", "rt_throttled", "rt_time", "rt_runtime")
}
_DL = {name: f"dl.{name}" for name in ("dl_nr_running", "dl_nr_migratory")}
_CFS = {
    **{
        name: name
        for name in (
            "exec_clock", "min_vruntime", "zero_vruntime", "nr_spread_over", "nr_running",
            "nr_queued", "h_nr_running", "h_nr_runnable", "h_nr_queued", "h_nr_delayed",
            "h_nr_idle", "idle_nr_running", "idle_h_nr_running", "sum_w_vruntime",
            "sum_weight", "sum_shift", "tg_load_avg_contrib", "throttle_count",
        )
    },
    "load": "load.weight",
    "load_avg": "avg.load_avg",
    "runnable_avg": "avg.runnable_avg",
    "util_avg": "avg.util_avg",
    "util_est_enqueued": "avg.util_est.enqueued",
    "util_est": "avg.util_est",
    "removed.load_avg": "removed.load_avg",
    "removed.util_avg": "removed.util_avg",
    "removed.runnable_avg": "removed.runnable_avg",
    "weighted": "avg_vruntime|sum_w_vruntime",
    "weight": "avg_load|sum_weight",
    "shift": "sum_shift",
}  # fmt: skip
_ENTITY = {
    "vruntime": "vruntime",
    "min_vruntime": "min_vruntime",
    "deadline": "deadline",
    "on_rq": "on_rq",
    "exec_start": "exec_start",
    "sum_exec_runtime": "sum_exec_runtime",
    "load.weight": "load.weight",
    "avg.load_avg": "avg.load_avg",
    "avg.util_avg": "avg.util_avg",
    "avg.runnable_avg": "avg.runnable_avg",
}


@dataclass(frozen=True)
class CfsRq:
    """A queue of the fair scheduler: of a CPU, or of a group of tasks on it."""

    address: int
    path: str | None
    """Of the group; ``None`` on kernels without groups."""
    members: Members = field(repr=False)
    first: Members | None = field(default=None, repr=False)
    """The entity that would run next, the root of the tree, and the last one; ``None``: empty."""
    root: Members | None = field(default=None, repr=False)
    last: Members | None = field(default=None, repr=False)
    current: Members | None = field(default=None, repr=False)
    entity: Members | None = field(default=None, repr=False)
    """The group's own entity on this CPU; ``None`` for the root group."""
    tg_load_avg: int | None = None

    @property
    def zero(self) -> int:
        """What virtual times are counted from."""
        found = self.members.get("zero_vruntime", self.members.get("min_vruntime"))
        return found or 0

    def average(self) -> tuple[int, int]:
        """Sum of the weighted distances from :attr:`zero`, and of the weights."""
        total, weight = _signed(self.members.get("weighted", 0)), self.members.get("weight", 0)
        if self.current is not None and self.current.get("on_rq"):
            own = self.current.get("load.weight", 0)
            own = max(2, own >> _WEIGHT_SHIFT) if own else 0
            own >>= min(self.members.get("shift", 0), 63)
            total += _signed(self.current["vruntime"] - self.zero) * own
            weight += own
        return total, weight

    def is_eligible(self, vruntime: int) -> bool:
        """``vruntime_eligible()``: it got no more than its share."""
        total, weight = self.average()
        return total >= _signed(vruntime - self.zero) * weight


@dataclass(frozen=True)
class RunQueue:
    """``struct rq`` of a CPU."""

    cpu: int
    current: int
    """``struct task_struct *`` that is on it."""
    current_pid: int | None
    members: Members = field(repr=False)
    rt: Members = field(repr=False)
    dl: Members = field(repr=False)
    dl_bw: int | None
    dl_total_bw: int | None
    cfs: tuple[CfsRq, ...] = field(repr=False)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


@fact
def run_queues(prog: drgn.Program) -> tuple[RunQueue, ...]:
    """Those of the CPUs that are on line.

    :raises LookupError: the types are missing.
    """
    reader = _Reader(prog)
    found = []
    for cpu in for_each_online_cpu(prog):
        queue = readable(lambda cpu=cpu: reader.queue(cpu))  # type: ignore[misc]
        if queue is not None:
            found.append(queue)
    return tuple(found)


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        rq = prog.type("struct rq")
        self._rq, self._rt, self._dl = (Layout(rq, names) for names in (_RQ, _RT, _DL))
        self._cfs_type = prog.type("struct cfs_rq")
        self._cfs = Layout(self._cfs_type, _CFS)
        entity = prog.type("struct sched_entity")
        self._entity = Layout(entity, _ENTITY)
        self._run_node = int(drgn.offsetof(entity, "run_node"))
        self._groups = Groups.of(prog)

    def queue(self, cpu: int) -> RunQueue:
        prog = self._prog
        rq = variable(prog, "runqueues", cpu, "struct rq")
        address = rq.address_of_().value_()
        current = rq.curr.read_()
        bandwidth = readable(lambda: member(rq.rd, "dl_bw"))
        return RunQueue(
            cpu=cpu,
            current=int(current.value_()),
            current_pid=readable(lambda: int(current.pid.value_())),
            members=self._rq.read(prog, address),
            rt=self._rt.read(prog, address),
            dl=self._dl.read(prog, address),
            dl_bw=readable(lambda: int(bandwidth.bw.value_())) if bandwidth is not None else None,
            dl_total_bw=(
                readable(lambda: int(bandwidth.total_bw.value_()))
                if bandwidth is not None
                else None
            ),
            cfs=tuple(self._fair(rq, cpu)),
        )

    def _fair(self, rq: drgn.Object, cpu: int) -> Iterator[CfsRq]:
        """``rq.leaf_cfs_rq_list`` if there are groups, else the one queue."""
        if not rq.type_.has_member("leaf_cfs_rq_list"):
            yield self.fair(rq.cfs.address_of_().value_(), cpu)
            return
        offset = int(drgn.offsetof(self._cfs_type, "leaf_cfs_rq_list"))
        head = rq.leaf_cfs_rq_list.address_of_().value_()
        node = self._prog.read_u64(head)
        seen: set[int] = set()
        while node != head and node not in seen and len(seen) < _MAX_GROUPS:
            seen.add(node)
            try:
                yield self.fair(node - offset, cpu)
                node = self._prog.read_u64(node)
            except damage():
                return

    def fair(self, address: int, cpu: int) -> CfsRq:
        """The queue at ``address``. ``struct cfs_rq *``"""
        prog = self._prog
        cfs = drgn.Object(prog, self._cfs_type, address=address)
        group = readable(lambda: cfs.tg.read_())
        timeline = member(cfs, "tasks_timeline")
        own = readable(lambda: self._own(group, address, cpu)) if group is not None else 0
        current = readable(lambda: cfs.curr.value_())
        last = readable(lambda: self._end(timeline, "rb_right"))
        return CfsRq(
            address=address,
            path=self._groups.path(group.value_()) if group is not None else None,
            members={**self._cfs.read(prog, address), **_throttled(cfs)},
            first=self._node(timeline.rb_leftmost.value_()),
            root=self._node(timeline.rb_root.rb_node.value_()),
            last=self._node(last),
            current=self._at(current),
            entity=self._at(own),
            tg_load_avg=(readable(lambda: integer(group.load_avg)) if group is not None else None),
        )

    def _own(self, group: drgn.Object, address: int, cpu: int) -> int:
        """Address of the group's entity on a CPU: beside its queue on newer kernels, before in
        ``task_group.se[]``; 0 for the root group."""
        if group.type_.type.has_member("se"):
            return int(group.se[cpu].value_())
        if group.value_() == self._prog["root_task_group"].address_of_().value_():
            return 0
        both = self._prog.type("struct cfs_tg_state")
        return address - int(drgn.offsetof(both, "cfs_rq")) + int(drgn.offsetof(both, "se"))

    def _end(self, timeline: drgn.Object, side: str) -> int:
        node = timeline.rb_root.rb_node.read_()
        for _ in range(_MAX_DEPTH):
            following = node.member_(side).read_() if node else node
            if not following:
                break
            node = following
        return int(node.value_())

    def _node(self, node: int | None) -> Members | None:
        return self._at(node - self._run_node if node else None)

    def _at(self, address: int | None) -> Members | None:
        if not address:
            return None
        return readable(lambda: self._entity.read(self._prog, address))


def _throttled(cfs: drgn.Object) -> Members:
    """A bit among others on newer kernels, with CONFIG_CFS_BANDWIDTH."""
    found = readable(lambda: int(cfs.throttled.value_()))
    return {} if found is None else {"throttled": found}


class Groups:
    """The paths of task groups: ``task_group_path()``."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._known: dict[int, str | None] = {}

    @staticmethod
    def of(prog: drgn.Program) -> Groups:
        """Those of this program."""
        return _groups(prog)

    def path(self, address: int) -> str | None:
        """Of ``struct task_group *``; ``None`` if it can't be read."""
        if address not in self._known:
            self._known[address] = readable(lambda: self._path(address))
        return self._known[address]

    def _path(self, address: int) -> str:
        group = drgn.Object(self._prog, "struct task_group *", address)
        auto = readable(lambda: group.autogroup.read_())
        if auto is not None and auto:
            return f"/autogroup-{auto.id.value_()}"
        if not group.css.cgroup:
            return ""
        return kernfs_path(group.css.cgroup.kn.read_())


@fact
def _groups(prog: drgn.Program) -> Groups:
    return Groups(prog)


class FairQueues:
    """The queue of a task by its address, read once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._reader = _Reader(prog)
        self._known: dict[int, CfsRq | None] = {}

    def at(self, address: int, cpu: int) -> CfsRq | None:
        """``struct cfs_rq *`` of a CPU; ``None`` if it can't be read."""
        if address not in self._known:
            self._known[address] = readable(lambda: self._reader.fair(address, cpu))
        return self._known[address]
