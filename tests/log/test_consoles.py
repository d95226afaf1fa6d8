"""The consoles of kernels that the project really broke, against the truth of each scenario.

Judged as users do: by the verdict of ``postmortem.open(console).analyze()``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import postmortem
from corpus.kernels import KERNELS
from corpus.publish import CONSOLES
from corpus.scenarios import Truth, load
from postmortem.model.findings import Kind, Verdict
from postmortem.model.result import Analysis

SCENARIOS = load()
FILES = sorted(CONSOLES.glob("*.log"))


def truth_of(file: Path) -> Truth:
    kernel = max((name for name in KERNELS if file.stem.startswith(f"{name}-")), key=len)
    return SCENARIOS[file.stem.removeprefix(f"{kernel}-")].truth


def analysis(file: Path) -> Analysis:
    with postmortem.open(file) as case:
        return case.analyze()


def wrong(truth: Truth, said: Verdict) -> dict[str, Any]:
    """What of the verdict contradicts the truth, as far as a console can tell it."""

    def known(member: str) -> Any:
        return truth.log.get(member, getattr(truth, member))

    culprit = said.culprit
    found: dict[str, Any] = {}
    if said.kind not in {Kind(known("kind")), *map(Kind, known("also"))}:
        found["kind"] = said.kind
    if known("function") and culprit.function != known("function"):
        found["function"] = culprit.function
    if known("module") and culprit.module != known("module"):
        found["module"] = culprit.module
    comm = culprit.task.comm if culprit.task else ""
    if known("task") and not fnmatchcase(comm, known("task")):
        found["task"] = comm
    if isinstance(known("cpu"), int) and culprit.cpu not in (known("cpu"), None):
        found["cpu"] = culprit.cpu
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_console_tells_what_happened(file: Path) -> None:
    truth = truth_of(file)
    said = analysis(file)
    assert wrong(truth, said.verdict) == {}
    if truth.kind is Kind.NONE:
        assert (said.findings, said.reports, said.problems) == ((), (), ())
