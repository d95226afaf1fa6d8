"""Pressure stall information: how much time was lost by waiting for a resource.

Totals and averages are brought up to the time of death as ``psi_show()`` brings them up to
the time of reading. Source: kernel/sched/psi.c, include/linux/psi_types.h (since v4.20,
eb414681d5a0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import drgn

from postmortem.dump.damage import damage, integer, member, readable
from postmortem.kernel.cpu.clock import machine_time
from postmortem.kernel.system import present_cpus

FSHIFT = 11
"""Averages are fixed-point numbers with so many binary places."""
_FIXED_1 = 1 << FSHIFT
_DECAY = (1677, 1981, 2034)
"""1/exp(2s/10s), 1/exp(2s/60s), 1/exp(2s/300s)."""
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_MAX_GROUPS = 1 << 16
_MAX_DEPTH = 64
_STATES = ("IO_SOME", "IO_FULL", "MEM_SOME", "MEM_FULL", "CPU_SOME", "CPU_FULL", "IRQ_FULL")
_FILES = {"IO": "io", "MEM": "memory", "CPU": "cpu", "IRQ": "irq"}
_TASKS = {"NR_IOWAIT": "io", "NR_MEMSTALL": "memory", "NR_RUNNING": "runnable"}


@dataclass(frozen=True)
class Pressure:
    """One line of a pressure file."""

    resource: str
    """The name of the file: io, memory, cpu, irq."""
    full: bool
    """All tasks that were not idle waited at once; else at least one."""
    averages: tuple[int, int, int]
    """Of the last 10, 60 and 300 seconds: per cent, with :data:`FSHIFT` binary places."""
    total_ns: int

    def percent(self, window: int) -> float:
        """An average as the kernel shows it, with two places that are cut off."""
        return (self.averages[window] * 100 >> FSHIFT) / 100


@dataclass(frozen=True)
class PsiGroup:
    """``struct psi_group``: of the whole machine, or of a control group."""

    path: str
    """Of the control group; ``""`` for the machine."""
    address: int
    pressures: tuple[Pressure, ...]
    tasks: Mapping[str, int] = field(repr=False)
    """How many tasks waited (``io``, ``memory``) and were ``runnable`` when the machine died."""


def pressure(prog: drgn.Program) -> PsiGroup:
    """That of the whole machine.

    :raises LookupError: it can't be read, or was not kept (:func:`why_not`).
    """
    return _Reader(prog).group("", prog["psi_system"])


def why_not(prog: drgn.Program) -> str | None:
    """Why this machine kept no pressure, and what turns it on; ``None`` if it did."""
    if readable(lambda: prog.type("enum psi_states")) is None:
        return "this kernel was built without CONFIG_PSI"
    if _key_on(prog, "psi_disabled", absent=False):
        return "pressure was not kept: psi=1 on the kernel's command line turns it on"
    return None


def group_pressures(prog: drgn.Program) -> Iterator[PsiGroup]:
    """Those of the control groups, parents first; groups that can't be read are left out.

    :raises LookupError: there are no control groups, or pressure was not kept.
    """
    reader = _Reader(prog)
    # Off with cgroup_disable=pressure (3958e2d0c34e).
    if _key_on(prog, "psi_cgroups_enabled", absent=True):
        yield from reader.groups(prog["cgrp_dfl_root"].cgrp)


def _key_on(prog: drgn.Program, name: str, *, absent: bool) -> bool:
    """Whether a static key is on."""
    found = readable(lambda: integer(prog[name].key.enabled))
    return absent if found is None else found > 0


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        states = prog.type("enum psi_states")
        known = {name.removeprefix("PSI_"): value for name, value in states.enumerators or ()}
        self._states = {name: known[name] for name in _STATES if name in known}
        self._nonidle = known["NONIDLE"]
        self._cpus = present_cpus(prog)
        told = machine_time(prog, self._cpus)
        self._now, self._hz = told.now_ns, told.hz
        period = readable(lambda: int(prog["psi_period"].value_()))
        self._period = period or (2 * self._hz + 1) * 1_000_000_000 // self._hz
        counts = prog.type("enum psi_task_count").enumerators or ()
        self._tasks = {_TASKS[name]: value for name, value in counts if name in _TASKS}

    def group(self, path: str, psi: drgn.Object) -> PsiGroup:
        """What ``psi_show()`` would show of ``struct psi_group``."""
        system = not path
        now = max(self._now, int(psi.avg_last_update.value_()))
        totals, averages, tasks = self._collected(psi, now)
        due = int(psi.avg_next_update.value_())
        if now >= due:
            averages = self._updated(psi, now, due, totals, averages)
        return PsiGroup(
            path,
            int(psi.address_ or 0),
            tuple(self._shown(totals, averages, system=system)),
            tasks,
        )

    def _shown(
        self, totals: Mapping[str, int], averages: Mapping[str, tuple[int, int, int]], system: bool
    ) -> Iterator[Pressure]:
        for name in self._states:
            resource, _, how = name.partition("_")
            found = Pressure(_FILES[resource], how == "FULL", averages[name], totals[name])
            # Undefined for the machine as a whole: zeroes.
            if system and name == "CPU_FULL":
                found = replace(found, averages=(0, 0, 0), total_ns=0)
            yield found

    def _collected(
        self, psi: drgn.Object, now: int
    ) -> tuple[dict[str, int], dict[str, tuple[int, int, int]], dict[str, int]]:
        """``collect_percpu_times()``: totals with what has run up on each CPU since."""
        from drgn.helpers.linux.percpu import per_cpu_ptr

        deltas = dict.fromkeys(self._states, 0)
        tasks = dict.fromkeys(self._tasks, 0)
        weights = 0
        for cpu in self._cpus:
            try:
                own = per_cpu_ptr(psi.pcpu, cpu)[0].read_()
                times = self._recent(own, now)
                counted = own.tasks.value_()
            except damage():
                continue
            weight = times[self._nonidle] * self._hz // 1_000_000_000
            weights += weight
            for name, place in self._states.items():
                deltas[name] += times[place] * weight
            for name, place in self._tasks.items():
                tasks[name] += int(counted[place])
        row = _row(psi.total.value_(), 0, self._nonidle)  # of PSI_AVGS
        totals = {
            name: row[place] + deltas[name] // max(weights, 1)
            for name, place in self._states.items()
        }
        average = psi.avg.value_()
        averages = {}
        for name, place in self._states.items():
            ten, sixty, more = _row(average, place, len(_DECAY))
            averages[name] = (ten, sixty, more)
        return totals, averages, tasks

    def _recent(self, own: drgn.Object, now: int) -> list[int]:
        """``get_recent_times()``: nanoseconds in each state since they were last collected."""
        times = [int(value) for value in own.times.value_()]
        row = _row(own.times_prev.value_(), 0, len(times))
        start = int(own.state_start.value_())
        mask = readable(lambda: int(own.state_mask.value_()))
        for place, value in enumerate(times):
            if mask is not None and mask >> place & 1:
                value += max(0, now - start)
            times[place] = (value - row[place]) & _U32
        return times

    def _updated(
        self,
        psi: drgn.Object,
        now: int,
        due: int,
        totals: Mapping[str, int],
        averages: Mapping[str, tuple[int, int, int]],
    ) -> dict[str, tuple[int, int, int]]:
        """``update_averages()``: they were due when the machine died."""
        missed = (now - due) // self._period
        period = now - (int(psi.avg_last_update.value_()) + missed * self._period)
        if period <= 0:
            return dict(averages)
        counted = psi.avg_total.value_()
        found = {}
        for name, place in self._states.items():
            sample = min((totals[name] - int(counted[place])) & _U32, period)
            found[name] = _decayed(averages[name], missed, sample * 100 // period)
        return found

    def groups(self, root: drgn.Object) -> Iterator[PsiGroup]:
        """Every control group below ``root`` that has pressure of its own."""
        kind = self._prog.type("struct cgroup_subsys_state")
        at = int(drgn.offsetof(kind, "sibling"))
        todo = [("", root.self.address_of_().value_(), 0)]
        seen: set[int] = set()
        while todo and len(seen) < _MAX_GROUPS:
            path, address, depth = todo.pop()
            if address in seen or depth > _MAX_DEPTH:
                continue
            seen.add(address)
            css = drgn.Object(self._prog, kind, address=address)
            try:
                group = css.cgroup.read_()
                if depth:
                    path = f"{path}/{_name(group)}"
                    yield self.group(path, _psi_of(group))
            except damage():
                if not depth:
                    continue
            children = list(self._children(css, at))
            todo += [(path, child, depth + 1) for child in reversed(children)]

    def _children(self, css: drgn.Object, at: int) -> Iterator[int]:
        """``css->children``, bounded; what can't be read ends it."""
        try:
            head = css.children.address_of_().value_()
            node = self._prog.read_u64(head)
            for _ in range(_MAX_GROUPS):
                if node == head:
                    return
                yield node - at
                node = self._prog.read_u64(node)
        except damage():
            return


