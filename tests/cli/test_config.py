"""Options of every run come from a file; the command line has the last word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from postmortem import cli
from postmortem.cli import commands


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``analyze`` was asked for."""
    found: dict[str, Any] = {}

    def analyse(files: tuple[str, ...], **options: Any) -> int:
        found.update(options)
        return 0

    monkeypatch.setattr(commands, "analyse", analyse)
    return found


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "postmortem" / "config"
    file.parent.mkdir()
    return file


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(args)
    assert isinstance(left.value.code, int)
    return left.value.code


def test_nobody_is_asked_for_debug_information_unasked(config: Path, asked: dict[str, Any]) -> None:
    assert run("analyze", "vmcore") == 0
    assert asked["debuginfod"] is False


@pytest.mark.parametrize("section", ["postmortem", "analyze"])
def test_the_file_says_what_the_command_line_does_not(
    config: Path, asked: dict[str, Any], section: str
) -> None:
    config.write_text(f"[{section}]\ndebuginfod = yes\ndebug-dir = /srv/a /srv/b\n")
    assert run("analyze", "vmcore") == 0
    assert asked["debuginfod"] is True
    assert asked["debug_dirs"] == ("/srv/a", "/srv/b")


def test_the_command_line_has_the_last_word(config: Path, asked: dict[str, Any]) -> None:
    config.write_text("[postmortem]\ndebuginfod = yes\nverbose = yes\n")
    assert run("analyze", "--no-debuginfod", "vmcore") == 0
    assert (asked["debuginfod"], asked["verbose"]) == (False, True)


def test_another_command_has_options_of_its_own(config: Path, asked: dict[str, Any]) -> None:
    config.write_text("[postmortem]\ndebuginfod = yes\n[decode]\narch = arm64\n")
    assert run("plugins") == 0  # which has no --debuginfod
    assert run("analyze", "vmcore") == 0
    assert asked["debuginfod"] is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[analyze]\ndebuginfo = yes\n", "no option 'debuginfo' for [analyze]"),
        ("[postmortem]\ndebug = x\n", "no option 'debug' for [postmortem]"),
        ("debuginfod = yes\n", "can't be understood"),
        ("[analyze]\ndebuginfod = perhaps\n", "perhaps"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(
    config: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    config.write_text(text)
    assert run("analyze", "vmcore") == 2
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("postmortem: ")
    assert says in line


def test_bytes_are_no_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_bytes(b"\xff\xfe\0")
    assert run("analyze", "vmcore") == 2
    assert "is no text" in capsys.readouterr().err


def test_help_does_not_need_it(config: Path) -> None:
    config.write_text("nonsense")
    assert run("--help") == 0
