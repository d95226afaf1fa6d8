"""Every committed dump against its ledger: what is known of it, what not, and why."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from postmortem.kernel.locking.waits import waits
from postmortem.model.report import Report
from tests.case.ledger import FACTS, LOCKS, unknown
from tests.conftest import Machine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEDGER = tomllib.loads((Path(__file__).parent / "ledger.toml").read_text())


def expected(machine: Machine, name: str) -> Any:
    """An entry of the ledger; lists of [every] and of the machine add up."""
    every, own = LEDGER["every"].get(name), LEDGER[machine.name].get(name)
    if isinstance(every, list):
        return every + (own or [])
    return every if own is None else own


def test_no_fact_is_unknown_but_those_of_the_ledger(machine: Machine) -> None:
    facts = {name: read(machine) for name, read in FACTS.items() if name != "report"}
    found = {path for name, fact in facts.items() for path in unknown(fact, name)}
    assert found == set(expected(machine, "unknown"))


def test_no_list_of_facts_is_empty_but_those_of_the_ledger(machine: Machine) -> None:
    facts = {name: read(machine) for name, read in FACTS.items()}
    lists = {name: fact for name, fact in facts.items() if isinstance(fact, (list, tuple))}
    assert {name for name, fact in lists.items() if not fact} == set(expected(machine, "empty"))


def test_problems_are_exactly_those_of_the_ledger(machine: Machine) -> None:
    found = [f"{problem.what}: {problem.why}" for problem in machine.case.analyze().problems]
    wanted = expected(machine, "problems")
    assert len(found) == len(wanted)
    assert all(map(str.startswith, found, wanted))


def test_every_sleeping_task_waits_for_something(machine: Machine) -> None:
    tasks = machine.case.tasks
    assert tasks is not None
    asleep = {task.address for task in tasks.tasks if task.state != "R"}
    found = waits(machine.prog).by_task
    assert len(asleep - found.keys()) == expected(machine, "unread")
    locks = Counter(str(wait.kind) for wait in found.values() if wait.kind in LOCKS)
    assert locks == expected(machine, "waits")
    assert all(wait.address and wait.name for wait in found.values() if wait.kind in LOCKS)


def test_every_cpu_has_a_stack_of_named_functions(machine: Machine) -> None:
    for cpu in machine.case.cpus:
        assert cpu.note == ""
        assert len(cpu.frames) >= 4
        assert all(frame.function for frame in cpu.frames)


def test_reports_are_those_of_the_console(machine: Machine) -> None:
    reports = machine.case.reports
    assert [str(report.kind) for report in reports] == expected(machine, "reports")
    for report in reports[:1]:
        assert _printed(report) == expected(machine, "first")


def _printed(report: Report) -> dict[str, Any]:
    """What a console prints of a report, without what it does not."""
    task, pc = report.task, report.pc
    values = {
        "panic": report.panic,
        "pc": f"{pc.function}+{pc.offset:#x}/{pc.size:#x} [{pc.module}]" if pc else None,
        "fault_address": report.fault_address,
        "rax": report.registers.get("rax"),
        "rcx": report.registers.get("rcx"),
        "pid": task.pid if task else None,
        "comm": task.comm if task else None,
        "cpu": report.cpu,
        "taint": report.taint,
    }
    return {name: value for name, value in values.items() if value is not None}
