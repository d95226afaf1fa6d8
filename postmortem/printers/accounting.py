"""Accounts of tasks in the words of the kernel and of its own tool getdelays.

Sources: fs/proc/base.c, kernel/sched/stats.c, tools/accounting/getdelays.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from postmortem.kernel.delays import CAUSES, IO, Account, Delay
from postmortem.kernel.schedstat import Domain, Schedstat

_HEADINGS = {
    "blkio": "IO", "swapin": "SWAP", "freepages": "RECLAIM", "thrashing": "THRASHING",
    "compact": "COMPACT", "wpcopy": "WPCOPY", "irq": "IRQ",
}  # fmt: skip


def io_lines(account: Account) -> Iterator[str]:
    """/proc/PID/io"""
    for name in IO:
        if name in account.io:
            yield f"{name}: {account.io[name]}"


def schedstat_line(account: Account) -> str:
    """/proc/PID/schedstat"""
    delay = account.delays["cpu"]
    return f"{account.virtual_ns} {delay.total_ns} {delay.count}"


def getdelays_lines(account: Account) -> Iterator[str]:
    """``getdelays -d`` of the kernel's own source: what that kernel counts, in its columns.

    Newer ones show the longest and shortest delays, and when the longest was; an average was a
    whole number before compaction was counted.
    """
    cpu = account.delays["cpu"]
    real = account.user_ns + account.system_ns
    wide = cpu.max_ns is not None
    head = f"{'CPU':<10}" if wide else f"{'CPU':<6}"
    names = ("count", "real total", "virtual total", "delay total", "delay average")
    yield head + "".join(f"{name:>15}" for name in names) + _more_names(cpu)
    numbers = (cpu.count, real, account.virtual_ns, cpu.total_ns)
    yield (
        " " * len(head)
        + "".join(f"{number:>15}" for number in numbers)
        + f"{cpu.mean_ns / 1e6:15.3f}ms"
        + _more(cpu)
    )
    for cause in CAUSES:
        delay = account.delays.get(cause)
        if cause in _HEADINGS and delay is not None:
            yield from _delay_lines(_HEADINGS[cause], delay, "compact" in account.delays)


def _delay_lines(heading: str, delay: Delay, exact: bool) -> Iterator[str]:
    if delay.max_ns is not None:
        head, first = f"{heading:<10}", 15
    elif len(heading) <= 4:
        head, first = f"{heading:<6}", 15
    else:
        head, first = f"{heading:<9}", 12
    yield f"{head}{'count':>{first}}{'delay total':>15}{'delay average':>15}" + _more_names(delay)
    mean = f"{delay.mean_ns / 1e6:15.3f}" if exact else f"{_whole_mean(delay):15}"
    indent = 10 if delay.max_ns is not None else 6
    yield f"{'':{indent}}{delay.count:15}{delay.total_ns:15}{mean}ms" + _more(delay)


def _whole_mean(delay: Delay) -> int:
    return delay.total_ns // 1_000_000 // max(delay.count, 1)


def _more_names(delay: Delay) -> str:
    if delay.max_ns is None:
        return ""
    names = f"{'delay max':>15}{'delay min':>15}"
    return names if delay.max_at is None else f"{names}{'delay max timestamp':>25}"


def _more(delay: Delay) -> str:
    if delay.max_ns is None:
        return ""
    shown = f"{delay.max_ns / 1e6:13.6f}ms{(delay.min_ns or 0) / 1e6:13.6f}ms"
    return shown if delay.max_at is None else f"{shown}{_time(delay.max_at):>23}"


def _time(seconds: int) -> str:
    """In UTC, where getdelays takes the zone of whoever reads."""
    if not 0 < seconds < 1 << 36:
        return "N/A"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def schedstat_lines(found: Schedstat) -> Iterator[str]:
    """/proc/schedstat"""
    yield f"version {found.version}"
    yield f"timestamp {found.jiffies}"
    for cpu in found.cpus:
        first, *rest = cpu.counts
        yield f"cpu{cpu.cpu} {first} 0 " + " ".join(map(str, rest))
        for number, domain in enumerate(cpu.domains):
            yield f"domain{number} {_domain(domain, found)}"


def _domain(domain: Domain, found: Schedstat) -> str:
    named = f"{domain.name} " if found.version >= 17 else ""
    counts = " ".join(map(str, domain.counts))
    return f"{named}{cpu_mask(domain.cpus, found.cpu_ids)} {counts}"


def cpu_mask(cpus: tuple[int, ...], cpu_ids: int) -> str:
    """``%*pb``: words of 32 bits in hexadecimal, the highest first, with commas."""
    mask = sum(1 << cpu for cpu in cpus)
    top = cpu_ids % 32 or 32
    words: list[str] = []
    for word in range((cpu_ids + 31) // 32 - 1, -1, -1):
        bits = 32 if words else top
        words.append(f"{mask >> 32 * word & 0xFFFFFFFF:0{(bits + 3) // 4}x}")
    return ",".join(words)
