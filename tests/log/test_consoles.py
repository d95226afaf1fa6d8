"""The consoles of kernels that the project really broke, against the truth of each scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import postmortem
from corpus.kernels import KERNELS
from corpus.publish import CONSOLES
from corpus.scenarios import Truth, load
from postmortem.log.scan import scan_file
from postmortem.model.findings import Verdict

SCENARIOS = load()
FILES = sorted(CONSOLES.glob("*.log"))


def truth_of(file: Path) -> Truth | None:
    kernel = max((name for name in KERNELS if file.stem.startswith(f"{name}-")), key=len)
    scenario = SCENARIOS.get(file.stem.removeprefix(f"{kernel}-"))
    return scenario.truth if scenario else None


def verdict(file: Path) -> Verdict:
    """What users see."""
    return postmortem.open(file).analyze().verdict


def expected(truth: Truth) -> tuple[set[str], str | None, str | None]:
    """Kinds, function and module that the console can tell; ``None`` is not asked for."""
    kinds = {str(truth.log.get("kind", truth.kind)), *map(str, truth.log.get("also", truth.also))}
    function = truth.log.get("function", truth.function) or None
    return kinds, function, truth.log.get("module", truth.module) or None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_console_tells_what_happened(file: Path) -> None:
    truth = truth_of(file)
    if truth is None:
        pytest.skip("the scenario is not in this tree")
    kinds, function, module = expected(truth)
    said = verdict(file)
    assert str(said.kind) in kinds
    assert function is None or said.culprit.function == function
    assert module is None or said.culprit.module == module


@pytest.mark.parametrize(
    "file", [file for file in FILES if re.search("healthy", file.stem)], ids=lambda file: file.stem
)
def test_whole_boot_of_a_healthy_machine_is_silent(file: Path) -> None:
    assert scan_file(str(file)).reports == []
