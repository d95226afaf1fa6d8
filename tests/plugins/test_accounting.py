"""The plugins delays and pressure on each committed machine."""

from __future__ import annotations

import pytest
from postmortem_plugins.delays import delays
from postmortem_plugins.pressure import pressure

from postmortem.errors import UsageError
from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.model.findings import Table, Text
from tests.conftest import Machine


def test_every_task_has_a_row(machine: Machine) -> None:
    ctx = machine.context(named=True)
    summed, by_task = (item for item in delays(ctx, each=True) if isinstance(item, Table))
    assert len(by_task.rows) == len(all_tasks(machine.prog).tasks)
    assert ("delayacct" in summed.note) == (not machine.name.startswith("5.10"))


def test_a_task_is_told_as_getdelays_tells_it(machine: Machine) -> None:
    (found,) = delays(machine.context(named=True), pid="1")
    assert isinstance(found, Text)
    assert found.lines[0] == "init (1)"
    assert found.lines[-1].startswith("cancelled_write_bytes: ")


def test_what_is_no_pid_is_refused(machine: Machine) -> None:
    with pytest.raises(UsageError, match="--pid 1-7"):
        list(delays(machine.context(named=True), pid="1-7"))


def test_pressure_as_files(machine: Machine) -> None:
    lines = [
        line for item in pressure(machine.context(named=True), proc=True) for line in item.lines
    ]
    assert lines[0] == "/proc/pressure/cpu:"
    assert all(line.startswith(("/proc/", "some avg10=", "full avg10=")) for line in lines)


@pytest.mark.parametrize("name", ["perf", "relay"])
def test_a_machine_on_which_nothing_was_open_says_so(machine: Machine, name: str) -> None:
    analysis = machine.case.run(name)
    (text,) = analysis.texts
    assert "was open when the machine died" in text.lines[0]
