"""The pages of a pile of crashes in a browser: they fit, sort, search, lead on, and run nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.triage.pages import write_pages
from tests.browser.seen import Seen, too_wide, violations
from tests.triage.filled import pile

pytestmark = pytest.mark.chromium

ATTACK = "<script>document.title='run'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of an ordinary pile and of one whose names are an attack."""
    found = {}
    for name, hostile in (("plain", ""), ("hostile", ATTACK)):
        folder = tmp_path_factory.mktemp(name)
        with pile(folder / "crashes.db", hostile=hostile) as store:
            write_pages(store, folder / "pages")
        found[name] = folder / "pages"
    return found


def kinds(site: Path) -> list[Path]:
    """One page of each kind."""
    first = [next(iter(sorted((site / name).iterdir()))) for name in ("bucket", "case")]
    return [*sorted(site.glob("*.html")), *first]


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_every_page_fits_its_window_and_can_be_read(
    seen: Seen, sites: dict[str, Path], name: str
) -> None:
    for file in kinds(sites[name]):
        seen.asked.clear()
        seen.page.goto(file.as_uri())
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert too_wide(seen) <= 0, file.name
        assert seen.page.title() != "run"
        assert seen.page.locator("img, iframe, object").count() == 0
        assert seen.page.locator("script").count() == 1
        assert violations(seen) == [], file.name
        assert (seen.asked, seen.said) == ([file.as_uri()], [])


def test_a_hostile_host_and_title_are_shown_as_text(seen: Seen, sites: dict[str, Path]) -> None:
    seen.page.goto((sites["hostile"] / "index.html").as_uri())
    assert ATTACK in seen.page.inner_text("#buckets")
    seen.page.locator("#buckets a").first.click()
    assert ATTACK in seen.page.inner_text("h1")
    assert f"web0{ATTACK}" in seen.page.inner_text("main")
    seen.page.get_by_text("the whole report").click()
    assert f"foo: {ATTACK}" in seen.page.inner_text("main")


def test_a_column_is_sorted_by_a_click(seen: Seen, sites: dict[str, Path]) -> None:
    seen.page.goto((sites["plain"] / "index.html").as_uri())
    numbers = "[...document.querySelectorAll('#buckets tbody tr')].map(r => +r.cells[0].innerText)"
    assert seen.page.evaluate(numbers) == [40, 9, 1]
    seen.page.get_by_role("button", name="crashes").click()
    assert seen.page.evaluate(numbers) == [1, 9, 40]
    seen.page.get_by_role("button", name="crashes").click()
    assert seen.page.evaluate(numbers) == [40, 9, 1]
    head = seen.page.locator("th[aria-sort]")
    assert (head.count(), head.get_attribute("aria-sort")) == (1, "descending")


def test_rows_are_searched(seen: Seen, sites: dict[str, Path]) -> None:
    seen.page.goto((sites["plain"] / "index.html").as_uri())
    seen.page.get_by_label("search").fill("bar BUG")
    assert seen.page.locator("#buckets tbody tr:visible").count() == 1
    seen.page.get_by_label("search").fill("")
    assert seen.page.locator("#buckets tbody tr:visible").count() == 3


def test_one_comes_from_the_index_to_a_report_and_back(seen: Seen, sites: dict[str, Path]) -> None:
    seen.page.goto((sites["plain"] / "index.html").as_uri())
    seen.page.get_by_role("link", name="kernel BUG in foo_read").click()
    seen.page.get_by_role("link", name="the whole report").click()
    assert "Stack of sh" in seen.page.inner_text("main")
    seen.page.get_by_role("link", name="all bugs").click()
    assert seen.page.url.endswith("/index.html")
