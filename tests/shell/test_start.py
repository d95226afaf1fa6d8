"""``postmortem shell`` as a command, without a terminal."""

import io
from pathlib import Path

import pytest

from postmortem.cli.root import run as main
from tests.conftest import machine_named

SCRIPTS = Path(__file__).with_name("scripts")
"""What guides to crash(8) let their readers run, in words of our own."""


@pytest.fixture
def dump() -> str:
    return str(machine_named("6.12-null-chain").path)


def test_lines_of_the_command_line(dump: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shell", dump, "-c", "p 1", "-c", "p 2"]) == 0
    assert capsys.readouterr().out == "1 = (int)1\n2 = (int)2\n"


def test_a_line_that_fails_is_in_the_exit_status(
    dump: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shell", dump, "-c", "nobody_has_this"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_script(dump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script"
    script.write_text("# crash -i script\np 1\nexit\np 2\n")
    assert main(["shell", dump, "-i", str(script)]) == 0
    assert capsys.readouterr().out == "1 = (int)1\n"


def test_standard_input(
    dump: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("p 1\nq\np 2\n"))
    assert main(["shell", dump]) == 0
    assert capsys.readouterr().out == "1 = (int)1\n"


def test_a_log_has_no_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = machine_named("6.12-null-chain").console
    assert main(["shell", str(log)]) == 2
    assert "is a log" in capsys.readouterr().err


def test_a_machine_that_did_not_panic_has_a_context(capsys: pytest.CaptureFixture[str]) -> None:
    healthy = str(machine_named("7.2-healthy-idle").path)
    assert main(["shell", healthy, "-c", "set"]) == 0
    assert "CPU: 0" in capsys.readouterr().out


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.crash")), ids=lambda path: path.stem)
def test_scripts_of_crash_s_users_run_unchanged(
    dump: str, script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["shell", dump, "-i", str(script)]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert len(captured.out.splitlines()) > 60
