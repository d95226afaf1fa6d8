"""A new scenario begins with stubs that load, and that the tests of the corpus accept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from corpus import new
from corpus.scenarios import FOLDER, ScenarioError, load
from postmortem.model.findings import Kind


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A copy of the corpus' sources."""
    shutil.copytree(FOLDER / "faults", tmp_path / "faults")
    for file in FOLDER.glob("*.toml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_a_fault_gets_a_file_a_row_and_its_truth(corpus: Path) -> None:
    files = new.begin(corpus, "lost-wakeup", None, Kind.HUNG_TASK, script=False)
    source = (corpus / "faults" / "lost_wakeup.c").read_text()
    assert files == [corpus / "faults" / "lost_wakeup.c", corpus / "scenarios.toml"]
    assert "static PM_FAULT void pm_lost_wakeup(void)" in source
    assert source.endswith('\t{ "lost-wakeup", pm_lost_wakeup },\n\t{ }\n};\n')
    truth = load(corpus)["lost-wakeup"].truth
    assert (truth.kind, truth.function, truth.module) == (
        Kind.HUNG_TASK, "pm_lost_wakeup", "pm_fault"
    )  # fmt: skip


def test_the_module_is_built_with_the_new_file(corpus: Path) -> None:
    new.begin(corpus, "lost-wakeup", None, Kind.HUNG_TASK, script=False)
    objects = (corpus / "faults" / "Kbuild").read_text()
    assert objects.count(" lost_wakeup.o\n") == 1
    main = (corpus / "faults" / "main.c").read_text()
    assert main.count("extern const struct pm_fault pm_lost_wakeup_faults[];\n") == 1
    assert main.count("\tpm_lost_wakeup_faults,\n};\n") == 1


def test_a_fault_of_a_family_goes_to_the_end_of_its_table(corpus: Path) -> None:
    before = (corpus / "faults" / "main.c").read_text()
    new.begin(corpus, "other-list", "slab", Kind.BUG, script=False)
    source = (corpus / "faults" / "slab.c").read_text()
    assert source.endswith('\t{ "other-list", pm_other_list },\n\t{ }\n};\n')
    assert (corpus / "faults" / "main.c").read_text() == before


def test_a_script_leaves_the_module_alone(corpus: Path) -> None:
    before = sorted((corpus / "faults").iterdir())
    assert new.begin(corpus, "full-disk", None, Kind.IO_ERROR, script=True) == [
        corpus / "scenarios.toml"
    ]
    assert sorted((corpus / "faults").iterdir()) == before
    scenario = load(corpus)["full-disk"]
    assert (scenario.fault, scenario.truth.module) == (None, None)
    assert scenario.trigger and scenario.says


@pytest.mark.parametrize("name", ["null-chain", "Upper", "a b", "-x", "../x"])
def test_a_name_that_is_taken_or_none_changes_nothing(corpus: Path, name: str) -> None:
    before = {file: file.read_bytes() for file in corpus.rglob("*") if file.is_file()}
    with pytest.raises(ScenarioError):
        new.begin(corpus, name, None, Kind.BUG, script=False)
    assert {file: file.read_bytes() for file in corpus.rglob("*") if file.is_file()} == before
