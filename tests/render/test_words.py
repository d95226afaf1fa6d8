"""Small phrases: sizes, times, families of findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.model.findings import Culprit, TaskRef
from postmortem.render import words
from tests.render.samples import CONSEQUENCE, STACK


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (268_435_456, "256 MiB"),
        (28_731_310, "27.4 MiB"),
        (3 << 40, "3 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00"),
        (31.9, "00:00:31"),
        (86_399, "23:59:59"),
        (86_400, "1 day, 00:00:00"),
        (183_845.2, "2 days, 03:04:05"),
    ],
)
def test_durations_as_crash_prints_them(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@given(st.floats())
def test_any_float_is_some_duration(seconds: float) -> None:
    assert words.duration(seconds)


def test_a_date_is_utc() -> None:
    assert words.date(1_000_000_000) == "2001-09-09 01:46:40 UTC"


@given(st.integers())
def test_any_number_is_some_date(unix: int) -> None:
    assert words.date(unix)


@pytest.mark.parametrize(
    ("culprit", "text"),
    [
        (Culprit(), ""),
        (Culprit(cpu=3), "CPU 3"),
        (Culprit(task=TaskRef(7, "sh")), "sh (pid 7)"),
        (Culprit(task=TaskRef(7, "sh"), cpu=0), "sh (pid 7) on CPU 0"),
    ],
)
def test_who_and_where(culprit: Culprit, text: str) -> None:
    assert words.task_and_cpu(culprit) == text


IDS = st.sampled_from("abcdef")


@given(st.dictionaries(IDS, st.lists(IDS, max_size=3), max_size=6))
def test_a_family_names_every_finding_once(causes: dict[str, list[str]]) -> None:
    findings = tuple(
        replace(CONSEQUENCE, id=name, caused_by=tuple(by)) for name, by in causes.items()
    )
    told = [finding.id for _, finding in words.family(findings)]
    assert sorted(told) == sorted(causes)


def test_a_deep_chain_of_causes_ends() -> None:
    chain = tuple(
        replace(CONSEQUENCE, id=str(n), caused_by=(str(n - 1),) if n else ()) for n in range(5000)
    )
    depths = [depth for depth, _ in words.family(chain)]
    assert len(depths) == 5000
    assert max(depths) == words.MAX_DEPTH


@pytest.mark.parametrize(("comm", "pid", "idle"), [("swapper/3", 0, True), ("swapper/3", 9, False)])
def test_idle(comm: str, pid: int, idle: bool) -> None:
    assert words.is_idle(replace(STACK, task=TaskRef(pid, comm))) is idle
