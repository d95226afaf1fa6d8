"""Discovery of plugins, what happens when one fails, and the guide's examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import postmortem
from postmortem.cli.commands import BUILT_IN
from postmortem.cli.root import LATER
from postmortem.cli.shipped import SHIPPED
from postmortem.errors import UsageError
from postmortem.judge.verdict import diagnose
from postmortem.model.findings import Block, Confidence, Finding, Kind, Problem, Severity, Table
from postmortem.model.report import Record
from postmortem.model.result import Input, System
from postmortem.plugin import Context, Plugin, Result, Rule, discover, option, plugin, run_plugin
from postmortem.plugin.discovery import COMMANDS
from postmortem.render.text import verdict_style

(DUMP,) = (Path(__file__).parents[2] / "corpus" / "dumps").glob("7.2-healthy-idle.vmcore*")
GUIDE = Path(__file__).parents[2] / "docs" / "plugins.md"

TINY = """
from postmortem.model.findings import Block
from postmortem.plugin import plugin

@plugin("{name}")
def tiny(ctx):
    '''Does next to nothing.

    More about it.'''
    yield Block("tiny", ("line",))
"""


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No plugins of the user who runs the tests."""
    config = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    return config


def context(*texts: str) -> Context:
    records = tuple(Record(line, text) for line, text in enumerate(texts, 1))
    return Context.given(Input("console.log", "log", "kernel log", 1, True), System(), records)


def write_plugin(path: Path, name: str = "tiny") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TINY.format(name=name))
    return path


# --- discovery


def test_a_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    found, problems = discover([write_plugin(tmp_path / "mine.py")])
    (item,) = [p for p in found if p.name == "tiny"]
    assert (item.needs, item.summary) == (("log",), "Does next to nothing.")
    assert item.origin == str(tmp_path / "mine.py")
    assert problems == []


def test_the_users_folder_is_searched(empty_home: Path) -> None:
    write_plugin(empty_home / "postmortem" / "plugins" / "mine.py", "from-home")
    assert "from-home" in {p.name for p in discover()[0]}


def test_an_entry_point_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "their_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[postmortem.plugins]\ntheirs = their_module\n")
    write_plugin(tmp_path / "their_module.py", "elsewhere")
    monkeypatch.syspath_prepend(tmp_path)
    (item,) = [p for p in discover()[0] if p.name == "elsewhere"]
    assert item.origin == "entry point theirs"


def test_a_broken_plugin_of_the_user_is_a_problem_and_no_more(empty_home: Path) -> None:
    folder = empty_home / "postmortem" / "plugins"
    write_plugin(folder / "good.py", "good")
    (folder / "bad.py").write_text("import nothing_of_this_name")
    found, problems = discover()
    assert "good" in {p.name for p in found}
    (problem,) = problems
    assert "bad.py" in problem.what
    assert "nothing_of_this_name" in problem.why


def test_two_of_one_name_are_told(empty_home: Path) -> None:
    folder = empty_home / "postmortem" / "plugins"
    write_plugin(folder / "one.py", "same")
    write_plugin(folder / "two.py", "same")
    found, problems = discover()
    assert [p.name for p in found].count("same") == 1
    assert "the name same is taken" in problems[0].why


