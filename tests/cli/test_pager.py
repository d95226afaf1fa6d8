"""When a long report goes through a pager, and how."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from postmortem.cli import pager

LOG = """\
[   10.000000] BUG: kernel NULL pointer dereference, address: 0000000000000010
[   10.000001] RIP: 0010:acme_poke+0x10/0x20 [acme]
"""


def on_terminal(tmp_path: Path, *args: str, **variables: str) -> str:
    """What a run shows whose standard output is a terminal."""
    log = tmp_path / "console.log"
    log.write_text(LOG)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **variables}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "postmortem", "analyze", str(log), *args],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 1 << 16):
                shown += piece
        except OSError:  # the other end is closed: that is the end of a terminal
            pass
        os.close(ours)
        assert process.wait() in (0, 1)
    return shown.decode()


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "page it"
    file.write_text('#!/bin/sh\necho "PAGED with LESS=$LESS"\ncat\n')
    file.chmod(0o755)
    return f"'{file}'"


def test_the_whole_report_goes_through_the_pager(tmp_path: Path, script: str) -> None:
    shown = on_terminal(tmp_path, "-v", PAGER=script, LESS="R")
    assert shown.startswith("PAGED with LESS=R\r\n")
    assert "\x1b[1;31mBUG: unable to handle kernel NULL pointer dereference" in shown


@pytest.mark.parametrize("args", [[], ["-v", "--no-pager"], ["-v", "--json"]], ids=str)
def test_the_rest_does_not(args: list[str], tmp_path: Path, script: str) -> None:
    shown = on_terminal(tmp_path, *args, PAGER=script)
    assert "PAGED" not in shown
    assert "acme_poke" in shown


@pytest.mark.parametrize("value", ["", "cat", "no-such-program-anywhere", "less '"])
def test_without_a_pager_it_is_printed(value: str, tmp_path: Path) -> None:
    assert "acme_poke" in on_terminal(tmp_path, "-v", PAGER=value)


def test_a_reader_may_leave_before_the_end(tmp_path: Path) -> None:
    assert on_terminal(tmp_path, "-v", PAGER="true") == ""


def test_a_file_is_never_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PAGER", "less")
    assert pager.command() is None
