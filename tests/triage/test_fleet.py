"""Crashes over machine-days: what a table of hosts says, and when a release is worse."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from postmortem.errors import UsageError
from postmortem.triage.fleet import (
    DAY,
    Decision,
    Fleet,
    Rate,
    Rates,
    gate,
    keep_fleet,
    kept_fleet,
    only_with,
    rates,
    read_fleet,
)
from postmortem.triage.store import Store
from tests.triage.stores import case, outcome

NOW = 1_780_000_000.0


def table(tmp_path: Path, *rows: str, head: str = "host,model,kernel,from,to") -> Fleet:
    file = tmp_path / "fleet.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    return read_fleet(file, NOW)


def test_machine_days_are_added_by_kernel(tmp_path: Path) -> None:
    fleet = table(
        tmp_path,
        "web1,R1,6.1.1,2026-01-01,2026-01-11",
        "web1,R1,6.1.2,2026-01-11,2026-01-13",
        "web2,R1,6.1.1,2026-01-01T12:00:00,2026-01-02T00:00:00+00:00",
    )
    assert fleet.all_days() == {"6.1.1": (10.5, 2), "6.1.2": (2.0, 1)}
    assert fleet.days("6.1.1") == 10.5
    assert fleet.days("none") == 0


def test_an_empty_end_is_now_and_a_time_is_cut_out(tmp_path: Path) -> None:
    fleet = table(tmp_path, f"web1,R1,6.1.1,{int(NOW) - 3 * DAY},")
    assert fleet.days("6.1.1") == pytest.approx(3.0)
    assert fleet.days("6.1.1", since=NOW - DAY) == pytest.approx(1.0)
    assert fleet.days("6.1.1", until=NOW - DAY) == pytest.approx(2.0)


def test_the_same_day_counts_once(tmp_path: Path) -> None:
    fleet = table(
        tmp_path,
        "web1,R1,6.1.1,2026-01-01,2026-01-03",
        "WEB1,R1,6.1.1,2026-01-02,2026-01-05",
        "web1,R1,6.1.1,2026-01-07,2026-01-08",
    )
    assert fleet.days("6.1.1") == 5.0


def test_lines_that_make_no_sense_are_named_and_left_out(tmp_path: Path) -> None:
    fleet = table(
        tmp_path,
        "web1,R1,6.1.1,yesterday,",
        ",R1,6.1.1,2026-01-01,",
        "web1,R1,6.1.1,2026-01-05,2026-01-01",
        "web1,R1,6.1.1,,",
        "web1,R1,6.1.1,2026-01-01,2026-01-02",
    )
    assert fleet.days("6.1.1") == 1.0
    assert [text.partition(":")[0] for text in fleet.problems] == [
        f"line {n}" for n in (2, 3, 4, 5)
    ]


@pytest.mark.parametrize(
    ("text", "says"), [("a,b\n1,2\n", "no column 'host'"), ("", "no column"), ("\xff", "UTF-8")]
)
def test_what_is_no_table_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=says):
        read_fleet(file)
    with pytest.raises(UsageError, match="can't be read"):
        read_fleet(tmp_path / "none")


def test_a_table_that_is_kept_says_the_same_until_another_is(tmp_path: Path) -> None:
    first = table(tmp_path, "web1,R1,6.1.1,2026-01-01,2026-01-11", "web2,R1,6.1.1,2026-01-05,")
    with Store.open(tmp_path / "s.db") as store:
        with pytest.raises(UsageError, match="no table of hosts"):
            kept_fleet(store)
        keep_fleet(store, first)
        kept = kept_fleet(store, NOW)
        assert (kept.spans, kept.hosts) == (first.spans, first.hosts)
        # What still runs goes on.
        assert kept_fleet(store, NOW + DAY).days("6.1.1") == first.days("6.1.1") + 1
        keep_fleet(store, table(tmp_path, "db1,R2,6.12.1,2026-01-01,2026-01-02"))
        assert kept_fleet(store, NOW).hosts == {"db1"}


def test_crashes_are_counted_once_and_only_of_known_hosts(tmp_path: Path) -> None:
    time = int(NOW) - DAY
    fields = {"release": "6.1.1", "time": time, "time_from": "dump"}
    store = Store.open(tmp_path / "x.db")
    store.add(
        store.begin_run([]),
        [
            outcome("1", case(host="web1", **fields)),
            outcome("2", case(host="WEB2.example.com", **fields)),
            outcome("dump", case(host="web1", incident="same", rank="2", **fields)),
            outcome("log", case(host="web1", incident="same", rank="1", **fields)),
            outcome("sysrq", case(host="web1", kind="user-requested", **fields)),
            outcome("stranger", case(host="elsewhere", **fields)),
            outcome("nameless", case(**fields)),
            outcome("undated", case(host="web1", release="6.1.1")),
            outcome("old", case(host="web1", release="6.1.1", time=5 * DAY)),
        ],
    )
    fleet = table(
        tmp_path,
        "web1,R1,6.1.1,2026-05-01,",
        "web2,R1,6.1.1,2026-05-01,",
        "web2,R1,6.1.0,2026-04-01,2026-05-01",
    )
    found = rates(store, fleet, since=NOW - 100 * DAY)
    assert [(rate.kernel, rate.crashes) for rate in found.rates] == [("6.1.1", 3), ("6.1.0", 0)]
    assert (found.strangers, found.undated) == (2, 1)


def test_a_rate_has_an_interval() -> None:
    rate = Rate("6.1.1", 10, 2000.0, 10)
    assert rate.per_thousand == 5.0
    assert rate.interval == (pytest.approx(2.40, abs=0.01), pytest.approx(9.20, abs=0.01))
    assert Rate("6.1.1", 0, 0.0, 3).per_thousand is None
    assert Rate("6.1.1", 0, 0.0, 3).interval is None


def told(*found: tuple[str, float, int]) -> Rates:
    return Rates(tuple(Rate(kernel, 5, days, crashes) for kernel, days, crashes in found))


@pytest.mark.parametrize(
    ("new", "old", "decision"),
    [
        ((1000.0, 30), (10_000.0, 100), Decision.WORSE),
        ((10_000.0, 100), (10_000.0, 100), Decision.PASSED),
        ((100.0, 1), (10_000.0, 100), Decision.UNDECIDED),
        ((100.0, 0), (10_000.0, 100), Decision.UNDECIDED),
        ((1000.0, 0), (10_000.0, 100), Decision.PASSED),
        ((1000.0, 0), (10_000.0, 0), Decision.UNDECIDED),
    ],
)
def test_a_release_is_worse_or_passes_or_needs_more_time(
    new: tuple[float, int], old: tuple[float, int], decision: Decision
) -> None:
    found = gate(told(("6.2", *new), ("6.1", *old)), "6.2")
    assert found.decision is decision
    assert str(found).startswith(
        f"6.2: {'not decided' if decision is Decision.UNDECIDED else decision}"
    )


def test_a_release_is_held_against_those_that_are_named() -> None:
    found = told(("6.3", 1000.0, 30), ("6.2", 1000.0, 28), ("6.1", 100_000.0, 10))
    assert gate(found, "6.3").decision is Decision.WORSE
    assert gate(found, "6.3", ["6.2"], tolerated=3.0).decision is Decision.PASSED
    assert gate(found, "6.3").baseline.days == 101_000.0


@pytest.mark.parametrize("names", [("9.9",), ("6.2", "9.9")])
def test_a_release_that_nobody_runs_is_a_sentence(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"no machine-day of kernel 9\.9"):
        gate(told(("6.2", 1.0, 1), ("6.1", 1.0, 1)), names[0], names[1:])


def test_nothing_to_compare_with_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="no kernel to compare"):
        gate(told(("6.2", 1.0, 1)), "6.2")


def test_no_crash_at_all_says_nothing_of_the_factor() -> None:
    found = gate(told(("6.2", 10.0, 0), ("6.1", 10.0, 0)), "6.2")
    assert (found.low, found.high) == (0.0, math.inf)
    assert "any number of times" in str(found)


def test_bugs_of_one_release_alone_are_named(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    both = [("release", "6.1"), ("release", "6.2")]
    store.add(
        store.begin_run([]),
        [
            outcome("1", case("old_one", features=(both[0],))),
            outcome("2", case("old_one", features=(both[1],))),
            outcome("3", case("new_one", features=(both[1],))),
        ],
    )
    assert only_with(store, "6.2") == ("kernel BUG in new_one",)
