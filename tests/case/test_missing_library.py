"""A Python library that is not installed costs what needs it, and the reader is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import postmortem
from postmortem.case.attempt import say_missing
from postmortem.cli.root import run
from postmortem.errors import missing_library
from postmortem.model.findings import Confidence
from postmortem.model.problems import Problems

OOPS = """\
[    9.000000] BUG: kernel NULL pointer dereference, address: 0000000000000018
[    9.000001] Oops: 0000 [#1] PREEMPT SMP NOPTI
[    9.000002] CPU: 5 PID: 700 Comm: zorbd Not tainted 6.9.0 #1
[    9.000003] RIP: 0010:zorb_peek+0x17/0x40 [zorb]
[    9.000004] Code: 55 48 89 e5 48 8b 47 10 <48> 8b 40 18 5d c3
[    9.000005] Call Trace:
[    9.000006]  zorb_read+0x2b/0x70 [zorb]
[    9.000007] ---[ end trace 0000000000000000 ]---
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "console.log"
    path.write_text(OOPS)
    return path


def test_without_the_disassembler_the_rest_is_told_and_less_sure(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = postmortem.open(log).analyze()
    assert (whole.verdict.confidence, len(whole.problems)) == (Confidence.CERTAIN, 0)
    monkeypatch.setitem(sys.modules, "capstone", None)
    found = postmortem.open(log).analyze()
    assert found.verdict.culprit.function == "zorb_peek"
    assert found.verdict.confidence is Confidence.LIKELY
    (problem,) = found.problems
    assert problem.what == "library capstone"
    assert "pip install capstone" in problem.why


def test_the_first_screen_says_so(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    assert run(["analyze", str(log)]) == 1
    assert "Less sure: the Python library capstone is not installed" in capsys.readouterr().out


def test_an_input_that_needs_it_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "console.log.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58\x51\x00\x00" + b"some words")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert run(["analyze", str(path)]) == 4
    error = capsys.readouterr().err
    assert "zstandard is not installed (pip install zstandard)" in error
    assert error.count("\n") == 1


def test_a_module_of_ours_that_is_missing_is_a_defect() -> None:
    assert missing_library(ImportError("x", name="postmortem.nowhere")) is None
    assert missing_library(ImportError("x")) is None
    assert missing_library(ValueError("x")) is None
    assert missing_library(ImportError("x", name="capstone.x86")) == "capstone"


def test_it_is_said_once() -> None:
    problems = Problems()
    error = ModuleNotFoundError("x", name="capstone")
    assert say_missing(problems, "disassembly", error)
    assert say_missing(problems, "operands", error)
    assert len(problems) == 1
