"""The scenario file is well-formed and agrees with the fault module's sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corpus import module
from corpus.kernels import KERNELS
from corpus.scenarios import Scenario, ScenarioError, load

SCENARIOS = load()
SOURCES = "\n".join(path.read_text() for path in sorted(module.SOURCES.glob("*.c")))

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda one: one.name)


@every_scenario
def test_kernels_are_known(scenario: Scenario) -> None:
    assert set(scenario.kernels) <= set(KERNELS)


@every_scenario
def test_fault_is_offered_by_the_module(scenario: Scenario) -> None:
    if scenario.fault:
        assert f'{{ "{scenario.fault}", ' in SOURCES


@every_scenario
def test_guilty_function_is_one_that_gcc_must_keep(scenario: Scenario) -> None:
    if scenario.truth.function:
        assert re.search(rf"PM_FAULT [^(;]*\b{scenario.truth.function}\(", SOURCES)


@every_scenario
def test_a_crash_shows_on_the_console(scenario: Scenario) -> None:
    """Otherwise a capture of something else would pass for this scenario's."""
    assert scenario.truth.function or scenario.says or not scenario.truth.fatal


@every_scenario
def test_committed_captures_are_of_its_kernels(scenario: Scenario) -> None:
    assert set(scenario.committed) <= set(scenario.kernels)


def test_every_fault_of_the_module_has_a_scenario() -> None:
    offered = set(re.findall(r'\{ "([a-z-]+)", ', SOURCES))
    assert offered - {scenario.fault for scenario in SCENARIOS.values()} <= {"crowd"}


def test_the_trigger_pins_itself_before_it_breaks_anything() -> None:
    assert SCENARIOS["null-read"].script.splitlines() == [
        "taskset -p 2 $$ > /dev/null",
        "echo null-read > /proc/pm_fault",
    ]


def test_words_about_a_scenario_do_not_ask_for_a_new_capture(tmp_path: Path) -> None:
    text = '[defaults]\nkernels=["6.1"]\narguments=""\nmemory_mib=1\ncpu=1\nuntil=""\nseconds=1\n'
    text += '[a]\nabout="{}"\nfault="{}"\n[a.truth]\nkind="bug"\n'
    digests = []
    for about, fault in (("one", "bug"), ("two", "bug"), ("two", "warn")):
        (tmp_path / "scenarios.toml").write_text(text.format(about, fault))
        digests.append(load(tmp_path)["a"].digest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "wrong",
    ["fualt = 'bug'", "trigger = 'also'", "truth = {kind = 'flood'}"],
    ids=["unknown member", "fault and trigger", "unknown kind"],
)
def test_a_wrong_scenario_is_refused_by_name(tmp_path: Path, wrong: str) -> None:
    truth = "" if "truth" in wrong else "[broken.truth]\nkind = 'bug'\n"
    (tmp_path / "scenarios.toml").write_text(
        "[defaults]\nkernels=['6.1']\narguments=''\nmemory_mib=1\ncpu=1\nuntil=''\nseconds=1\n"
        f"[broken]\nabout = ''\nfault = 'bug'\n{wrong}\n{truth}"
    )
    with pytest.raises(ScenarioError, match=r"\[broken\]"):
        load(tmp_path)