@pytest.mark.parametrize("text", ["x = 1", "raise ValueError('no')", "syntax error here"])
def test_a_named_file_without_a_plugin_is_an_error_of_the_user(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.py"):
        discover([file])


def test_a_missing_file_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent"):
        discover([tmp_path / "absent.py"])


# --- running


def test_what_a_plugin_yielded_before_it_failed_is_kept() -> None:
    @plugin("fails")
    def fails(ctx: Context) -> Iterator[Result]:
        yield Block("kept", ())
        raise KeyError("task_struct")

    ctx = context("x")
    (result,) = run_plugin(fails.__postmortem_plugin__, ctx)  # type: ignore[attr-defined]
    assert result == Block("kept", ())
    assert ctx.problems == [Problem("plugin fails", "KeyError: 'task_struct'")]


def test_a_need_says_why_it_is_not_met() -> None:
    assert context().lacks("dump") == "the input is a log, not a dump"
    assert context().lacks("log") is None
    mute = Context.given(Input("vmcore", "vmcore", "ELF vmcore", 1, True), System())
    assert mute.lacks("log") == "there is no kernel log"


def test_an_unknown_need_is_refused() -> None:
    with pytest.raises(ValueError, match="moon"):
        plugin("x", needs=("moon",))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("yield 'text'", "it yielded a str, which nothing can show"),
        ("yield Block('kept', ()); sys.exit(0)", "it called sys.exit(0)"),
    ],
)
def test_a_plugin_that_misbehaves_is_a_problem_that_is_said(
    tmp_path: Path, body: str, why: str
) -> None:
    item = _written(tmp_path, body)
    ctx = context("x")
    run_plugin(item, ctx)
    assert ctx.problems == [Problem("plugin bad", why)]


def test_what_a_plugin_prints_is_not_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_plugin(_written(tmp_path, "print('noise'); yield Block('b', ())"), context("x"))
    assert capsys.readouterr() == ("", "noise\n")


def test_an_interrupt_names_the_plugin(tmp_path: Path) -> None:
    item = _written(tmp_path, "raise KeyboardInterrupt; yield")
    with pytest.raises(KeyboardInterrupt, match="plugin bad"):
        run_plugin(item, context("x"))


def _written(folder: Path, body: str) -> Plugin:
    file = folder / "bad.py"
    file.write_text(
        "import sys\n"
        "from postmortem.model.findings import Block\n"
        "from postmortem.plugin import plugin\n"
        f"@plugin('bad')\ndef bad(ctx):\n    {body}\n"
    )
    return next(item for item in discover([file])[0] if item.name == "bad")


@pytest.mark.parametrize("name", ["oops", "hung", "analyze", "plugins"])
def test_a_name_of_ours_can_not_be_taken(tmp_path: Path, empty_home: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"the name {name} is taken"):
        discover([write_plugin(tmp_path / "mine.py", name)])
    write_plugin(empty_home / "postmortem" / "plugins" / "mine.py", name)
    found, problems = discover()
    assert not [p for p in found if p.origin.endswith("mine.py")]
    assert f"the name {name} is taken" in problems[0].why


def test_names_that_no_plugin_can_have_are_the_commands() -> None:
    assert {*(command.name for command in (*BUILT_IN, *SHIPPED)), *LATER} == set(COMMANDS)


def test_a_file_that_was_asked_for_goes_before_what_was_found(
    tmp_path: Path, empty_home: Path
) -> None:
    write_plugin(empty_home / "postmortem" / "plugins" / "mine.py", "same")
    found, problems = discover([write_plugin(tmp_path / "asked.py", "same")])
    assert [p.origin for p in found if p.name == "same"] == [str(tmp_path / "asked.py")]
    assert "gives way" in problems[0].why


# --- options


def test_an_option_must_be_a_keyword_of_the_function() -> None:
    with pytest.raises(ValueError, match="takes no 'size'"):

        @plugin("x", options=(option("--size", type=int),))
        def without(ctx: Context) -> Iterator[Result]:
            yield Block("x", ())


@pytest.mark.parametrize("flag", ["--json", "--vmlinux", "size", "--a b"])
def test_an_option_can_not_be_called_just_anything(flag: str) -> None:
    with pytest.raises(ValueError, match="option"):
        option(flag)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [(float, "2", 2.0), (float, 2, 2.0), (int, "7", 7), (Path, "/x", Path("/x")), (str, "a", "a")],
)
def test_a_value_becomes_what_was_declared(kind: type, given: object, value: object) -> None:
    found = option("--it", type=kind).value(given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("kind", "given"), [(int, "x"), (int, True), (bool, "yes"), (float, [])])
def test_a_value_that_is_none_is_refused(kind: type, given: object) -> None:
    with pytest.raises(UsageError, match="--it takes"):
        option("--it", type=kind).value(given)


