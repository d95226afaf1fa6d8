"""``--json`` of commands that list."""

import json
from typing import Any

import pytest

from tests.conftest import machine_named
from tests.shell.conftest import Shell


def _document(shell: Shell, line: str) -> Any:
    document = json.loads(shell.says(line))
    assert document["schema"] == "postmortem-shell/1"
    return document["content"]


def test_tasks_are_those_of_the_machine(shell: Shell) -> None:
    (table,) = _document(shell, "ps --json")
    tasks = machine_named("6.12-null-chain").case.tasks
    assert tasks is not None
    pid, comm = table["columns"].index("PID"), table["columns"].index("COMM")
    shown = {row[pid]: row[comm].strip("[]") for row in table["rows"]}
    assert all(shown[task.pid] == task.comm for task in tasks.tasks)


@pytest.mark.parametrize("name", ["ps", "mod", "kmem -s", "files 1", "net", "irq -s", "timer",
                                  "runq", "mount", "dev", "kmem -i"])  # fmt: skip
def test_every_word_of_the_text_is_in_the_document(shell: Shell, name: str) -> None:
    whole = json.dumps(_document(shell, f"{name} --json"))
    text = shell.says(name)
    words = {word.strip('":,[]()') for line in text.splitlines()[:40] for word in line.split()}
    missing = {word for word in words if word not in whole}
    assert not missing


def test_the_log_has_its_levels(shell: Shell) -> None:
    rows = _document(shell, "log --json")
    records = machine_named("6.12-null-chain").case.log
    assert [row["level"] for row in rows] == [record.level for record in records]


def test_a_stack_is_its_frames(shell: Shell) -> None:
    (stack,) = _document(shell, "bt --json 1")
    assert (stack["pid"], stack["command"]) == (1, "init")
    assert stack["frames"][1]["function"] == "schedule"
