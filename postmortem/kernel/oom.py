"""Whom the OOM killer would choose: ``oom_badness()`` of every process. Source: mm/oom_kill.c."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.code.references import calls
from postmortem.kernel.cpu.percpu import counter_sum
from postmortem.kernel.memo import fact
from postmortem.kernel.memory_groups import MemoryGroup, group_of, memory_groups
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.kernel.zones import total_pages

_ADJ_MIN = -1000
"""OOM_SCORE_ADJ_MIN: never."""
_COUNTERS = ("MM_FILEPAGES", "MM_ANONPAGES", "MM_SWAPENTS", "MM_SHMEMPAGES")


@dataclass(frozen=True)
class OomTask:
    """A process that may be chosen. Sizes are pages unless named otherwise."""

    task: Task
    """The thread that still has the memory."""
    leader: Task
    uid: int | None
    total_vm: int
    file: int
    anon: int
    shmem: int
    swap: int
    tables_bytes: int
    adj: int
    """``oom_score_adj``"""
    points: int | None
    """``None``: it would never be chosen."""

    @property
    def rss(self) -> int:
        """Resident set."""
        return self.file + self.anon + self.shmem


@dataclass(frozen=True)
class Oom:
    """All processes with memory of their own, in the order of the kernel's list."""

    tasks: tuple[OomTask, ...]
    chosen: OomTask | None
    unreadable: tuple[str, ...]


@fact
def oom(prog: drgn.Program) -> Oom:
    """What an OOM of the whole machine would find now; init is never killed.

    :raises LookupError: the types are missing.
    """
    found, lost = _processes(prog, _sums(prog))
    found = [one for one in found if one.leader.pid != 1]
    return Oom(tuple(found), worst(found), tuple(lost))


def oom_in_group(prog: drgn.Program, group: MemoryGroup) -> Oom:
    """What an OOM of a memory cgroup would find: processes in it and below, measured by its
    limit.

    :raises LookupError: the types are missing.
    """
    whole = oom(prog)
    total = _total_pages(prog)
    above = {one.address: one.parents for one in memory_groups(prog).groups}
    found, lost = [], list(whole.unreadable)
    for one in whole.tasks:
        task = drgn.Object(prog, "struct task_struct *", one.task.address)
        try:
            own = group_of(task)
        except damage() as exc:
            lost.append(f"{one.task.tgid}: {exc}")
            continue
        if group.address != own and group.address not in above.get(own, ()):
            continue
        points = one.points
        if points is not None:
            points += one.adj * (group.oom_pages // 1000) - one.adj * (total // 1000)
        found.append(replace(one, points=points))
    return Oom(tuple(found), worst(found), tuple(lost))


def worst(tasks: Iterable[OomTask]) -> OomTask | None:
    """Who is chosen: the one with most points, of equal ones the later."""
    chosen: OomTask | None = None
    for one in tasks:
        if one.points is not None and (chosen is None or one.points >= (chosen.points or 0)):
            chosen = one
    return chosen


def _sums(prog: drgn.Program) -> bool:
    """Newer kernels add up what each CPU has counted, older ones take what was folded."""
    return calls(prog, "oom_badness", "__percpu_counter_sum")


def _total_pages(prog: drgn.Program) -> int:
    """What ``oom_score_adj`` is a part of, when the whole machine is out of memory."""
    swap = readable(lambda: integer(prog["total_swap_pages"])) or 0
    return total_pages(prog) + swap


def process_memory(prog: drgn.Program) -> list[OomTask]:
    """What every process has, exactly, also what CPUs have counted for themselves.

    :raises LookupError: the types are missing.
    """
    return _processes(prog, True)[0]


def _processes(prog: drgn.Program, exact: bool) -> tuple[list[OomTask], list[str]]:
    """Processes that have memory of their own, and those that can't be read."""
    reader = _Reader(prog, exact)
    found, lost = [], []
    threads: dict[int, list[Task]] = {}
    for task in all_tasks(prog).tasks:
        threads.setdefault(task.tgid, []).append(task)
    for tgid, members in threads.items():
        owner = next((task for task in members if task.mm), None)
        if owner is None or members[0].kthread:
            continue
        try:
            found.append(reader.task(owner, members[0]))
        except damage() as exc:
            lost.append(f"{tgid}: {exc}")
    return found, lost


class _Reader:
    def __init__(self, prog: drgn.Program, exact: bool) -> None:
        self._prog = prog
        self._page = int(prog["PAGE_SIZE"])
        self._total = _total_pages(prog)
        indices = ((name, readable(lambda name=name: prog.constant(name))) for name in _COUNTERS)  # type: ignore[misc]
        self._index = {name: int(index.value_()) for name, index in indices if index is not None}
        self._sums = exact

    def task(self, owner: Task, leader: Task) -> OomTask:
        mm = drgn.Object(self._prog, "struct mm_struct *", owner.mm)
        task = drgn.Object(self._prog, "struct task_struct *", owner.address)
        counters = self._counters(mm)
        adj = int(task.signal.oom_score_adj.value_())
        tables = readable(lambda: integer(mm.pgtables_bytes)) or 0
        resident = sum(counters[name] for name in _COUNTERS)
        points: int | None = resident + tables // self._page + adj * (self._total // 1000)
        if adj == _ADJ_MIN or self._skipped(mm) or self._in_vfork(task):
            points = None
        return OomTask(
            task=owner,
            leader=leader,
            uid=readable(lambda: int(task.cred.uid.val.value_())),
            total_vm=int(mm.total_vm.value_()),
            file=counters["MM_FILEPAGES"],
            anon=counters["MM_ANONPAGES"],
            shmem=counters["MM_SHMEMPAGES"],
            swap=counters["MM_SWAPENTS"],
            tables_bytes=tables,
            adj=adj,
            points=points,
        )

    def _counters(self, mm: drgn.Object) -> Mapping[str, int]:
        """``rss_stat``: a struct of atomics before v6.2 (f1a7941243c1), percpu counters since."""
        stat = mm.rss_stat
        if stat.type_.unaliased_kind() == drgn.TypeKind.STRUCT:
            stat = stat.count
        found = dict.fromkeys(_COUNTERS, 0)
        for name, index in self._index.items():
            item = stat[index]
            if item.type_.unaliased_kind() == drgn.TypeKind.STRUCT and item.type_.has_member(
                "counters"
            ):
                found[name] = max(0, self._percpu(item))
            else:
                found[name] = max(0, integer(item))
        return found

    def _percpu(self, counter: drgn.Object) -> int:
        if self._sums:
            return int(counter_sum(counter))
        return int(counter.count.value_())

    def _skipped(self, mm: drgn.Object) -> bool:
        """MMF_OOM_SKIP (21 of ``mm->flags``): it was reaped already."""
        flags = readable(lambda: integer(mm.flags))
        return bool(flags is not None and flags >> 21 & 1)

    def _in_vfork(self, task: drgn.Object) -> bool:
        """``in_vfork()``: its memory is still its parent's."""
        if not task.vfork_done:
            return False
        return bool(task.real_parent.mm == task.mm)
