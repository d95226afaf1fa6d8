"""Hooks and units for unattended machines, with programs that only pretend."""

from __future__ import annotations

import os
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "contrib"
HOOK = ROOT / "kdump-utils" / "postmortem-known"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root file system with two crashes, and a chroot that does not need one."""
    for number, name in enumerate(("old", "new crash; touch pwned")):
        folder = tmp_path / "root" / "var" / "crash" / name
        folder.mkdir(parents=True)
        log = folder / "vmcore-dmesg.txt"
        log.write_text(name)
        os.utime(log, (number, number))
    program = tmp_path / "root" / "usr" / "bin" / "postmortem"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    tools = tmp_path / "tools"
    tools.mkdir()
    chroot = tools / "chroot"
    chroot.write_text(
        '#!/bin/sh\nroot=$1\nshift\necho "$@" | sed "s|^|asked: |"\nexit ${STATUS:-0}\n'
    )
    chroot.chmod(0o755)
    return tmp_path


def run(machine: Path, **environment: str) -> str:
    done = subprocess.run(
        [HOOK, "0"],
        env={
            "PATH": f"{machine / 'tools'}:{os.environ['PATH']}",
            "POSTMORTEM_ROOT": str(machine / "root"),
            **environment,
        },
        cwd=machine,
        check=True,
        timeout=60,
    )
    assert done.returncode == 0
    answers = machine / "root" / "var" / "crash" / "known.txt"
    return answers.read_text() if answers.exists() else ""


def test_the_newest_log_is_asked_about(machine: Path) -> None:
    name = "new crash; touch pwned"
    assert (
        run(machine) == f"asked: timeout 60 postmortem known /var/crash/{name}/vmcore-dmesg.txt\n"
    )
    assert not (machine / "pwned").exists()


def test_a_program_that_fails_or_lacks_does_not_keep_the_machine(machine: Path) -> None:
    run(machine, STATUS="70")
    shutil.rmtree(machine / "root" / "var" / "crash")
    assert run(machine) == ""


def test_a_root_without_the_program_is_left_alone(machine: Path) -> None:
    (machine / "root" / "usr" / "bin" / "postmortem").unlink()
    assert run(machine) == ""


def unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / name)
    return parser


@pytest.mark.parametrize("name", ["postmortem-watch.service", "postmortem-listen.service"])
def test_units_may_write_their_state_and_nothing_else(name: str) -> None:
    service = unit(f"systemd/{name}")["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["StateDirectory"].startswith("postmortem")
    assert "ReadWritePaths" not in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name", ["postmortem-watch.service", "postmortem-listen.service"])
def test_systemd_understands_the_units(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    # It also looks for the program.
    copy.write_text(
        (ROOT / "systemd" / name).read_text().replace("/usr/bin/postmortem", "/bin/true")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"{name}:" not in done.stderr


def test_the_dump_is_saved_whatever_the_hook_does() -> None:
    command = unit("kdump-tools/postmortem.conf")["Service"]["ExecStartPre"]
    assert command.startswith("-/usr/bin/timeout ")
