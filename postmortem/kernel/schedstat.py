"""What the scheduler counted on each CPU: /proc/schedstat. Source: kernel/sched/stats.c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.layout import Layout

_MAX_DOMAINS = 16
_MAX_CPUS = 1 << 16
_RQ = (
    "yld_count", "sched_count", "sched_goidle", "ttwu_count", "ttwu_local", "rq_cpu_time",
)  # fmt: skip
_BALANCED = (
    "lb_count", "lb_balanced", "lb_failed", "lb_imbalance", "lb_imbalance_load",
    "lb_imbalance_util", "lb_imbalance_task", "lb_imbalance_misfit", "lb_gained",
    "lb_hot_gained", "lb_nobusyq", "lb_nobusyg",
)  # fmt: skip
"""One for each ``enum cpu_idle_type``; newer kernels tell four kinds of imbalance apart."""
_REST = (
    "alb_count", "alb_failed", "alb_pushed", "sbe_count", "sbe_balanced", "sbe_pushed",
    "sbf_count", "sbf_balanced", "sbf_pushed", "ttwu_wake_remote", "ttwu_move_affine",
    "ttwu_move_balance",
)  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """``struct sched_domain`` of a CPU: over which CPUs it balances, and how that went."""

    name: str | None
    cpus: tuple[int, ...]
    counts: tuple[int, ...] = field(repr=False)
    """In the order in which the kernel prints them."""


@dataclass(frozen=True)
class CpuStat:
    """A CPU: the counts of its run queue in the kernel's order, and its domains."""

    cpu: int
    counts: tuple[int, ...]
    domains: tuple[Domain, ...] = field(repr=False)


@dataclass(frozen=True)
class Schedstat:
    """All of it."""

    version: int
    """Of the format, as the kernel calls it; known by the members that it has."""
    jiffies: int
    cpu_ids: int
    """How many CPUs there may be: masks have so many bits."""
    cpus: tuple[CpuStat, ...]
    unreadable: tuple[str, ...] = ()


def schedstat(prog: drgn.Program) -> Schedstat:
    """Read it.

    :raises LookupError: this kernel has no such counts (CONFIG_SCHEDSTATS).
    """
    from drgn.helpers.linux.cpumask import for_each_online_cpu

    rq = prog.type("struct rq")
    if not rq.has_member("yld_count"):
        raise LookupError("this kernel was built without CONFIG_SCHEDSTATS")
    cpu_ids = int(prog["nr_cpu_ids"].value_())
    if not 0 < cpu_ids <= _MAX_CPUS:
        raise LookupError(f"there can't be {cpu_ids} CPUs")
    found = []
    lost: list[str] = []
    for cpu in for_each_online_cpu(prog):
        try:
            found.append(_cpu(prog, rq, cpu, cpu_ids, lost))
        except damage() as exc:
            lost.append(f"CPU {cpu}: {exc}")
    jiffies = int(prog["jiffies_64"].value_())
    return Schedstat(_version(prog), jiffies, cpu_ids, tuple(found), tuple(lost))


def _version(prog: drgn.Program) -> int:
    if prog.type("struct sched_domain").has_member("lb_imbalance_load"):
        return 17
    # The idle types changed their order between 15 and 16.
    kinds = prog.type("enum cpu_idle_type").enumerators or ()
    return 16 if any(name == "__CPU_NOT_IDLE" for name, _ in kinds) else 15


def _cpu(prog: drgn.Program, kind: drgn.Type, cpu: int, cpu_ids: int, lost: list[str]) -> CpuStat:
    rq = variable(prog, "runqueues", cpu, "struct rq")
    address = int(rq.address_of_().value_())
    read = Layout(kind, dict(zip(_RQ, _RQ, strict=True))).read(prog, address)
    info = rq.rq_sched_info
    counts = (
        *(read[name] for name in _RQ), int(info.run_delay.value_()), int(info.pcount.value_()),
    )  # fmt: skip
    domains: list[Domain] = []
    try:
        domains.extend(_domains(rq, cpu_ids))
    except damage() as exc:
        lost.append(f"domains of CPU {cpu}: {exc}")
    return CpuStat(cpu, counts, tuple(domains))


def _domains(rq: drgn.Object, cpu_ids: int) -> Iterator[Domain]:
    """``for_each_domain()``: from the smallest to the largest."""
    domain = rq.sd.read_()
    for _ in range(_MAX_DOMAINS):
        if not domain:
            return
        yield _domain(domain[0], cpu_ids)
        domain = domain.parent.read_()


def _domain(domain: drgn.Object, cpu_ids: int) -> Domain:
    kind = domain.type_
    members = [name for name in _BALANCED if kind.has_member(name)]
    columns = [[int(value) for value in domain.member_(name).value_()] for name in members]
    counts = [value for row in zip(*columns, strict=True) for value in row]
    counts += [int(domain.member_(name).value_()) for name in _REST]
    # Once a member of no length; later it lies behind the struct.
    at = drgn.offsetof(kind, "span") if kind.has_member("span") else drgn.sizeof(kind)
    span = domain.address_of_().value_() + int(at)
    mask = int.from_bytes(domain.prog_.read(span, (cpu_ids + 63) // 64 * 8), "little")
    name = None
    if kind.has_member("name"):
        name = readable(lambda: str(domain.name.string_().decode("utf-8", "replace")))
    cpus = tuple(cpu for cpu in range(cpu_ids) if mask >> cpu & 1)
    return Domain(name, cpus, tuple(counts))
