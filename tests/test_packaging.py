"""What is installed is what is in the tree, and what the guides promise exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from postmortem.cli.root import cli

ROOT = Path(__file__).parents[1]


def test_every_package_is_installed() -> None:
    listed = set(
        re.findall(r'^    "(postmortem[\w.]*)",$', (ROOT / "pyproject.toml").read_text(), re.M)
    )
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "postmortem").rglob("__init__.py")
    }
    assert found | {"postmortem_plugins", "postmortem_docs"} == listed


def test_the_readme_names_commands_and_options_that_exist() -> None:
    context = click.Context(cli)
    for line in re.findall(
        r"^    .*?postmortem (\w.*?)(?: #|$)", (ROOT / "README.md").read_text(), re.M
    ):
        name, *words = line.split()
        command = cli.get_command(context, name)
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-") and word != "-"} <= known, line


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"[\w/-]+\.md\b", (ROOT / "README.md").read_text()):
        assert (ROOT / name).is_file(), name


def test_the_readme_links_every_guide() -> None:
    text = (ROOT / "README.md").read_text()
    for guide in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{guide.name})" in text, guide.name


def test_links_of_the_guides_lead_somewhere() -> None:
    for guide in [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", guide.read_text()):
            assert (guide.parent / target).exists(), f"{guide.name}: {target}"


def test_a_source_package_has_what_its_tests_read() -> None:
    """Every folder and file at the top that is not hidden is named in MANIFEST.in or packaged."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: what belongs to it is not known")
    named = set(re.findall(r"[\w.*]+", (ROOT / "MANIFEST.in").read_text()))
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    top = {name.partition("/")[0] for name in tracked if not name.startswith(".")}
    # setuptools adds these by itself.
    assert top - named <= {"LICENSE", "README.md", "pyproject.toml", "postmortem", "MANIFEST.in"}
