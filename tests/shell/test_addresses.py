"""Addresses in arguments, for drgn's commands. Values are those of the dump's own symbols."""

import pytest

from postmortem.errors import UsageError
from postmortem.shell.addresses import addressed
from tests.conftest import machine_named

PROG = machine_named("6.12-null-chain").prog
TASK = PROG["init_task"].address_
TASKS = PROG["init_task"].tasks.address_


@pytest.mark.parametrize(
    ("command", "given", "wanted"),
    [
        ("list", "-H init_task.tasks", f"-H {TASKS:x}"),
        ("list", "task_struct.tasks -H modules", "-o task_struct.tasks -H modules"),
        ("list", "-s task_struct.pid -H init_task.tasks", f"-s task_struct.pid -H {TASKS:x}"),
        ("rd", "(&init_task) 4", f"{TASK:x} 4"),
        ("rd", "init_task 4", "init_task 4"),
        ("rd", "(1 << 12)", "1000"),
        ("vtop", "init_task", f"{TASK:x}"),
        ("vtop", "face", "face"),
        ("struct", "task_struct.pid init_task", "task_struct.pid init_task"),
        ("struct", "task_struct (init_task.group_leader)", f"task_struct {TASK:x}"),
        ("kmem", "-s dentry", "-s dentry"),
    ],
)
def test_what_drgn_is_given(command: str, given: str, wanted: str) -> None:
    assert addressed(PROG, command, given) == wanted


def test_what_is_no_expression_is_said() -> None:
    with pytest.raises(UsageError):
        addressed(PROG, "rd", "(nobody_has_this)")
