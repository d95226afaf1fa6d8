"""The one screen: 24 rows of 80 columns, whatever the analysis holds."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from postmortem.model.findings import (
    Block,
    Column,
    Culprit,
    Evidence,
    Holds,
    Kind,
    Strength,
    Table,
    Unit,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Said
from postmortem.model.result import Analysis
from postmortem.render.page import Page
from postmortem.render.screen import screen
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import ALL, CRASH, LOG, MAIN, STACK

LONG = "a_function_with_a_name_" + "x" * 200


def shown(analysis: Analysis, width: int = 120) -> str:
    page = Page(io.StringIO(), width=width)
    screen(page, analysis)
    return page.text()


def fits(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) <= 23 and max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ALL)
def test_it_fits(name: str) -> None:
    assert fits(shown(ALL[name]))


@pytest.mark.parametrize("attack", [*ATTACKS, LONG, "word " * 400])
def test_it_fits_whatever_the_strings_are(attack: str) -> None:
    text = shown(poison(CRASH, attack))
    assert fits(text)
    assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize(
    "expected",
    [
        CRASH.verdict.title,
        "null-dereference  (certain)",
        "pm_null_write [pm_fault]  at pm_fault.c:87",
        "sh (pid 312) on CPU 1",
        "guest, 6.1.0-56-cloud-amd64, vmcore",
        "(log line 412)",
        "#0 pm_null_write+0x12 [pm_fault]  <- culprit  pm_fault.c:87",
        "#1 trigger_write+0x40",
        "Next: Find who calls pm_null_write",
        "1 thing limits this answer",
        "-v: 1 consequence, 1 other finding, 2 kernel reports; -o FILE.html: a page",
    ],
)
def test_it_says_what_is_needed(expected: str) -> None:
    assert expected in shown(CRASH)


def test_it_tells_what_happened_in_two_sentences() -> None:
    verdict = replace(CRASH.verdict, summary="First one. Second one. Third one.")
    text = shown(replace(CRASH, verdict=verdict))
    assert "  First one. Second one.\n" in text
    assert "Third" not in text


def test_the_stack_begins_at_the_culprit_and_has_eight_frames() -> None:
    frames = tuple(Frame(f"f{n}", 1) for n in range(30))
    culprit = replace(CRASH.verdict.culprit, function="f4")
    verdict = replace(CRASH.verdict, culprit=culprit, evidence=())
    text = shown(replace(CRASH, verdict=verdict, cpus=(replace(STACK, frames=frames),)))
    numbers = [line.split()[0] for line in text.splitlines() if line.lstrip().startswith("#")]
    assert numbers == [f"#{n}" for n in range(4, 12)]


def test_a_stack_below_evidence_is_not_told_twice() -> None:
    context = Evidence("called from somewhere", "call trace", Strength.CONTEXT)
    evidence = (context, Evidence("the kernel said it"))
    text = shown(replace(CRASH, verdict=replace(CRASH.verdict, evidence=evidence)))
    assert "the kernel said it" in text
    assert "called from somewhere" not in text


def test_much_evidence_leaves_room_for_the_stack() -> None:
    evidence = tuple(Evidence("proof " * 20 + str(n)) for n in range(30))
    text = shown(replace(LOG, verdict=replace(LOG.verdict, evidence=evidence)))
    assert "#1 trigger_write" in text
    assert fits(text)


def test_of_waiting_tasks_the_chain_is_shown() -> None:
    chain = Block("Who waits for whom", ("a", "  waited for by b"), holds=Holds.WAITS)
    main = replace(MAIN, blocks=(chain,))
    text = shown(replace(CRASH, findings=(main,)))
    assert "Who waits for whom\n  a\n    waited for by b\n" in text
    assert "#0 " not in text


def test_a_long_path_keeps_its_end() -> None:
    source = replace(CRASH.input, path="/var/" + "x" * 90 + "/crash/202611261200/vmcore")
    text = shown(replace(CRASH, input=source))
    assert "crash/202611261200/vmcore\n" in text
    assert fits(text)


def test_the_way_in_is_no_part_of_the_stack() -> None:
    frames = (Frame("zorb_peek", 1), Frame("zorb_read", 2), Frame("do_syscall_64", 3))
    verdict = replace(CRASH.verdict, culprit=replace(CRASH.verdict.culprit, function="zorb_peek"))
    text = shown(replace(CRASH, verdict=verdict, cpus=(replace(STACK, frames=frames),)))
    assert "#1 zorb_read" in text
    assert "do_syscall_64" not in text


def test_of_memory_that_ran_out_its_holders_are_shown() -> None:
    columns = (Column("comm"), Column("RSS", Unit.BYTES))
    table = Table("Largest tasks", columns, (("quern", 30 << 20), ("zorbd", 1 << 20)))
    main = replace(MAIN, kind=Kind.OOM, tables=(table,))
    verdict = replace(CRASH.verdict, kind=Kind.OOM, culprit=Culprit())
    text = shown(replace(CRASH, verdict=verdict, findings=(main,)))
    assert "quern  30 MiB" in text
    assert "#0 " not in text


def test_the_last_lines_before_the_failure_fill_what_is_left() -> None:
    said = (Said(7, "zorb 0000:00:1f.2: link is down"), Said(8, "zorb: retrying"))
    report = replace(LOG.reports[0], before=said)
    verdict = replace(LOG.verdict, evidence=(), next_steps=("Read it.",))
    text = shown(replace(LOG, reports=(report, *LOG.reports[1:]), verdict=verdict))
    assert "Before it in the log  line 7\n  zorb 0000:00:1f.2: link is down\n" in text
    assert fits(text)


def test_the_last_step_follows_where_there_is_room() -> None:
    steps = ("Read it.", "Read on.", "bt 7")
    verdict = replace(CRASH.verdict, evidence=(), next_steps=steps)
    assert "Next: Read it.\nThen: bt 7\n" in shown(replace(CRASH, verdict=verdict))
