"""What is committed is whole, small enough, and has its truth beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus import truth
from corpus.kernels import KERNELS
from corpus.publish import CONSOLES, DUMPS, LIMIT_BYTES
from corpus.scenarios import load

SCENARIOS = load()
MIB = 1 << 20

DUMP_FILES = sorted(DUMPS.rglob("*.vmcore*"))
CONSOLE_FILES = sorted(CONSOLES.glob("*.log"))

every_dump = pytest.mark.parametrize("dump", DUMP_FILES, ids=lambda path: path.name)


def split_name(stem: str) -> tuple[str, str]:
    """The kernel and the scenario of a committed file."""
    kernel = max((name for name in KERNELS if stem.startswith(f"{name}-")), key=len)
    return kernel, stem.removeprefix(f"{kernel}-")


def truth_of(dump: Path) -> dict[str, object]:
    document = json.loads(dump.with_name(f"{dump.name.split('.vmcore')[0]}.truth.json").read_text())
    assert isinstance(document, dict)
    return document


def test_the_dumps_that_the_scenarios_name_are_there() -> None:
    named = {
        f"{kernel}-{scenario.name}"
        for scenario in SCENARIOS.values()
        for kernel in scenario.committed
    }
    assert {dump.name.split(".vmcore")[0] for dump in DUMP_FILES} == named


def test_all_dumps_together_stay_below_the_limit() -> None:
    assert sum(dump.stat().st_size for dump in DUMP_FILES) <= 66 * MIB


@every_dump
def test_a_dump_stays_below_the_limit(dump: Path) -> None:
    assert dump.stat().st_size <= LIMIT_BYTES


@every_dump
def test_a_dump_has_the_truth_of_its_scenario(dump: Path) -> None:
    kernel, name = split_name(dump.name.split(".vmcore")[0])
    document = truth_of(dump)
    assert (document["kernel"], document["scenario"]) == (kernel, name)
    assert document["truth"]["kind"] == SCENARIOS[name].truth.kind  # type: ignore[index]


@every_dump
def test_the_console_is_of_the_same_machine(dump: Path) -> None:
    machine = truth_of(dump)["machine"]
    text = dump.with_name(f"{dump.name.split('.vmcore')[0]}.console.log").read_text()
    assert f"Linux version {machine['release']}" in text  # type: ignore[index]


@pytest.mark.parametrize("file", CONSOLE_FILES, ids=lambda path: path.name)
def test_a_console_belongs_to_a_scenario_and_shows_it(file: Path) -> None:
    _, name = split_name(file.stem)
    truth.confirms(SCENARIOS[name], file.read_text())


def test_every_kernel_has_a_whole_healthy_boot() -> None:
    for kernel in SCENARIOS["healthy-idle"].kernels:
        assert "Linux version" in (CONSOLES / f"{kernel}-healthy-idle.log").read_text()
