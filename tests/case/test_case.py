"""The whole way on each committed dump: the verdict must be the truth."""

from __future__ import annotations

import gc
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

import postmortem
from corpus.exam import faults
from postmortem.errors import PostmortemError, UsageError
from postmortem.kernel.cpu.cpus import Cpus
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.tasks import TaskList
from postmortem.model.findings import Confidence, Kind, Problem
from postmortem.render.json import document
from tests.conftest import DUMPS, Machine, machine_named


def said(path: Path) -> dict[str, object]:
    analysis = postmortem.open(path, debuginfod=False).analyze()
    whole = json.loads(json.dumps(document(analysis)))
    verdict = whole["verdict"]
    verdict["everything"] = json.dumps([verdict, whole["findings"]])
    return dict(verdict)


def test_dump_gives_the_true_verdict(machine: Machine) -> None:
    assert faults(machine.truth, said(machine.path), names=True) == []


def test_console_gives_the_same_verdict_as_the_dump(machine: Machine) -> None:
    log, dump = said(machine.console), said(machine.path)
    # What only memory can know, the scenario says so: a circle is no hang to a console.
    assert log["kind"] == (machine.truth.get("log") or {}).get("kind", dump["kind"])
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
        postmortem.open(path)
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
    analysis = postmortem.open(machine.path, debuginfod=False, plugin_files=plugin).analyze()
    assert any("bad" in problem.what and "no luck" in problem.why for problem in analysis.problems)
    assert analysis.verdict.kind == machine.truth["kind"]


# --- life


CALM = DUMPS / "7.2-healthy-idle.console.log"
CRASHED = next(DUMPS.glob("6.12-null-chain.vmcore*"))


def test_a_fact_is_read_once_and_its_problem_noted_once(machine: Machine) -> None:
    case = postmortem.open(machine.path, debuginfod=False)
    assert case.tasks is case.tasks
    assert case.stacks is case.stacks
    first = list(case.problems)
    case.analyze()
    assert [item for item in case.problems if item in first] == first
    assert len(set(case.problems)) == len(case.problems)


def test_a_log_has_no_memory_and_says_so() -> None:
    with postmortem.open(CALM) as case:
        assert case.dump is None
        for fact in ("prog", "tasks", "cpus", "stacks"):
            with pytest.raises(UsageError, match="is a log"):
                getattr(case, fact)


def test_lines_of_a_log_are_read_on_demand() -> None:
    with postmortem.open(CALM) as case:
        texts = [record.text for record in case.log]
        assert case.log[0].text == texts[0]
        assert len(case.log) == len(texts)
        assert any(text.startswith("Linux version ") for text in texts)


def test_a_closed_case_answers_no_more() -> None:
    with postmortem.open(CRASHED, debuginfod=False) as case:
        assert case.system.release is not None
    for ask in (case.analyze, lambda: case.prog, lambda: case.stacks):
        with pytest.raises(UsageError, match="is closed"):
            ask()


def test_closing_gives_the_files_back() -> None:
    def open_files() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    with postmortem.open(CRASHED, debuginfod=False) as case:
        case.analyze()
    before = open_files()
    for _ in range(2):
        with postmortem.open(CRASHED, debuginfod=False) as case:
            case.analyze()
    assert open_files() <= before


def test_cases_do_not_mix() -> None:
    names = ("6.12-null-chain", "7.2-healthy-idle")
    machines = [machine_named(name) for name in names]
    cases = [postmortem.open(machine.path, debuginfod=False) for machine in machines]
    for machine, case in zip(machines, cases, strict=True):
        assert case.system.release == machine.case.system.release
        assert case.analyze().verdict.kind == machine.truth["kind"]


def _document(path: str) -> str:
    """What a worker does: given a path, it answers in JSON."""
    with postmortem.open(path, debuginfod=False) as case:
        return json.dumps(document(case.analyze()))


def test_a_worker_is_given_a_path_and_answers_in_json() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answer = pool.apply(_document, (str(CRASHED),))
    analysis = postmortem.read_json(answer)
    assert analysis.verdict.kind == machine_named("6.12-null-chain").truth["kind"]


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, postmortem\n"
        "print([n for n in sys.modules if n.startswith('postmortem.') or n in ('drgn', 'click')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_log_is_judged_without_drgn() -> None:
    code = (
        "import sys, postmortem\n"
        "postmortem.open(sys.argv[1]).analyze()\n"
        "print('drgn' in sys.modules)"
    )
    path = DUMPS / "6.12-null-chain.console.log"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(UsageError, match="no option 'vmlinx'"):
        postmortem.open(CALM, vmlinx="x")


def test_a_plugin_that_is_not_there_or_can_not_run_is_an_error() -> None:
    with postmortem.open(CALM) as case:
        with pytest.raises(UsageError, match="no plugin 'nonsense'"):
            case.run("nonsense")
        with pytest.raises(UsageError, match="can't run on this input"):
            case.run("stacks")


@pytest.mark.parametrize("result", ["case", "analysis", "finding", "table"])
def test_results_show_themselves_in_a_notebook(result: str) -> None:
    case = machine_named("6.12-null-chain").case
    shown = {
        "case": case,
        "analysis": case.analyze(),
        "finding": case.analyze().findings[0],
        "table": case.run("stacks").tables[0],
    }[result]
    html = shown._repr_html_()
    assert html.startswith("<")
    assert "<html" not in html  # a piece of a page, not a page


def test_a_dump_that_is_written_to_while_it_is_read_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    with zstandard.open(machine_named("6.12-null-chain").path, "rb") as packed:
        path.write_bytes(packed.read())
    with postmortem.open(path, debuginfod=False) as case:
        case.read_facts()
        with path.open("ab") as file:
            file.write(b"more")
        analysis = case.analyze()
    assert "input" in [problem.what for problem in analysis.problems]
    # It is told all the same, but nothing is proved by memory that changes.
    assert analysis.verdict.kind is Kind.NULL_DEREFERENCE
    assert analysis.verdict.confidence is Confidence.LIKELY


def test_a_list_that_breaks_off_is_read_again_where_memory_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks = [TaskList(problems=[Problem("task list", "it breaks off")]), TaskList()]
    walk = fact(lambda prog: walks.pop(0))
    monkeypatch.setattr("postmortem.kernel.tasks.tasks.all_tasks", walk)
    with postmortem.open(machine_named("6.12-null-chain").path, debuginfod=False) as case:
        monkeypatch.setattr(case, "_moves", lambda: True)
        assert case.tasks == TaskList()
        assert walk(case.prog) == TaskList()
        assert "task list" not in [problem.what for problem in case.problems]


def test_cpus_that_are_between_two_tasks_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [Cpus((), (Problem("CPU 1", "what it ran can't be read"),)), Cpus(())]
    read = fact(lambda prog: readings.pop(0))
    monkeypatch.setattr("postmortem.kernel.cpu.cpus.all_cpus", read)
    with postmortem.open(machine_named("6.12-null-chain").path, debuginfod=False) as case:
        monkeypatch.setattr(case, "_moves", lambda: True)
        assert case.cpus == ()
        assert "CPU 1" not in [problem.what for problem in case.problems]
