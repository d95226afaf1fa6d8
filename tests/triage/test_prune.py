"""What can go, and what must stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postmortem.triage.grouping import Action
from postmortem.triage.model import Outcome
from postmortem.triage.prune import delete, doomed
from postmortem.triage.rows import Seen
from postmortem.triage.store import Store
from tests.triage.stores import case, outcome


@pytest.fixture
def pile(tmp_path: Path) -> tuple[Store, Path]:
    """Twelve dumps of one bug, with a log beside each; two dumps of another."""
    store = Store.open(tmp_path / "x.db")
    run = store.begin_run([])
    crashes = tmp_path / "crashes"
    for number in range(12):
        _add(store, run, crashes / f"foo{number:02}", "foo", number)
    for number in range(2):
        _add(store, run, crashes / f"bar{number:02}", "bar", number)
    return store, crashes


def _add(store: Store, run: int, folder: Path, function: str, number: int) -> Outcome:
    folder.mkdir(parents=True)
    told = outcome(
        folder.name, case(function, source="vmcore", time=1000 + number, rank=f"{number == 5}")
    )
    names = []
    for name in ("vmcore", "vmcore-dmesg.txt"):
        file = folder / name
        file.write_bytes(b"x" * (1000 if name == "vmcore" else 10))
        found = file.stat()
        names.append((str(file), Seen(found.st_size, found.st_mtime_ns, told.id)))
    store.add(run, [told], names)
    return told


def named(store: Store, **how: int | bool) -> list[str]:
    return sorted("/".join(Path(item.path).parts[-2:]) for item in doomed(store, **how))  # type: ignore[arg-type]


def test_of_a_bug_that_is_understood_the_best_first_and_newest_stay(
    pile: tuple[Store, Path],
) -> None:
    staying = {0, 5, 9, 10, 11}
    gone = [f"foo{n:02}/vmcore" for n in range(12) if n not in staying]
    assert named(pile[0]) == gone
    assert len(named(pile[0], logs=True)) == 2 * len(gone)
    assert len(named(pile[0], keep=0)) == 10
    assert named(pile[0], understood=13) == []


def test_a_bug_that_was_fixed_is_understood(pile: tuple[Store, Path]) -> None:
    store, _ = pile
    other = next(bucket for bucket in store.buckets() if bucket.function == "bar")
    store.decide(Action.FIXED, bucket=other.id, releases=["6.1.1"])
    assert named(store, keep=0) == [f"foo{n:02}/vmcore" for n in range(12) if n not in (0, 5)]


def test_a_file_that_is_another_one_now_stays(pile: tuple[Store, Path]) -> None:
    store, crashes = pile
    (crashes / "foo01" / "vmcore").write_bytes(b"y" * 1000)
    os.utime(crashes / "foo01" / "vmcore", ns=(1, 1))
    (crashes / "foo02" / "vmcore").unlink()
    (crashes / "foo03" / "vmcore").unlink()
    (crashes / "foo03" / "vmcore").symlink_to(crashes / "foo11" / "vmcore")
    assert not {"foo01/vmcore", "foo02/vmcore", "foo03/vmcore"} & set(named(store))


def test_what_a_decision_is_about_stays(pile: tuple[Store, Path]) -> None:
    store, _ = pile
    (bucket, other) = store.buckets()
    moved = next(c for c in store.cases(bucket=bucket.id) if c.time == 1002)
    store.decide(Action.CANNOT_LINK, case=moved.id, other=bucket.id)
    assert "foo02/vmcore" not in named(store)
    assert other.crashes == 2


def test_a_log_that_tells_of_two_bugs_stays(pile: tuple[Store, Path], tmp_path: Path) -> None:
    store, _ = pile
    both = tmp_path / "both.log"
    both.write_text("x")
    rows = (case("foo", part=1, time=1001), case("baz", part=2, time=1001))
    told = outcome("both", *rows)
    seen = both.stat()
    names = [(str(both), Seen(seen.st_size, seen.st_mtime_ns, told.id))]
    store.add(store.begin_run([]), [told], names)
    assert str(both) not in {item.path for item in doomed(store, logs=True)}


def test_nothing_goes_before_it_is_said(pile: tuple[Store, Path]) -> None:
    store, crashes = pile
    before = sorted(crashes.rglob("*"))
    named(store)
    assert sorted(crashes.rglob("*")) == before
    found = delete(doomed(store, logs=True))
    assert len(found.files) == 14
    assert found.size == 7 * 1010
    assert found.problems == ()
    left = sorted(path.name for path in crashes.iterdir())
    assert left == ["bar00", "bar01", "foo00", "foo05", "foo09", "foo10", "foo11"]
    assert named(store, logs=True) == []


def test_what_can_t_be_deleted_is_said(pile: tuple[Store, Path]) -> None:
    store, crashes = pile
    found = list(doomed(store))
    (crashes / "foo01" / "vmcore").unlink()
    (crashes / "foo01" / "vmcore").mkdir()
    done = delete(iter(found))
    assert len(done.files) == len(found) - 1
    assert "can't be deleted" in done.problems[0]
