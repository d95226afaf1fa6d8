"""The report for a person."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.findings import Evidence, Kind, Problem, Table, TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.model.result import Analysis, TaskStack
from postmortem.render.page import Page
from postmortem.render.text import print_plugin, report
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import ALL, ASIDE, CONSEQUENCE, CRASH, HEALTHY, LOG, MAIN, STACK

SGR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(
    analysis: Analysis, *, verbose: bool = False, width: int = 80, terminal: bool = False
) -> str:
    page = Page(Terminal() if terminal else io.StringIO(), width=width)
    report(page, analysis, verbose=verbose)
    return page.text()


def first_screen(analysis: Analysis, lines: int = 24) -> str:
    return "\n".join(shown(analysis).splitlines()[:lines])


# --- the first screen


@pytest.mark.parametrize(
    "expected",
    [
        CRASH.verdict.title,
        "null-dereference  (certain)",
        "pm_null_write [pm_fault]  at pm_fault.c:87",
        "sh (pid 312) on CPU 1",
        "(log line 412)",
        "1. Find who calls pm_null_write",
        "1 thing limits this answer",
    ],
)
def test_the_verdict_is_on_the_first_screen(expected: str) -> None:
    assert expected in first_screen(CRASH)


def test_strong_evidence_is_shown_and_the_rest_counted() -> None:
    evidence = tuple(Evidence(f"proof {number}") for number in range(9))
    text = shown(replace(CRASH, verdict=replace(CRASH.verdict, evidence=evidence)))
    assert "proof 5" in text
    assert "proof 6" not in text
    assert "3 more pieces of evidence (-v shows all)" in text


def test_a_healthy_machine_is_told_calmly() -> None:
    text = shown(HEALTHY)
    assert text.startswith("no crash: this machine was healthy\n")
    assert "CULPRIT" not in text
    assert "limits" not in text


def test_nothing_unknown_is_shown_as_zero_or_none() -> None:
    for name, analysis in ALL.items():
        assert "None" not in shown(analysis, verbose=True), name


# --- sections


def test_the_trapping_instruction_is_marked() -> None:
    (line,) = [x for x in shown(CRASH).splitlines() if "mov    %rax,0x18(%rdi)" in x]
    assert line.startswith("  -> ")


def section(text: str, title: str) -> list[str]:
    """The lines under a heading."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    return lines[start : lines.index("", start)]


def test_what_the_verdict_caused_is_told_as_its_consequence() -> None:
    text = shown(CRASH)
    assert section(text, "Consequences") == [
        f"  {CONSEQUENCE.title} (panic, certain, log line 451)"
    ]
    assert section(text, "Further findings")[0] == f"  {ASIDE.title} (hung-task, likely)"


def test_a_consequence_is_indented_under_its_cause() -> None:
    later = replace(CONSEQUENCE, id="later", title="later one", caused_by=("hung-1",))
    text = shown(replace(CRASH, findings=(*CRASH.findings, later)))
    assert section(text, "Further findings")[-1].startswith("     -> later one (panic")


def test_findings_that_cause_each_other_are_shown_once_each() -> None:
    one = replace(CONSEQUENCE, id="a", title="finding A", caused_by=("b",))
    two = replace(CONSEQUENCE, id="b", title="finding B", caused_by=("a",))
    text = shown(replace(CRASH, findings=(one, two)))
    assert text.count("finding A") == text.count("finding B") == 1


def test_the_stack_of_a_log_comes_from_its_report() -> None:
    text = shown(LOG)
    assert "Stack of sh (pid 312)  from the log, line 412" in text
    assert "#1 trigger_write+0x40 [pm_fault]" in text
    assert "? show_trace_log_lvl" not in text
    assert "? show_trace_log_lvl" in shown(LOG, verbose=True)