# --- kind none


def test_a_fatal_finding_of_no_kind_is_not_calm() -> None:
    fatal = Finding("x-1", Kind.NONE, Severity.FATAL, Confidence.CERTAIN, "it broke", "It broke.")
    _, verdict = diagnose([fatal], context("x"))
    assert not verdict.is_calm
    assert verdict_style(verdict) == "bad"
    assert diagnose([], context("x"))[1].is_calm


# --- causes


def test_a_rule_of_a_plugin_links_findings_that_ours_do_not() -> None:
    disk = Finding("a", Kind.IO_ERROR, Severity.ERROR, Confidence.CERTAIN, "disk", "", log_line=1)
    check = Finding(
        "b", Kind.MACHINE_CHECK, Severity.FATAL, Confidence.CERTAIN, "mce", "", log_line=9
    )
    ctx = context("x")
    assert diagnose([disk, check], ctx)[1].finding == "b"
    kinds = (frozenset({Kind.IO_ERROR}), frozenset({Kind.MACHINE_CHECK}))
    ctx.causes = (Rule("ours", *kinds, "the disk had failed ({cause})"),)
    findings, verdict = diagnose([disk, check], ctx)
    assert verdict.finding == "a"
    assert "the disk had failed (disk)" in [e.what for f in findings for e in f.evidence]


def test_the_guides_example_of_a_cause_is_declared(tmp_path: Path) -> None:
    file = tmp_path / "watchdog.py"
    file.write_text(examples()[3])
    (item,) = [p for p in discover([file])[0] if p.name == "watchdog"]
    assert [rule.name for rule in item.causes] == ["a dying disk starves the watchdog"]


# --- the guide


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture
def guide_plugin(tmp_path: Path) -> Iterator[list[Result]]:
    file = tmp_path / "dimms.py"
    file.write_text(examples()[0])
    (item,) = [p for p in discover([file])[0] if p.name == "dimms"]
    ctx = context(
        "systemd[1]: started",
        "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_DIMM#1 (channel:1 slot:0 page:0x4a3f12)",
        "EDAC MC0: 3 CE memory read error on CPU_SrcID#0_DIMM#1 (channel:1 slot:0 page:0x4a3f13)",
    )
    yield run_plugin(item, ctx)
    assert ctx.problems == []


def test_the_guides_example_finds_what_it_says(guide_plugin: list[Result]) -> None:
    finding, table = guide_plugin
    assert isinstance(finding, Finding)
    assert isinstance(table, Table)
    assert finding.title == "Memory errors that were corrected: 2"
    assert [item.where for item in finding.evidence] == ["log line 2", "log line 3"]
    assert table.rows == ((1, "CPU_SrcID#0_DIMM#1", 0x4A3F12), (3, "CPU_SrcID#0_DIMM#1", 0x4A3F13))


def test_the_guides_first_example_has_about_forty_lines() -> None:
    assert len(examples()[0].splitlines()) <= 40


def test_the_guides_third_example_takes_its_options(tmp_path: Path) -> None:
    file = tmp_path / "grep.py"
    file.write_text(examples()[2])
    log = DUMP.with_name("7.2-healthy-idle.console.log")
    with postmortem.open(log, plugin_files=file) as case:
        (text,) = case.run("grep", word="Linux version", most=1).texts
    assert len(text.lines) == 1
    assert text.lines[0].startswith("Linux version 7.2")


def test_the_guides_second_example_loads(tmp_path: Path) -> None:
    file = tmp_path / "threads.py"
    file.write_text(examples()[1])
    (item,) = [p for p in discover([file])[0] if p.name == "threads"]
    assert (item.needs, item.in_analysis) == (("dump", "types"), False)


def test_the_guides_second_example_runs_on_a_dump(tmp_path: Path) -> None:
    file = tmp_path / "threads.py"
    file.write_text(examples()[1])
    analysis = postmortem.open(DUMP, plugin_files=file).run("threads")
    (table,) = analysis.tables
    assert (1, 1) in table.rows  # busybox init has one thread
