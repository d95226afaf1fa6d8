"""The store: what comes in whatever order and portions gives the same buckets and counters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from postmortem.errors import UsageError
from postmortem.triage import schema as t
from postmortem.triage.engine import StoreError
from postmortem.triage.grouping import GROUPING_VERSION, VERSIONS, Action
from postmortem.triage.model import CaseState, InputState, Outcome
from postmortem.triage.rows import Seen
from postmortem.triage.store import Store
from tests.triage.piles import oops, triage
from tests.triage.stores import case, content, outcome, signature


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "crashes.db") as opened:
        yield opened


def test_cases_of_one_key_are_one_bucket(store: Store) -> None:
    run = store.begin_run([])
    features = (("host", "web1"), ("release", "6.1.0"), ("module", "ext4"))
    added = store.add(
        run,
        [
            outcome("a", case(time=200, host="web1", features=features)),
            outcome("b", case(time=100, host="web2", features=(("host", "web2"),))),
            outcome("c", case("bar_write")),
        ],
    )
    assert added == 3
    first, second = store.buckets()
    assert (first.title, first.crashes, first.cases, first.hosts) == (
        "kernel BUG in foo_read",
        2,
        2,
        2,
    )
    assert (first.first, first.last) == (100, 200)
    assert (second.function, second.crashes, second.first) == ("bar_write", 1, None)
    assert store.tallies(first.id)["host"] == {"web1": 1, "web2": 1}
    assert store.tallies(first.id, "day") == {"day": {"1970-01-01": 2}}
    assert store.tallies("", "module") == {"module": {"ext4": 1}}
    assert [found.time for found in store.cases(bucket=first.id)] == [200, 100]
    assert store.totals().buckets == 2


def test_the_same_content_counts_once(store: Store) -> None:
    for run in (store.begin_run([]), store.begin_run([])):
        store.add(run, [outcome("a", case()), outcome("a", case())])
    (bucket,) = store.buckets()
    assert (bucket.cases, store.totals().inputs) == (1, 1)


def test_without_a_usable_key_a_case_is_unsorted(store: Store) -> None:
    unsorted = case(state=CaseState.UNSORTED, signature=None)
    calm = case(state=CaseState.CALM, signature=None, kind="none")
    store.add(1, [outcome("a", unsorted), outcome("b", calm), outcome("c", unsorted)])
    assert store.buckets() == []
    assert len(store.cases(state="unsorted")) == 2
    assert (store.totals().unsorted, store.totals().calm) == (2, 1)


def test_dump_and_log_of_one_crash_are_one_crash(store: Store) -> None:
    seen_in_log = case("schedule", incident="i", rank="1")
    seen_in_dump = case("foo_lock", incident="i", rank="2", source="vmcore")
    store.add(1, [outcome("a", seen_in_log)])
    (alone,) = store.buckets()
    assert alone.function == "schedule"
    store.add(1, [outcome("b", seen_in_dump)])
    (bucket,) = store.buckets()
    assert (bucket.function, bucket.cases, bucket.crashes) == ("foo_lock", 2, 1)
    assert store.case(bucket.best_case).source == "vmcore"


def test_the_example_carries_the_title(store: Store) -> None:
    store.add(
        1, [outcome("a", case(title="one", rank="1")), outcome("b", case(title="x", rank="9"))]
    )
    (bucket,) = store.buckets()
    assert bucket.title == store.case(bucket.best_case).title == "x"


def test_a_hit_after_a_fix_is_a_new_bucket(store: Store) -> None:
    store.add(1, [outcome("a", case(release="6.12.8")), outcome("b", case(release="6.1.9"))])
    (bucket,) = store.buckets()
    store.decide(Action.FIXED, bucket=bucket.id, releases=["6.12.9"])
    assert store.bucket(bucket.id).state == "fixed"
    store.add(2, [outcome("c", case(release="6.12.10"))])
    (after,) = store.successors(bucket.id)
    assert (after.crashes, after.state, after.generation) == (1, "open", 1)
    assert store.bucket(bucket.id).crashes == 2
    store.decide(Action.REOPEN, bucket=bucket.id)
    assert store.bucket(bucket.id).crashes == 3
    assert store.successors(bucket.id) == []


def test_links_hold_for_cases_to_come_and_can_be_undone(store: Store) -> None:
    store.add(1, [outcome("a", case("one")), outcome("b", case("two"))])
    one = next(bucket for bucket in store.buckets() if bucket.function == "one")
    two = next(bucket for bucket in store.buckets() if bucket.function == "two")
    store.decide(Action.MUST_LINK, bucket=two.id, other=one.id)
    store.add(2, [outcome("c", case("two"))])
    (both,) = store.buckets()
    assert (both.id, both.crashes) == (one.id, 3)
    wrong = next(found for found in store.cases(bucket=one.id) if found.function == "two")
    store.decide(Action.CANNOT_LINK, case=wrong.id, other=one.id)
    assert {bucket.id: bucket.crashes for bucket in store.buckets()} == {one.id: 1, two.id: 2}


def test_one_case_can_be_taken_out_or_moved(store: Store) -> None:
    store.add(1, [outcome("a", case()), outcome("b", case()), outcome("c", case("bar"))])
    foo = next(bucket for bucket in store.buckets() if bucket.function == "foo_read")
    bar = next(bucket for bucket in store.buckets() if bucket.function == "bar")
    stranger = store.cases(bucket=foo.id)[0]
    store.decide(Action.CANNOT_LINK, case=stranger.id, other=foo.id)
    assert len(store.buckets()) == 3
    store.decide(Action.MOVE, case=stranger.id, other=bar.id)
    assert store.case(stranger.id).bucket_id == bar.id
    assert store.bucket(foo.id).crashes == 1


def test_pages_give_every_bucket_once(store: Store) -> None:
    store.add(1, [outcome(str(n), case(f"f{n % 7}", time=n or None)) for n in range(25)])
    for order in ("crashes", "last"):
        seen: list[str] = []
        page = store.buckets(limit=3, order=order)
        while page:
            seen += [bucket.id for bucket in page]
            page = store.buckets(limit=3, order=order, after=page[-1])
        assert len(seen) == len(set(seen)) == 7
    bucket = store.buckets(limit=1)[0]
    found = store.cases(bucket=bucket.id, limit=2)
    rest = store.cases(bucket=bucket.id, limit=9, after=found[-1])
    assert len({item.id for item in (*found, *rest)}) == bucket.cases


def test_files_are_known_by_size_and_time(store: Store) -> None:
    name = "/crashes/\udcffbad\nname"  # a name that is no UTF-8
    store.add(1, [outcome("a", case())], [(name, Seen(10, 5, "a"))])
    assert store.seen([name, "/crashes/new"]) == {name: Seen(10, 5, "a")}
    assert store.files("a") == ["/crashes/\\xffbad\nname"]


def test_a_newer_store_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store, store.writing() as connection:
        connection.execute(t.meta.update().where(t.meta.c.name == "schema").values(value="999"))
    with pytest.raises(UsageError, match="version 999"):
        Store.open(tmp_path / "s.db")


def _as_of_version_1(connection: sa.Connection) -> None:
    """What a program wrote that had no counters of all buckets together."""
    c = t.tally.c
    newer = sa.or_(c.bucket_id == "*", c.name == "told", c.value == "leading")
    connection.execute(t.tally.delete().where(newer))
    connection.execute(t.meta.update().where(t.meta.c.name == "schema").values(value="1"))


def test_an_older_store_gets_the_counters_that_it_lacks(tmp_path: Path) -> None:
    listed = (("host", "h1"), ("module", "ext4"), ("module", "acme"), ("option", "quiet"))
    with Store.open(tmp_path / "s.db") as store:
        store.add(
            1,
            [
                outcome("a", case(time=5, features=listed)),
                outcome("b", case(time=90_000, features=(("host", "h1"),))),
                outcome("c", case("bar", features=(("host", "h2"), ("taint", "W")))),
                outcome("d", case(state=CaseState.CALM, time=5, features=listed)),
            ],
        )
        wanted = content(store)
        assert store.tallies("*") == {
            "day": {"1970-01-01": 1, "1970-01-02": 1},
            "host": {"h1": 2, "h2": 1},
        }
        assert store.tallies("", "told") == {"told": {"module": 2, "option": 2, "taint": 1}}
        with store.writing() as connection:
            _as_of_version_1(connection)
        assert content(store) != wanted
    with Store.open(tmp_path / "s.db") as store:
        assert content(store) == wanted
        store.add(1, [outcome("a", case("bar", time=5, features=listed))], again=True)
        assert store.tallies("*", "host") == {"host": {"h1": 2, "h2": 1}}


def test_pages_go_on_where_the_time_is_unknown(store: Store) -> None:
    times = [None, 5, 7, 7, None, 3, None]
    store.add(1, [outcome(str(n), case(time=time)) for n, time in enumerate(times)])
    (bucket,) = store.buckets()
    whole = store.cases(bucket=bucket.id)
    assert [found.time for found in whole] == [7, 7, 5, 3, None, None, None]
    for limit in (1, 2, 3, 4, 6):
        pages = []
        while page := store.cases(
            bucket=bucket.id, limit=limit, after=pages[-1] if pages else None
        ):
            pages += page
        assert pages == whole


def test_what_is_no_store_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Linux version 6.1.0\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store.open(tmp_path / "text")
    with pytest.raises(StoreError, match="there is no store"):
        Store.open(tmp_path / "none.db", create=False)


def test_a_failed_write_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(1, [outcome("a", case())])
    before = content(store)
    broken = outcome("c", case(), kind=object())  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.add(1, [outcome("b", case()), broken])
    assert content(store) == before
    store.add(1, [outcome("b", case())])
    assert store.buckets()[0].crashes == 2


def test_a_new_grouping_says_what_it_would_move(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VERSIONS, 99, "exact")
    deep = ("foo", "b", "c", "d", "e")
    store.add(
        1,
        [
            outcome("a", case(signature=signature("foo", *deep, "f"))),
            outcome("b", case(signature=signature("foo", *deep, "g"))),
            outcome("c", case("bar")),
        ],
    )
    before = content(store)
    moved = store.regroup(99, dry=True)
    assert sorted(moved.values()) == [1, 1]
    assert content(store) == before
    assert store.regroup(99, dry=False) == moved
    assert (len(store.buckets()), store.grouping_version()) == (3, 99)
    store.regroup(GROUPING_VERSION, dry=False)
    assert content(store)["bucket"] == before["bucket"]
    assert content(store)["tally"] == before["tally"]


def test_an_old_store_gets_its_new_keys_from_the_analyses_in_it(tmp_path: Path) -> None:
    tail = "hrtimer_run+0x1/0x9\n asm_sysvec_apic_timer_interrupt+0x1/0x9"
    for number, name in enumerate(("old_idle", "new_idle")):
        stack = f"{tail}\n {name}+0x1/0x9\n do_idle+0x1/0x9"
        (tmp_path / f"{number}.log").write_text(oops("acme_tick", stack=stack, seconds=number + 1))
    with Store.open(tmp_path / "s.db") as store:
        with store.writing() as connection:
            change = t.meta.update().where(t.meta.c.name == "grouping")
            connection.execute(change.values(value="1"))
        triage(store, tmp_path)
        with store.writing() as connection:  # as a program left it that knew version 1 only
            connection.execute(t.key.delete().where(t.key.c.level == "bug"))
        assert len(store.buckets()) == 2
        store.regroup(2, dry=False)
        assert [bucket.crashes for bucket in store.buckets()] == [2]


# --- order leaves no trace ------------------------------------------------------------

_FUNCTIONS = st.sampled_from(["foo", "bar", "baz"])


@st.composite
def _outcomes(draw: st.DrawFn) -> list[Outcome]:
    found = []
    for number in range(draw(st.integers(1, 8))):
        host = draw(st.sampled_from([None, "h1", "h2"]))
        state = draw(st.sampled_from([CaseState.BUCKET] * 4 + [CaseState.UNSORTED]))
        fields: dict[str, Any] = {
            "time": draw(st.sampled_from([None, 5, 90_000])),
            "host": host,
            "features": () if host is None else (("host", host),),
            "release": draw(st.sampled_from([None, "6.1.3", "6.12.4", "6.12.20"])),
            "incident": draw(st.sampled_from([None, None, "i1", "i2"])),
            "rank": draw(st.sampled_from("123")),
            "state": state,
            "terms": (("w", 1.0),),
        }
        found.append(outcome(str(number), case(draw(_FUNCTIONS), **fields)))
    failed = outcome("f", state=InputState.FAILED, reason="it was cut off")
    return [*found, failed]


@settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(_outcomes(), st.data())
def test_order_and_portions_leave_no_trace(outcomes: list[Outcome], data: st.DataObject) -> None:
    with Store.open("sqlite://") as one, Store.open("sqlite://") as other:
        one.add(1, outcomes)
        mixed = data.draw(st.permutations(outcomes))
        cut = data.draw(st.integers(0, len(mixed)))
        for part in (mixed[:cut], mixed[cut:], mixed[:2]):
            other.add(1, part)
        assert content(one) == content(other)
        _decide(one, other, data)
        assert content(one) == content(other)
        other.regroup(GROUPING_VERSION, dry=False)
        assert content(one) == content(other)
        one.add(2, outcomes[:3], again=True)
        assert content(one) == content(other)


def _decide(one: Store, other: Store, data: st.DataObject) -> None:
    """The same decisions in both, before and after other things happened."""
    ids = [bucket.id for bucket in one.buckets()]
    for _ in range(data.draw(st.integers(0, 3)) if ids else 0):
        action = data.draw(st.sampled_from(list(Action)))
        cases = [found.id for found in one.cases(state="bucket")]
        there = sorted(bucket.id for bucket in one.buckets())
        wanted: dict[str, Any] = {"bucket": data.draw(st.sampled_from(there))}
        if action in (Action.MUST_LINK, Action.CANNOT_LINK):
            wanted["other"] = data.draw(st.sampled_from(there))
        if action is Action.MOVE:
            wanted = {"case": data.draw(st.sampled_from(cases)), "other": wanted["bucket"]}
        if action is Action.FIXED:
            wanted["releases"] = ["6.12.9"]
        for store in (one, other):
            store.decide(action, **wanted)


def test_a_decision_about_nothing_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="no bucket"):
        store.decide(Action.FIXED, bucket="zzzz", releases=["6.1"])
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.decision)).scalar() == 0
