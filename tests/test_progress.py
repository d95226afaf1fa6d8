"""The progress line: only on a terminal, only when it lasts."""

from __future__ import annotations

import io
import time

import pytest

from postmortem import progress
from postmortem.progress import Progress, line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.01)


def test_a_terminal_sees_the_stage_and_gets_its_line_back() -> None:
    file = Terminal()
    with Progress(file) as tell:
        tell("stacks", 1, 2)
        deadline = time.monotonic() + 5
        while "stacks" not in file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.005)
    assert "50%  stacks" in file.getvalue()
    assert file.getvalue().endswith("\r\x1b[K")


def test_a_file_sees_nothing() -> None:
    file = io.StringIO()
    with Progress(file) as tell:
        tell("stacks", 1, 2)
        time.sleep(0.03)
    assert file.getvalue() == ""


def test_what_is_quick_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 60)
    file = Terminal()
    with Progress(file) as tell:
        tell("stacks", 1, 2)
    assert file.getvalue() == ""


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (0, 0, "tasks ... (3 s)"),
        (1, 2, "[###############               ]  50%  tasks  (3 s)"),
        (9, 2, "[##############################] 100%  tasks  (3 s)"),
    ],
)
def test_the_line(done: int, total: int, expected: str) -> None:
    assert line("tasks", done, total, 3.2) == expected


def test_a_stage_can_not_inject_escapes() -> None:
    assert "\x1b" not in line("\x1b[2J", 0, 0, 0)
