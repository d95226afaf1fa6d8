"""The page of a dump with its pictures, as long as the dump is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from postmortem.render.html import Crumb
from postmortem.triage import pictures
from postmortem.triage.pictures import drawn_page
from postmortem.triage.rows import Seen
from postmortem.triage.store import Store
from tests.triage.stores import case, outcome

CRUMBS = [Crumb("<b>bug</b>", "../index.html")]


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Store, str, Path]:
    dump = tmp_path / "-o; touch x.vmcore.zst"
    shutil.copy("corpus/dumps/6.12-null-chain.vmcore.zst", dump)
    store = Store.open(tmp_path / "x.db")
    told = outcome("dump", case(source="vmcore"))
    found = dump.stat()
    store.add(
        store.begin_run([]),
        [told],
        [(str(dump), Seen(found.st_size, found.st_mtime_ns, told.id))],
    )
    return store, told.id, dump


def test_a_page_has_pictures_and_links(stored: tuple[Store, str, Path]) -> None:
    store, name, dump = stored
    text = drawn_page(store, name, CRUMBS, redact=False)
    assert text is not None
    assert "pm-flame" in text
    assert '<a href="../index.html">&lt;b&gt;bug&lt;/b&gt;</a>' in text
    left = {path.name for path in dump.parent.iterdir()}
    assert {name for name in left if not name.startswith("x.db")} == {dump.name}


def test_names_stay_at_home_here_too(stored: tuple[Store, str, Path]) -> None:
    text = drawn_page(stored[0], stored[1], CRUMBS, redact=True)
    assert text is not None
    assert "crashbox" not in text


@pytest.mark.parametrize("change", ["gone", "another", "hostile"])
def test_without_the_dump_there_is_no_picture(
    stored: tuple[Store, str, Path], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, name, dump = stored
    if change == "gone":
        dump.unlink()
    elif change == "another":
        os.utime(dump, ns=(1, 1))
    else:
        monkeypatch.setattr(pictures, "SECONDS", 0.01)
    assert drawn_page(store, name, CRUMBS, redact=False) is None
