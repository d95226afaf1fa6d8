"""The pages of a store: what stands on them, where they lead, and that nothing runs in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postmortem.known.rules import Match, Rule
from postmortem.triage.grouping import Action
from postmortem.triage.pages import ROWS, Options, write_pages
from postmortem.triage.store import Store
from tests.triage.filled import pile, told
from tests.triage.stores import case, outcome

ATTACK = "<script>document.title='run'</script>"
LINK = re.compile(r'href="([^"]*)"')


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return pile(tmp_path / "crashes.db")


def test_an_index_leads_to_buckets_and_they_to_cases(store: Store, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    write_pages(store, pages)
    files = [path for path in pages.rglob("*") if path.is_file()]
    seen = {pages / "index.html"}
    for _ in range(4):
        for file in list(seen):
            seen |= {(file.parent / link).resolve() for link in LINK.findall(file.read_text())}
    assert seen == {file.resolve() for file in files}


def test_the_index_counts(store: Store, tmp_path: Path) -> None:
    write_pages(store, tmp_path)
    text = (tmp_path / "index.html").read_text()
    for fact in (
        "<b>3</b>bugs",
        "<b>51</b>crashes",
        '<b>7</b><a href="hosts.html">hosts',
        "unsorted",
        "not analysed",
    ):
        assert fact in text
    titles = re.findall(r'html">(kernel BUG in \w+)</a>', text)
    assert titles == [f"kernel BUG in {name}" for name in ("foo_read", "bar_write", "new_one")]
    assert text.count('class="tag new"') == 1


def test_a_bucket_s_page_says_what_is_special(store: Store, tmp_path: Path) -> None:
    write_pages(store, tmp_path)
    (bucket, *_) = store.buckets()
    text = (tmp_path / "bucket" / f"{bucket.id}.html").read_text()
    rows = re.findall(r"<tr><td>module</td><td>(\w+)</td>.*?(\d+ of \d+).*?(\d+ of \d+)", text)
    # Of the one that is unsorted no list of modules is known.
    assert rows == [("foo_read", "40 of 40", "0 of 10")]
    assert "Stack of sh (pid 312)" in text
    assert "the whole report" in text


def test_what_came_back_leads_to_what_was_fixed(store: Store, tmp_path: Path) -> None:
    (bucket, *_) = store.buckets()
    store.decide(Action.FIXED, bucket=bucket.id, releases=["6.1.72"])
    store.add(store.begin_run([]), [told(47)])
    back = [found for found in store.buckets() if found.successor_of == bucket.id]
    assert back
    write_pages(store, tmp_path)
    old = (tmp_path / "bucket" / f"{bucket.id}.html").read_text()
    new = (tmp_path / "bucket" / f"{back[0].id}.html").read_text()
    assert f'After its fix came <a href="../bucket/{back[0].id}.html">' in old
    assert f'It came back: <a href="../bucket/{bucket.id}.html">' in new
    assert "came back" in (tmp_path / "index.html").read_text()


def test_what_is_perhaps_the_same_is_shown_and_not_joined(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    words = (("f:acme_poll", 1.0), ("f:acme_work", 0.8))
    told = [outcome(name, case(name, terms=words)) for name in ("one", "two")]
    far = outcome("far", case("far", terms=(("f:other", 1.0),)))
    store.add(store.begin_run([]), [*told, far])
    write_pages(store, tmp_path / "pages")
    one = next(bucket for bucket in store.buckets() if bucket.function == "one")
    text = (tmp_path / "pages" / "bucket" / f"{one.id}.html").read_text()
    (row,) = re.findall(
        r'<td class="number">(1\.00)</td><td><a [^>]*>([^<]*)</a></td><td>(.*?)</td>', text
    )
    assert row == ("1.00", "kernel BUG in two", "acme_poll, acme_work")


def test_hosts_have_a_page(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    told = [
        outcome(str(n), case(f"f{n}", host="ill", features=(("host", "ill"),))) for n in range(3)
    ]
    store.add(store.begin_run([]), told)
    write_pages(store, tmp_path / "pages")
    text = (tmp_path / "pages" / "hosts.html").read_text()
    assert "3 unlike bugs" in text


def test_a_known_issue_is_said(store: Store, tmp_path: Path) -> None:
    rule = Rule("mine", "A cause.", Match(functions=("pm_null_write",)), advice="")
    write_pages(store, tmp_path, Options(rules=[rule]))
    (bucket, *_) = store.buckets()
    page = (tmp_path / "bucket" / f"{bucket.id}.html").read_text()
    assert "Known: mine: A cause" in page
    assert 'class="tag known"' in (tmp_path / "index.html").read_text()


def test_nothing_of_the_input_is_markup(tmp_path: Path) -> None:
    write_pages(pile(tmp_path / "x.db", hostile=ATTACK), tmp_path / "pages")
    for file in (tmp_path / "pages").rglob("*.html"):
        text = file.read_text()
        assert ATTACK not in text
        assert text.count("<script>") == 1
    assert "&lt;script&gt;" in (tmp_path / "pages" / "index.html").read_text()


def test_names_that_are_private_stay_at_home(tmp_path: Path) -> None:
    store = pile(tmp_path / "x.db", hostile=".office.example.com")
    write_pages(store, tmp_path / "pages", Options(redact=True))
    for file in (tmp_path / "pages").rglob("*.html"):
        assert not re.search(r"office|web[0-6]", file.read_text()), file
    assert "host-" in next((tmp_path / "pages" / "bucket").iterdir()).read_text()


def test_pages_that_are_the_same_are_left_alone(store: Store, tmp_path: Path) -> None:
    first = write_pages(store, tmp_path)
    again = write_pages(store, tmp_path)
    assert (again.pages, again.same) == (0, first.pages)


def test_many_buckets_are_paged_and_searched(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    count = 2 * ROWS + 7
    cases = [outcome(str(n), case(f"f{n}", shown=f"BUG in f{n}")) for n in range(count)]
    store.add(store.begin_run([]), cases)
    write_pages(store, tmp_path / "pages", Options(bucket_pages=20))
    pages = [tmp_path / "pages" / name for name in ("index.html", "index-2.html", "index-3.html")]
    titles = [title for page in pages for title in re.findall(r"BUG in f\d+", page.read_text())]
    assert len(set(titles)) == len(titles) == count
    assert all(len(page.read_text()) < 300_000 for page in pages)
    everything = (tmp_path / "pages" / "all.html").read_text()
    assert len(set(re.findall(r"BUG in f\d+", everything))) == count
    assert len(list((tmp_path / "pages" / "bucket").iterdir())) == 20
