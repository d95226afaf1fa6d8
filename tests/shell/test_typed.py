"""Pipes into our own commands."""

from pathlib import Path

import pytest

from postmortem.shell.line import parse
from postmortem.shell.typed import following, things
from tests.conftest import machine_named
from tests.shell.conftest import Shell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PID: 7   TASK: ff110001ff110000  CPU: 0  COMMAND: "a"\n #0 [ff22] f at ff33', 1),
        ("   PID    PPID\n>    7       1   0  ff110001ff110000  RU   0.0", 1),
        ("ff110001ff110000\n  comm = x\nff110001ff110040\nff110001ff110000", 2),
        ("nothing here", 0),
    ],
)
def test_what_a_line_is_about(text: str, expected: int) -> None:
    assert len(things(text)) == expected


@pytest.mark.parametrize("pipe", ["grep UN", "less", "sort -n | head", "mount_thing", "cat > x"])
def test_any_other_word_is_a_program(pipe: str) -> None:
    assert following(parse(f"ps | {pipe}")) is None


@pytest.mark.parametrize("pipe", ["bt", "stacks", "struct task_struct.comm", "task_struct.comm"])
def test_a_command_that_takes_things_is_fed(pipe: str) -> None:
    assert following(parse(f"ps | {pipe}")) is not None


def test_names_of_modules_through_a_list(shell: Shell) -> None:
    said = shell.says("list -H modules -o module.list | struct module.name")
    names = [item.name for item in machine_named("6.12-null-chain").case.system.modules]
    assert names
    assert all(f'"{name}"' in said for name in names)


def test_tasks_into_stacks(shell: Shell) -> None:
    said = shell.says("ps 1 | stacks")
    assert "tasks: 1" in said
    assert said.count("tasks:") == 1


def test_through_three(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "out"
    shell.says(f"foreach 1 | bt | struct task_struct.comm > {file}")
    assert 'comm = (char [16])"init"' in file.read_text()


def test_nothing_flows_out_of_nothing(shell: Shell) -> None:
    assert "nothing came out" in shell.complains("foreach ZO | bt")
    assert "is no task" in shell.complains("list -H modules -o module.list | bt")