def test_a_recursion_is_one_line() -> None:
    step = Frame("descend", 0x57, address=1)
    frames = (Frame("descend", 0x2D, address=2), *[step] * 52, Frame("write", address=3))
    text = shown(replace(CRASH, cpus=(replace(STACK, frames=frames),)))
    assert "    #1 descend+0x57  <- x 52\n   #53 write\n" in text


def test_the_stack_of_an_idle_task_is_that_of_its_cpu() -> None:
    idle = TaskRef(0, "swapper/1")
    stacks = tuple(
        TaskStack(TaskRef(0, f"swapper/{n}"), "I", n, (Frame(f"on_cpu_{n}", address=1),))
        for n in (0, 1)
    )
    culprit = replace(CRASH.verdict.culprit, task=idle, cpu=1)
    verdict = replace(CRASH.verdict, culprit=culprit)
    text = shown(replace(CRASH, cpus=stacks, verdict=verdict))
    assert "#0 on_cpu_1" in text
    assert "#0 on_cpu_0" not in text


def test_a_report_that_a_finding_tells_is_not_told_twice() -> None:
    other = Report(Kind.WARNING, "WARNING in other_place", 7, 9, ("x",), count=3)
    text = shown(replace(CRASH, reports=(*CRASH.reports, other)))
    _, _, section = text.partition("Kernel reports in the log")
    assert "WARNING in other_place (3 times)" in section
    assert "null-ptr" not in section
    assert MAIN.title not in section.partition("End of the log")[0]


def test_limits_say_what_and_why() -> None:
    assert "task list: page 0xffff888001234000 is excluded" in shown(CRASH)


def test_verbose_leaves_nothing_out() -> None:
    rows = tuple((n, f"row-{n}") for n in range(100))
    analysis = replace(
        CRASH,
        tables=(Table("Many", ("n", "what"), rows),),
        problems=tuple(Problem(f"problem-{n}", "why") for n in range(50)),
        log_tail=tuple(f"log-{n}" for n in range(80)),
        cpus=(replace(STACK, frames=tuple(Frame(f"f{n}", address=n) for n in range(90))),),
    )
    text = shown(analysis, verbose=True)
    for last in ("row-99", "problem-49", "log-0", "log-79", "f89", "0xffffffffc0201000", "open"):
        assert last in text
    assert "-v shows all" not in text
    brief = shown(analysis)
    for last in ("row-99", "problem-49", "log-0\n", "#89 "):
        assert last not in brief


def test_an_absent_cell_is_a_dash() -> None:
    (line,) = [x for x in shown(CRASH).splitlines() if " init " in x]
    assert line.split() == ["1", "init", "5", "MiB", "-"]


def test_the_culprits_frame_is_marked() -> None:
    assert "#0 pm_null_write+0x12 [pm_fault]  <- culprit  pm_fault.c:87\n" in shown(CRASH)


def test_a_frame_that_was_interrupted_says_so_and_where_the_task_begins() -> None:
    frames = (
        Frame("exc_page_fault", 2, address=1, segment="exception"),
        Frame("victim", 4, address=3, interrupted=True),
    )
    text = shown(replace(CRASH, cpus=(replace(STACK, frames=frames),)))
    expected = """\
       <EXCEPTION>
    #0 exc_page_fault+0x2
       <TASK>
    #1 victim+0x4  <- interrupted
"""
    assert expected in text


def test_a_cpu_did_what_the_exception_interrupted() -> None:
    frames = (
        Frame("panic", 2, address=1, segment="exception"),
        Frame("victim", 4, address=3, interrupted=True),
        Frame("caller", 4, address=3),
    )
    text = shown(replace(CRASH, cpus=(replace(STACK, frames=frames),)))
    assert re.search(r"CPU 1  sh \(pid 312\) \(victim < caller\)\n", text)


# --- width