def _row(values: Sequence[Any], number: int, width: int) -> list[int]:
    """A row of a table; BTF of 2020 has tables as one long row (pahole 1.18 and before)."""
    if isinstance(values[0], list):
        return [int(value) for value in values[number]]
    return [int(value) for value in values[number * width : (number + 1) * width]]


def _name(group: drgn.Object) -> str:
    return str(group.kn.name.string_().decode("utf-8", "replace"))


def _psi_of(group: drgn.Object) -> drgn.Object:
    """Embedded once, later a pointer.

    :raises LookupError: it has none, or it is turned off (``cgroup.pressure``).
    """
    psi = member(group, "psi")
    if psi.type_.unaliased().kind == drgn.TypeKind.POINTER:
        if not psi:
            raise LookupError("no pressure of its own")
        psi = psi[0]
    if readable(lambda: bool(psi.enabled.value_())) is False:
        raise LookupError("turned off")
    return psi


def _decayed(averages: tuple[int, int, int], missed: int, percent: int) -> tuple[int, int, int]:
    """``calc_avgs()``: zeroes for the periods that were missed, then the last one."""
    found = []
    for average, decay in zip(averages, _DECAY, strict=True):
        if missed:
            average = _load(average, _power(decay, missed), 0)
        found.append(_load(average, decay, percent * _FIXED_1))
    return (found[0], found[1], found[2])


def _load(load: int, decay: int, active: int) -> int:
    """``calc_load()``"""
    found = load * decay + active * (_FIXED_1 - decay)
    if active >= load:
        found += _FIXED_1 - 1
    return (found & _U64) // _FIXED_1


def _power(base: int, times: int) -> int:
    """``fixed_power_int()``"""
    half = 1 << (FSHIFT - 1)
    result = _FIXED_1
    while times:
        if times & 1:
            result = (result * base + half) >> FSHIFT
        times >>= 1
        base = (base * base + half) >> FSHIFT
    return result
