"""The prompt in a terminal of its own."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postmortem.shell.prompt import run_rc
from tests.conftest import machine_named
from tests.shell.conftest import Shell

PATIENCE = 60
"""Seconds, on a machine that is busy with other tests."""


class Terminal:
    """A shell at a pseudo terminal."""

    def __init__(self, folder: Path) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "postmortem", "shell", "-s",
             str(machine_named("6.12-null-chain").path)],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, start_new_session=True,
            env={**os.environ, "HOME": str(folder), "TERM": "vt100", "PAGER": "cat",
                 "XDG_STATE_HOME": str(folder / "state"), "PROMPT_TOOLKIT_NO_CPR": "1",
                 "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        os.close(slave)
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until ``text`` appears behind what was waited for before."""
        end = time.monotonic() + PATIENCE
        while text not in self._seen:
            assert time.monotonic() < end, f"no {text!r} in {self._seen[-500:]!r}"
            if select.select([self._master], [], [], 1)[0]:
                self._seen += os.read(self._master, 1 << 16).decode(errors="replace")
        self._seen = self._seen.split(text, 1)[1]

    def end(self) -> int:
        status = self._process.wait(PATIENCE)
        os.close(self._master)
        return status

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    (folder / ".crashrc").write_text("alias answer p 42\n")
    shell = Terminal(folder)
    yield shell
    shell.kill()


def test_a_session_from_the_prompt_to_its_end(terminal: Terminal, folder: Path) -> None:
    terminal.wait_for("cloud-amd64")
    terminal.type("p 40 + 1\r")
    terminal.wait_for("(int)41")
    terminal.type("answer\r")  # of the user's own .crashrc
    terminal.wait_for("(int)42")
    terminal.type("struct task_str\t")  # completed
    terminal.wait_for("uct")
    terminal.type("\x03")  # Ctrl-C empties the line
    terminal.type("p 40 + 3\r")
    terminal.wait_for("(int)43")
    terminal.type("exit\r")
    assert terminal.end() == 0
    assert "p 40 + 1" in (folder / "state/postmortem/shell_history").read_text()


def test_the_folder_s_own_rc_is_named_and_not_run(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".crashrc").write_text("p 42\n")
    home = folder / "home"
    home.mkdir()
    (home / ".crashrc").write_text("p 1\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    run_rc(shell.session)
    captured = capsys.readouterr()
    assert captured.out == "1 = (int)1\n"
    assert "source ./.crashrc" in captured.err
