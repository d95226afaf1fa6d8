"""What Tab offers."""

from pathlib import Path

import pytest

from postmortem.shell.completion import Completion
from tests.shell.conftest import Shell


@pytest.fixture
def completion(shell: Shell) -> Completion:
    return Completion(shell.session)


@pytest.mark.parametrize(
    ("text", "piece", "offer"),
    [
        ("anal", "anal", "analyze"),
        ("help loc", "loc", "lockups"),
        ("struct list_he", "list_he", "list_head"),
        ("struct task_struct.com", "task_struct.com", "task_struct.comm"),
        ("p init_task.com", "init_task.com", "init_task.comm"),
        ("p init_task.thread_info.fl", "init_task.thread_info.fl", "init_task.thread_info.flags"),
        ("dis do_ex", "do_ex", "do_exit"),
        ("p (long)jiff", "jiff", "jiffies"),
        ("dis -", "-", "-r"),
        ("bt trig", "trig", "trigger"),
        ("px init_ta", "init_ta", "init_task"),
    ],
)
def test_what_fits_is_offered(completion: Completion, text: str, piece: str, offer: str) -> None:
    found, offers = completion.offered(text)
    assert found == piece
    assert offer in offers


def test_files_are_offered_behind_a_redirection(completion: Completion, tmp_path: Path) -> None:
    (tmp_path / "stacks.txt").touch()
    assert completion.offered(f"bt > {tmp_path}/sta")[1] == [f"{tmp_path}/stacks.txt"]


def test_nothing_is_offered_for_what_nobody_has(completion: Completion) -> None:
    assert completion.offered("struct nobody_has_this")[1] == []
    assert completion.offered("p nobody.has.this")[1] == []
