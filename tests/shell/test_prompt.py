"""The prompt in a terminal of its own."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
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
        self.resize(24, 80)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "postmortem", "shell", "-s",
             str(machine_named("6.12-null-chain").path)],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, start_new_session=True,
            # Its own terminal, so that Ctrl-C reaches it as a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "HOME": str(folder), "TERM": "vt100", "PAGER": str(folder / "pager"),
                 "XDG_STATE_HOME": str(folder / "state"), "PROMPT_TOOLKIT_NO_CPR": "1",
                 "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        os.close(slave)
        self._seen = ""

    def resize(self, rows: int, columns: int) -> None:
        """As when the window is made larger or smaller: the kernel tells the shell."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

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
    pager = folder / "pager"
    pager.write_text("#!/bin/sh\nexec sed 's/^/paged: /'\n")
    pager.chmod(0o755)
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


def test_long_answers_ctrl_c_history_and_another_size(terminal: Terminal) -> None:
    terminal.wait_for("cloud-amd64")
    terminal.type("struct -o task_struct\r")
    terminal.wait_for("paged: struct task_struct {")
    terminal.wait_for("paged: SIZE:")
    terminal.type("sf\r")
    terminal.wait_for("scroll: off")
    terminal.type("struct -o list_head\r")
    terminal.wait_for("struct list_head {")
    # Every word of all memory: it would print for minutes.
    terminal.type("search -m ffffffffffffffff 0\r")
    terminal.wait_for(": 0")
    terminal.type("\x03")
    terminal.wait_for("interrupted")
    terminal.resize(10, 40)
    terminal.type("p 100 + 1\r")
    terminal.wait_for("(int)101")
    terminal.type("p 200 + 2\r")
    terminal.wait_for("(int)202")
    terminal.type("\x1b[A\x1b[A\r")  # twice up: the line before the last
    terminal.wait_for("(int)101")


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