@pytest.mark.parametrize("width", [60, 80, 120])
def test_prose_keeps_to_the_width(width: int) -> None:
    text = shown(
        replace(CRASH, findings=(), blocks=(), tables=(), cpus=(), log_tail=()), width=width
    )
    assert max(map(len, text.splitlines())) <= width


def test_a_name_is_never_broken() -> None:
    name = "a_function_with_a_name_" + "x" * 120
    frame = Frame(name, 0x10, module="module", address=1, file="file.c", line=3)
    text = shown(replace(CRASH, cpus=(replace(STACK, frames=(frame,)),)), width=60)
    assert f"#0 {name}+0x10 [module]\n" in text
    assert "file.c:3\n" in text


def test_where_is_kept_on_one_line() -> None:
    evidence = (Evidence("word " * 15, "log line 123456"),)
    text = shown(replace(CRASH, verdict=replace(CRASH.verdict, evidence=evidence)))
    assert "(log line 123456)" in text


def test_a_wide_cell_is_folded_on_a_terminal_only() -> None:
    table = Table("Wide", ("pid", "what"), ((1, "y" * 300),))
    analysis = replace(CRASH, tables=(table,))
    assert "y" * 300 in shown(analysis)
    cut = SGR.sub("", shown(analysis, terminal=True))
    lines = [x for x in cut.splitlines() if "yyyy" in x]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("~")


def test_a_folded_cell_stays_in_its_column() -> None:
    table = Table("Wide", ("who", "what"), (("zorb (1), zorb (2) and more", "z" * 100),))
    text = SGR.sub("", shown(replace(CRASH, tables=(table,)), terminal=True))
    start = next(n for n, line in enumerate(text.splitlines()) if "zorb (1)" in line)
    place = text.splitlines()[start].index("zzz")
    assert text.splitlines()[start + 1].startswith(" " * place + "z")


# --- colours and hostile strings


def test_a_terminal_gets_colours() -> None:
    assert shown(CRASH, terminal=True).startswith("\x1b[1;31m")


def test_colours_change_no_letter() -> None:
    analysis = replace(CRASH, tables=())
    assert SGR.sub("", shown(analysis, terminal=True)) == shown(analysis)


def test_a_file_gets_none() -> None:
    assert "\x1b" not in shown(CRASH, verbose=True)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_user_can_refuse_colours(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in shown(CRASH, terminal=True)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_reaches_the_terminal(attack: str, verbose: bool) -> None:
    text = shown(poison(CRASH, attack), verbose=verbose, terminal=True)
    assert all(line.isprintable() for line in SGR.sub("", text).split("\n"))
    if "markup" in attack:
        assert "[red]markup[/red]" in text


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_no_string_reaches_the_terminal_raw(text: str) -> None:
    out = shown(poison(CRASH, text), verbose=True)
    assert all(line.isprintable() for line in out.split("\n"))


def test_what_an_old_locale_cannot_say_is_escaped() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    print_plugin(replace(CRASH, findings=(replace(MAIN, title="Gr\u00fc\u00dfe"),)), file)
    file.flush()
    assert rb"Gr\xfc\xdfe" in raw.getvalue()


# --- a plugin by its name


def test_a_plugin_shows_its_findings_without_a_verdict() -> None:
    out = io.StringIO()
    print_plugin(CRASH, out)
    assert out.getvalue().startswith(MAIN.title)
    assert "KIND:" not in out.getvalue()
    assert "Largest tasks" in out.getvalue()


def test_a_plugin_with_nothing_to_say_says_so() -> None:
    out = io.StringIO()
    print_plugin(HEALTHY, out)
    assert out.getvalue() == "nothing to report\n"


def test_equal_lines_in_a_row_are_folded() -> None:
    from postmortem.render.sections import folded

    again = [" zorb_walk+0x1f/0x40"] * 213
    assert folded(["a", *again, "b", "b", "", "", ""]) == (
        *("a", " zorb_walk+0x1f/0x40  x 213", "b", "b"),
        *("", "", ""),
    )
