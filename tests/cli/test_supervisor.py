"""What would end a process does not end an analysis."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from postmortem.cli import supervisor
from postmortem.steps import State

LOG = (
    "[    1.000000] Linux version 6.1.0-acme (acme@acme) #1 SMP\n"
    "[   42.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
    "[   42.000001] #PF: supervisor read access in kernel mode\n"
    "[   42.000002] #PF: error_code(0x0000) - not-present page\n"
    "[   42.000003] Oops: 0000 [#1] PREEMPT SMP\n"
    "[   42.000004] CPU: 1 PID: 99 Comm: acme Not tainted 6.1.0-acme #1\n"
    "[   42.000005] RIP: 0010:acme_poke+0x5/0x10 [acme]\n"
    "[   42.000006] Call Trace:\n"
    "[   42.000007]  acme_write+0x10/0x20 [acme]\n"
    "[   42.000008]  vfs_write+0xf8/0x200\n"
    "[   42.000009] ---[ end trace 0000000000000000 ]---\n"
)
PLUGIN = """
import mmap, os, signal, sys, tempfile, time
from pathlib import Path
from postmortem.plugin import plugin

@plugin("acme")
def acme(ctx):
    "Does what a defect of a library does."
{body}
    yield from ()
"""
SHRINKS = """
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        memory[0]
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "console.log"
    path.write_text(LOG)
    return path


def command(log: Path, body: str, *more: str) -> list[str]:
    """An analysis with a plugin of this body."""
    file = log.with_name("acme.py")
    file.write_text(PLUGIN.format(body=textwrap.indent(textwrap.dedent(body), "    ")))
    python = [sys.executable, "-m", "postmortem"]
    return [*python, "analyze", "--plugin", str(file), *more, str(log)]


def analysed(log: Path, body: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = command(log, body, *more)
    return subprocess.run(
        line, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "a library crashed (SIGSEGV)"),
        ("os.abort()", "a library crashed (SIGABRT)"),
        (SHRINKS, "a part of the file could not be read any more (SIGBUS)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "as the kernel does when memory runs out"),
    ],
)
def test_a_step_that_ends_its_process_is_left_out(log: Path, body: str, says: str) -> None:
    done = analysed(log, body, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = document(done)
    assert found["verdict"]["kind"] == "null-dereference"
    [problem] = found["problems"]
    assert problem["what"] == "plugin acme"
    assert problem["why"].startswith("left out: ")
    assert says in problem["why"]


def test_what_no_attempt_gets_past_is_one_sentence(log: Path) -> None:
    file = log.with_name("acme.py")
    file.write_text("import os\nos.abort()\n")
    done = subprocess.run(
        [sys.executable, "-m", "postmortem", "analyze", "--plugin", str(file), str(log)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"postmortem: {log} can't be analysed: a library crashed")
    assert done.stderr.count("\n") == 1


def test_a_file_that_became_shorter_is_read_again(log: Path) -> None:
    body = f"""
        path = Path({str(log)!r})
        if 'Call Trace' in path.read_text():
            path.write_text(path.read_text().partition('Call Trace')[0])
            os.kill(os.getpid(), signal.SIGBUS)
        """
    found = document(analysed(log, body, "--json"))
    assert found["input"]["size"] == log.stat().st_size
    [problem] = found["problems"]
    assert problem["what"] == "input"
    assert problem["why"] == (
        f"it was read again, for it had {len(LOG)} bytes, then {log.stat().st_size}"
    )


def test_what_comes_through_a_pipe_can_not_be_read_again(log: Path) -> None:
    line = command(log, "os.abort()")[:-1]
    done = subprocess.run([*line, "-"], input=LOG, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert 'a library crashed (SIGABRT) at "plugin acme"' in done.stderr


def test_one_process_is_enough_for_finding_a_defect(log: Path) -> None:
    done = analysed(log, "os.abort()", POSTMORTEM_DEBUG="1")
    assert done.returncode == -signal.SIGABRT


def test_nothing_half_written_is_left(log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    code = (
        "import os, signal\n"
        "from postmortem import cli\n"
        "from postmortem.cli import analysing\n"
        "def show(analysis, output, form, paged):\n"
        "    with analysing.open_output(output) as file:\n"
        "        file.write('half')\n"
        "        file.flush()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "analysing._show = show\n"
        f"cli.main(['analyze', '-o', {str(folder / 'report')!r}, {str(log)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []


# --- ending it


WAITS = "Path({path!r}).write_text(str(os.getpid()))\nwhile True: time.sleep(0.05)"


def began(path: Path) -> int:
    """The process that works, once it does."""
    for _ in range(600):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError("it did not begin")


def is_running(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def gone(pid: int) -> bool:
    for _ in range(200):
        if not is_running(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_who_ends_the_waiting_process_ends_both(log: Path, number: signal.Signals) -> None:
    started = log.with_name("pid")
    line = command(log, WAITS.format(path=str(started)))
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        worker = began(started)
        assert worker != process.pid
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == 128 + number
    told = "postmortem: interrupted: plugin acme was running" if number == signal.SIGINT else ""
    assert said.strip() == told
    assert gone(worker)


def test_the_work_does_not_outlive_the_waiting_process(log: Path) -> None:
    started = log.with_name("pid")
    line = command(log, WAITS.format(path=str(started)))
    with subprocess.Popen(line) as process:
        worker = began(started)
        process.kill()
    assert gone(worker)


def test_control_c_on_a_terminal_is_told_once(log: Path) -> None:
    started = log.with_name("pid")
    line = command(log, WAITS.format(path=str(started)))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(line[0], line)
    began(started)
    os.write(terminal, b"\x03")
    said = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert said.count(b"interrupted: plugin acme was running") == 1


# --- getting on


class Clock:
    """The computing time of the process that is watched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(supervisor, "_cpu_seconds", lambda pid: self.now)


def test_a_step_that_computes_without_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stall = Clock(monkeypatch), supervisor._Stall(1)
    state = State(7, reading=True, seconds=8.0, names=("-judge", "+plugin acme"))
    said = []
    for clock.now in (0.0, 10.0, 24.0, 25.0):
        said.append(stall.found(state))
    assert said == [None, None, None, "a library computed for 24 s without an end"]
    assert not stall.blocked


def test_whoever_moves_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stall = Clock(monkeypatch), supervisor._Stall(1)
    for number in range(100):
        clock.now = 20.0 * number
        assert stall.found(State(number, reading=True, seconds=8.0, names=("+tasks",))) is None


def test_a_disk_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    stall, state = supervisor._Stall(1), State(7, reading=True, names=("-open",))
    said = [stall.found(state) for _ in range(supervisor.BLOCKED_SECONDS + 2)]
    assert said == [None] * (supervisor.BLOCKED_SECONDS + 1) + ["nothing moved for 120 s"]
    assert stall.blocked


def test_a_pipe_may_be_silent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    stall = supervisor._Stall(1)
    assert not any(stall.found(State(7)) for _ in range(1000))
