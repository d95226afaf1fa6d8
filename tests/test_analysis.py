"""The whole way on each committed dump: the verdict must be the truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.exam import faults
from postmortem.analysis import Options, analyze
from postmortem.errors import PostmortemError
from postmortem.model.findings import Kind
from postmortem.render.json import document
from tests.conftest import Machine


def said(path: Path, plugin_files: tuple[Path, ...] = ()) -> dict[str, object]:
    analysis = analyze([path], Options(debuginfod=False, plugin_files=plugin_files))
    whole = json.loads(json.dumps(document(analysis)))
    verdict = whole["verdict"]
    verdict["everything"] = json.dumps([verdict, whole["findings"]])
    return dict(verdict)


def test_dump_gives_the_true_verdict(machine: Machine) -> None:
    assert faults(machine.truth, said(machine.path), names=True) == []


def test_console_gives_the_same_verdict_as_the_dump(machine: Machine) -> None:
    log, dump = said(machine.console), said(machine.path)
    assert log["kind"] == dump["kind"]
    assert log["signature"] == dump["signature"]
    assert log["culprit"]["function"] == dump["culprit"]["function"]  # type: ignore[index]


def test_healthy_machine_is_calm(machine: Machine) -> None:
    if machine.truth["kind"] == "none":
        verdict = said(machine.path)
        assert verdict["kind"] == Kind.NONE
        assert verdict["finding"] is None


@pytest.mark.parametrize("content", [b"", b"\x00" * 100_000, b"\x7fELF", bytes(range(256)) * 50])
def test_what_is_no_dump_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(PostmortemError) as caught:
        analyze([path])
    assert "\n" not in str(caught.value)


def test_failing_plugin_is_a_problem_and_the_report_goes_on(
    tmp_path: Path, machine: Machine
) -> None:
    plugin = tmp_path / "bad.py"
    plugin.write_text(
        "from postmortem.plugin import plugin\n"
        "@plugin('bad', needs=('log',))\n"
        "def bad(ctx):\n"
        "    '''Fails.'''\n"
        "    raise RuntimeError('no luck')\n"
        "    yield\n"
    )
    analysis = analyze([machine.path], Options(debuginfod=False, plugin_files=(plugin,)))
    assert any("bad" in problem.what and "no luck" in problem.why for problem in analysis.problems)
    assert analysis.verdict.kind == machine.truth["kind"]
