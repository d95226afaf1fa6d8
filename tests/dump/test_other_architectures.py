"""Dumps of machines whose types are not read yet: the log is, and a verdict from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import postmortem

PAGES = Path(__file__).resolve().parents[2] / "corpus" / "log-pages"
ARM = PAGES / "6.12-arm64-oom-user.vmcore.zst"
CONSOLE = PAGES / "6.12-arm64-oom-user.console.log"


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "postmortem", *words, str(ARM)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_log_is_what_the_machine_printed() -> None:
    done = ask("dmesg")
    printed = CONSOLE.read_text().splitlines()
    ours = done.stdout.splitlines()
    # A console is given no message of level debug.
    quiet = {f"[{r.time:12.6f}] {r.text}" for r in postmortem.open(ARM).log if r.level == 7}
    assert len(printed) > 300
    assert [line for line in ours if line not in quiet] == printed


def test_the_verdict_is_that_of_the_log() -> None:
    done = ask("analyze", "--json")
    document = json.loads(done.stdout)
    assert document["verdict"]["kind"] == "oom"
    assert "tail" in document["verdict"]["title"] + document["verdict"]["summary"]
    assert document["verdict"]["confidence"] != "certain"
    assert [problem["what"] for problem in document["problems"]] == ["symbols, types"]


@pytest.mark.parametrize("words", [["locks"], ["stacks"], ["memory"], ["sysrq", "m"]])
def test_what_needs_types_says_so(words: list[str]) -> None:
    done = ask(*words)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "types" in said or "can't be read" in said
