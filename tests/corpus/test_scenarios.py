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


def in_presets(tmp_path: Path, scenario: str) -> Scenario:
    (tmp_path / "presets.toml").write_text(
        '[watched]\nsays = "stuck"\nbefore = "one\\n"\nseconds = 9\n'
        '[watched.truth]\nkind = "hung-task"\nfatal = false\n'
    )
    (tmp_path / "scenarios.toml").write_text(
        "[defaults]\nkernels=['6.1']\narguments=''\nmemory_mib=1\ncpu=1\nuntil=''\nseconds=1\n"
        f"[a]\nabout = ''\n{scenario}"
    )
    return load(tmp_path)["a"]


def test_a_preset_goes_before_the_defaults_and_behind_what_is_said(tmp_path: Path) -> None:
    scenario = in_presets(tmp_path, "preset = 'watched'\nfault = 'x'\nsays = 'lost'")
    assert (scenario.seconds, scenario.says, scenario.before) == (9, "lost", "one\n")
    assert (scenario.truth.kind, scenario.truth.fatal) == ("hung-task", False)


def test_lines_and_truth_are_added_to_those_of_a_preset(tmp_path: Path) -> None:
    scenario = in_presets(
        tmp_path,
        "preset = ['watched']\nfault = 'x'\nbefore = 'two'\n[a.truth]\nfatal = true\ncpu = 3",
    )
    assert scenario.before == "one\ntwo"
    assert (scenario.truth.kind, scenario.truth.fatal, scenario.truth.cpu) == ("hung-task", True, 3)


def test_a_preset_that_there_is_not_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"\[a\].*wached"):
        in_presets(tmp_path, "preset = 'wached'\nfault = 'x'")


def test_the_module_is_guilty_of_its_faults_unless_said_otherwise(tmp_path: Path) -> None:
    for given, guilty in (("fault = 'x'", "pm_fault"), ("trigger = 'x'", None),
                          ("fault = 'x'\n[a.truth]\nmodule = ''", None)):  # fmt: skip
        assert in_presets(tmp_path, f"preset = 'watched'\n{given}").truth.module == guilty
