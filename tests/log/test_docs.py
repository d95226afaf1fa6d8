"""The example in docs/log.md does what it says, and its table names every module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/log.md").read_text()


def test_example_prints_what_its_comments_say(capsys: pytest.CaptureFixture[str]) -> None:
    match = re.search(r"```python\n(.*?)```", TEXT, re.S)
    assert match is not None
    exec(match[1], {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"\)\s+# (.*)", match[1])


def test_every_module_is_in_the_table() -> None:
    modules = {path.name for path in (ROOT / "postmortem/log").glob("[!_]*.py")}
    assert modules - set(re.findall(r"`(\w+\.py)`", TEXT)) == set()
