"""The listing of all stacks, and its drawings, on each committed machine."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from postmortem_plugins.stacks import stacks

from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.model.findings import Block, Export, Table
from postmortem.render.exports import draw
from tests.conftest import Machine


def test_every_task_is_in_a_group_and_in_the_drawing(machine: Machine) -> None:
    ctx = machine.context(named=True)
    found = list(stacks(ctx))
    (table,) = [item for item in found if isinstance(item, Table)]
    blocks = [item for item in found if isinstance(item, Block)]
    exports = {item.suffix: draw(item) for item in found if isinstance(item, Export)}
    tasks = len(all_tasks(machine.prog).tasks)
    counted = sum(int(row[0] or 0) for row in table.rows)
    # Idle tasks of idle CPUs are on no task list.
    assert tasks <= counted <= tasks + machine.facts["cpus"]
    assert len(blocks) == len(table.rows)
    folded = exports["folded"].splitlines()
    assert sum(int(line.rpartition(" ")[2]) for line in folded) == counted
    assert f"all: {counted} tasks" in exports["svg"]
    ET.fromstring(exports["svg"])


def test_kernel_threads_rest_where_the_kernel_s_source_says(machine: Machine) -> None:
    """kthreadd() sleeps in schedule(), a rescuer in rescuer_thread(): of every kernel."""
    ctx = machine.context()
    stacks_of = {
        item.title: "\n".join(item.lines) for item in stacks(ctx) if isinstance(item, Block)
    }
    (kthreadd,) = [text for title, text in stacks_of.items() if re.search(r"\bkthreadd\b", title)]
    assert re.search(r"schedule\S*\n.*kthreadd\+", kthreadd)


def _counts(found: list[Table | Block | Export]) -> tuple[int, set[str]]:
    """How many tasks a table lists, and in which states they are."""
    (table,) = [item for item in found if isinstance(item, Table)]
    letters = {state[0] for row in table.rows for state in str(row[1]).split()}
    return sum(int(row[0] or 0) for row in table.rows), letters


def test_options_leave_out_the_stacks_that_nobody_asked_for(machine: Machine) -> None:
    ctx = machine.context()
    tasks = all_tasks(machine.prog).tasks
    sleeping = sum(task.state == "S" for task in tasks)
    assert _counts(list(stacks(ctx, state="S"))) == (sleeping, {"S"})
    threads = _counts(list(stacks(ctx, function="kthread*")))[0]
    assert 0 < threads < len(tasks)
    assert _counts(list(stacks(ctx, module="acme_absent")))[0] == 0
    # The same by its name, as the command line and a program call it.
    (table,) = [t for t in machine.case.run("stacks", state="S").tables if t.rows]
    assert sum(int(row[0] or 0) for row in table.rows) == sleeping


def test_json_names_every_task(machine: Machine) -> None:
    listed = [
        int(pid)
        for item in stacks(machine.context())
        if isinstance(item, Block)
        for pid in item.lines[0].removeprefix("tasks: ").split(", ")
    ]
    assert {task.pid for task in all_tasks(machine.prog).tasks} <= set(listed)
