"""What is perhaps the same: ranked for people, and nothing is joined by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from postmortem.cli.root import cli
from postmortem.triage.similar import similar
from postmortem.triage.store import Store
from postmortem.triage.terms import terms_of
from tests.triage.piles import oops, triage
from tests.triage.stores import case, outcome


def _terms(function: str, *frames: str, module: str | None = None) -> tuple[tuple[str, float], ...]:
    return terms_of(f"BUG in {function}", function, module, "bug", ((function, *frames), ()))


def test_the_one_with_the_rarer_function_in_common_comes_first() -> None:
    with Store.open("sqlite://") as store:
        store.add(
            1,
            [
                outcome("a", case("acme_read", terms=_terms("acme_read", "acme_lock", "vfs_read"))),
                outcome("b", case("other", terms=_terms("other", "vfs_read"))),
                outcome("c", case("third", terms=_terms("third", "vfs_read"))),
            ],
        )
        found = similar(store, _terms("acme_write", "acme_lock", "vfs_read"))
        assert found[0].bucket.function == "acme_read"
        assert found[0].shared[0] == "acme_lock"
        assert found[0].score > found[1].score
        assert len(store.buckets()) == 3


def test_the_bucket_that_it_is_in_is_not_listed() -> None:
    with Store.open("sqlite://") as store:
        terms = _terms("acme_read", "acme_lock")
        store.add(1, [outcome("a", case("acme_read", terms=terms))])
        (bucket,) = store.buckets()
        assert similar(store, terms, but=bucket.id) == []
        assert similar(store, terms)[0].score == pytest.approx(1.0)


def test_a_paste_is_told_its_bucket(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(oops("acme_read"))
    (tmp_path / "b.log").write_text(oops("acme_write", seconds=3))
    path = tmp_path / "s.db"
    with Store.open(path) as store:
        triage(store, tmp_path / "a.log", tmp_path / "b.log")
        bucket = next(found for found in store.buckets() if found.function == "acme_read")
    arguments = ["triage", "similar", "--store", str(path), bucket.best_case]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.exception is None
    assert f"is in bucket {bucket.id}" in result.output
    assert "in acme_write" in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())
