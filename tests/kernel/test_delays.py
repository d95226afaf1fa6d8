"""Accounts of tasks: how they add up, and what a machine that kept none says."""

from __future__ import annotations

from postmortem.kernel.delays import Account, Delay, accounts
from postmortem.kernel.schedstat import schedstat
from postmortem.kernel.tasks.tasks import all_tasks
from tests.conftest import Machine


def test_accounts_add_up() -> None:
    one = Account(1, 2, 3, 4, 5, {"cpu": Delay(2, 10, 9, 1)}, {"rchar": 7})
    two = Account(
        10, 20, 30, 40, 50, {"cpu": Delay(1, 5, 5, 5), "blkio": Delay(1, 8)}, {"rchar": 1}
    )
    total = one + two
    assert (total.user_ns, total.system_ns, total.virtual_ns) == (11, 22, 33)
    assert total.delays == {"cpu": Delay(3, 15, 9, 1), "blkio": Delay(1, 8)}
    assert (total.io, total.waited_ns) == ({"rchar": 8}, 23)


def test_the_shortest_delay_is_that_of_whoever_had_one() -> None:
    """0 is the kernel's word for: there was none."""
    assert (Delay(0, 0, 0, 0) + Delay(2, 9, 6, 3)).min_ns == 3
    assert (Delay(1, 4) + Delay(1, 4)).min_ns is None


def test_a_machine_without_the_switch_names_it(machine: Machine) -> None:
    found = accounts(machine.prog)
    reason = found.why_not()
    if machine.name.startswith("5.10"):
        # delayacct_on was 1 unless nodelayacct was given, until v5.14.
        assert (found.enabled, reason) == (True, None)
        return
    assert found.enabled is False
    assert reason is not None and "delayacct" in reason
    # The run queue's delays are kept all the same, but no others.
    assert {name for one in found.each for name in one.account.delays} == {"cpu"}


def test_init_has_run_and_read(machine: Machine) -> None:
    (init,) = [one for one in accounts(machine.prog).processes if one.task.pid == 1]
    assert 0 < init.account.virtual_ns < (machine.facts["uptime_seconds"] + 120) * 1e9
    assert init.account.delays["cpu"].count >= init.account.voluntary > 0
    # The shell that is PID 1 opened and read itself.
    assert init.account.io["rchar"] > 1000


def test_no_task_is_lost(machine: Machine) -> None:
    assert len(accounts(machine.prog).each) == len(all_tasks(machine.prog).tasks)


def test_schedstat_has_all_cpus_and_the_format_of_that_kernel(machine: Machine) -> None:
    found = schedstat(machine.prog)
    assert len(found.cpus) == machine.facts["cpus"]
    # kernel/sched/stats.c of each: SCHEDSTAT_VERSION.
    versions = {"5.10": 15, "6.1": 15, "6.12": 16, "7.2": 17}
    assert found.version == versions[machine.name.partition("-")[0]]
    for cpu in found.cpus:
        assert len(cpu.domains) == 1 or found.unreadable
        assert {domain.cpus for domain in cpu.domains} <= {tuple(range(machine.facts["cpus"]))}
