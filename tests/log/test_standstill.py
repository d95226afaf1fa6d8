"""Watchdogs that were late because the whole machine stood still."""

from __future__ import annotations

from collections.abc import Sequence

from postmortem.log.scan import scan_bytes
from postmortem.log.standstill import standstill
from postmortem.model.report import Report


def reports(*lines: str, stamp: str = "Nov 03 04:10:59 auk kernel: ") -> Sequence[Report]:
    return scan_bytes("".join(f"{stamp}{line}\n" for line in lines).encode()).reports


def lockup(cpu: int, seconds: int, place: str, comm: str = "", pid: int = 0) -> list[str]:
    name = comm or f"swapper/{cpu}"
    return [
        f"watchdog: BUG: soft lockup - CPU#{cpu} stuck for {seconds}s! [{name}:{pid}]",
        f"CPU: {cpu} PID: {pid} Comm: {name} Not tainted 5.15.0 #1",
        "Hardware name: Acme Virtual Machine/440, BIOS 1 01/01/2020",
        f"RIP: 0010:{place}+0x5/0x20",
        "RSP: 0018:ffffb23dc00afee8 EFLAGS: 00000206",
        "Call Trace:",
        " <TASK>",
        *(
            [" do_idle+0x21b/0x2a0", " cpu_startup_entry+0x26/0x30"]
            if not pid
            else [f" {place}_all+0x1/0x99", " do_syscall_64+0x1/0x99"]
        ),
        " </TASK>",
    ]


CLOCK = [
    "clocksource: timekeeping watchdog on CPU2: Marking clocksource 'tsc' as unstable:",
    "clocksource:   'hpet' wd_nsec: 412000000000 wd_now: 6d21 wd_last: 6b74 mask: ffffffff",
]
BUSY = lockup(1, 390, "auk_dive", "auk", 77)
OTHER = lockup(3, 391, "tern_dive", "tern", 78)


def test_a_log_with_only_the_loggers_clock_tells_it_too() -> None:
    found = reports(*BUSY, *lockup(3, 391, "pv_native_safe_halt"))
    assert set(standstill(found).values()) == {391.0}
    assert all("stood" in report.detail for report in found)


def test_the_watchdog_of_the_clocks_was_late_as_well() -> None:
    assert standstill(reports(*BUSY, *OTHER)) == {}  # two loops, as far as this tells
    assert len(standstill(reports(*CLOCK, *BUSY, *OTHER))) == 2


def test_none_of_them_caused_another() -> None:
    stall = [
        "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
        "rcu: \t0-...!: (2 GPs behind) idle=0b94/0/0x0 softirq=17/17 fqs=0",
        "\t(detected by 3, t=100500 jiffies, g=41, q=18)",
    ]
    found = reports(*lockup(3, 391, "native_safe_halt"), *BUSY, *stall)
    assert [report.consequence_of for report in found] == [None, None, None]


def test_a_cpu_of_which_the_watchdog_spoke_before_was_watched_all_the_time() -> None:
    first = "Nov 03 04:04:50 auk kernel: "
    early = [f"{first}{line}\n" for line in lockup(1, 22, "auk_dive", "auk", 77)]
    idle = lockup(3, 391, "native_safe_halt")
    late = [f"Nov 03 04:10:59 auk kernel: {line}\n" for line in (*BUSY, *idle)]
    assert standstill(scan_bytes("".join([*early, *late]).encode()).reports) == {}


def test_usual_lockups_in_one_moment_are_no_standstill() -> None:
    found = reports(*CLOCK, *lockup(1, 26, "auk_dive", "auk", 7), *lockup(3, 26, "default_idle"))
    assert standstill(found) == {}
