"""Guides, manual page and completion, which come along for a machine without network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from postmortem import cli
from postmortem.cli.root import cli as root

ROOT = Path(__file__).parents[2]


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(args)
    assert isinstance(left.value.code, int)
    return left.value.code


def test_every_guide_comes_along(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("guide") == 0
    names = capsys.readouterr().out.split()
    assert names == [*sorted(path.stem for path in (ROOT / "docs").glob("*.md")), "schema"]
    assert run("guide", "json") == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "json.md").read_text()
    assert run("guide", "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"]


def test_a_guide_that_is_not_there_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("guide", "cooking") == 2
    assert "verdict" in capsys.readouterr().err


def test_the_manual_has_every_command_option_and_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("man") == 0
    page = capsys.readouterr().out
    context = click.Context(root)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        assert f"\n.SS {name}\n" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0].replace("-", "\\-") in page, (name, parameter.opts)
    for status in ("0", "1", "2", "3", "4", "70"):
        assert f"\n.B {status}\n" in page


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_the_page_without_a_complaint(tmp_path: Path) -> None:
    page = subprocess.run(
        [sys.executable, "-m", "postmortem", "man"], capture_output=True, check=True
    ).stdout
    file = tmp_path / "postmortem.1"
    file.write_bytes(page)
    done = subprocess.run(
        ["man", "--warnings", "-l", str(file)],
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "--debuginfod" in done.stdout


# --- completion, as a shell asks for it


def completed(words: str, number: int) -> list[tuple[str, str]]:
    """``(type, value)`` of what completes word ``number`` of a command line, as bash asks."""
    env = {**os.environ, "_POSTMORTEM_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "from postmortem.cli import main; main()"],
        env={**env, "COMP_WORDS": words, "COMP_CWORD": str(number)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]  # type: ignore[misc]


def test_commands_and_options_are_completed() -> None:
    assert ("plain", "analyze") in completed("postmortem an", 1)
    assert ("plain", "--debuginfod") in completed("postmortem analyze --debug", 2)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("postmortem analyze vm", "file"),
        ("postmortem hung vm", "file"),
        ("postmortem log a.log b", "file"),
        ("postmortem decode tr", "file"),
        ("postmortem dmesg vm", "file"),
        ("postmortem analyze --vmlinux vm", "file"),
        ("postmortem analyze -o rep", "file"),
        ("postmortem analyze --debug-dir usr", "dir"),
    ],
)
def test_files_are_left_to_the_shell(words: str, kind: str) -> None:
    number = len(words.split()) - 1
    assert [found[0] for found in completed(words, number)] == [kind]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_understands(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "postmortem", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_POSTMORTEM_COMPLETE" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        file = tmp_path / "script"
        file.write_text(done.stdout)
        assert subprocess.run([program, "-n", str(file)], check=False).returncode == 0


def test_bash_completes_a_file_of_the_folder(tmp_path: Path) -> None:
    """As a user's bash does it: load the script, call its function, look at COMPREPLY."""
    program = tmp_path / "postmortem"
    program.write_text(
        f"#!{sys.executable}\nfrom postmortem.cli import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    script = (
        "source <(postmortem completion bash)\n"
        "complete -p postmortem >/dev/null || exit 1\n"
        "COMP_WORDS=(postmortem analyze vm) COMP_CWORD=2\n"
        'compopt() { echo compopt "$@"; }\n'
        "_postmortem_completion postmortem\n"
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=env, capture_output=True, text=True, check=True
    )
    # "default" is bash's own completion of file names.
    assert done.stdout.strip() == "compopt -o default"
