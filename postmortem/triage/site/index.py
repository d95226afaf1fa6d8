"""The index: all bugs in two orders, a page after the other, and all on one to be searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from postmortem.render.html import Crumb
from postmortem.render.timeline import timeline
from postmortem.triage import schema as t
from postmortem.triage.rows import Bucket, Totals
from postmortem.triage.site.site import Site
from postmortem.triage.site.views import BucketRow, Cell, Fact, IndexView, TableView
from postmortem.triage.site.wording import day, few, numbered

ROWS = 150
"""Buckets on a page of the index: about 100 KB."""
MAX_LISTED = 20_000
"""Buckets on all pages of the index, and on the one that is searched."""


def index_pages(site: Site, name: str, order: str, totals: Totals) -> None:
    """All buckets in one order, a page after the other."""
    after: Bucket | None = None
    for number in range(1, _pages(totals) + 1):
        after = index_page(site, name, order, totals, number, after)


def index_page(
    site: Site, name: str, order: str, totals: Totals, number: int, after: Bucket | None
) -> Bucket | None:
    """One page of them; its last bucket."""
    found = site.store.buckets(limit=ROWS, after=after, order=order)
    view = IndexView(
        facts=_facts(site, totals) if number == 1 else (),
        heading="Bugs",
        aside=_range(number, len(found), totals.buckets, order),
        search="function, module, kernel ...",
        sorted="crashes" if order == "crashes" else "last seen",
        rows=tuple(_rows(site, found)),
        timeline=timeline(site.days, site.today) if number == 1 else None,
    )
    crumbs = _crumbs(name, number, _pages(totals), totals)
    site.put("triage_index.html", numbered(name, number), "Crashes", view, crumbs)
    return found[-1] if found else None


def _pages(totals: Totals) -> int:
    return max(-(-min(totals.buckets, MAX_LISTED) // ROWS), 1)


def _range(number: int, count: int, total: int, order: str) -> str:
    first = (number - 1) * ROWS + 1
    by = "most crashes first" if order == "crashes" else "last seen first"
    return by if count == total else f"{first} to {first + count - 1} of {total}, {by}"


def _facts(site: Site, totals: Totals) -> tuple[Fact, ...]:
    count = site.hosts_seen
    return (
        Fact(totals.buckets, "bug" if totals.buckets == 1 else "bugs"),
        Fact(totals.cases - totals.calm, "crashes told of"),
        *([Fact(count, "host" if count == 1 else "hosts", "hosts.html")] if count else ()),
        *([Fact(totals.unsorted, "unsorted", "unsorted.html")] if totals.unsorted else ()),
        *([Fact(totals.calm, "cases without a failure")] if totals.calm else ()),
        *([Fact(totals.failed, "not analysed", "failed.html")] if totals.failed else ()),
    )


def _crumbs(name: str, number: int, pages: int, totals: Totals) -> list[Crumb]:
    found = [
        Crumb("most crashes", "" if name == "index" else "index.html"),
        Crumb("last seen", "" if name == "recent" else "recent.html"),
    ]
    if totals.buckets > ROWS:
        found.append(Crumb("search all", "" if name == "all" else "all.html"))
    if number > 1:
        found.append(Crumb("page before", numbered(name, number - 1)))
    if number < pages:
        found.append(Crumb("next page", numbered(name, number + 1)))
    return found


def whole_list(site: Site, totals: Totals) -> None:
    """All buckets on one page, to be searched; a line each, without kernels."""
    found = list(site.listed("crashes", MAX_LISTED))
    view = TableView(
        notes=()
        if len(found) == totals.buckets
        else (f"The {len(found)} with the most crashes, of {totals.buckets}.",),
        columns=(("crashes", "number"), ("bug", ""), ("last seen", "")),
        wide=1,
        sorted="crashes",
        rows=tuple(
            (Cell(str(b.crashes)), Cell(b.shown, site.href(b, "")), Cell(day(b.last)))
            for b in found
        ),
    )
    crumbs = _crumbs("all", 1, 1, totals)
    site.put("triage_table.html", "all.html", "All bugs", view, crumbs)


def _rows(site: Site, buckets: Sequence[Bucket]) -> Iterator[BucketRow]:
    kernels = _releases(site, [bucket.id for bucket in buckets])
    for bucket in buckets:
        yield BucketRow(
            href=site.href(bucket, ""),
            title=bucket.shown,
            kind=bucket.kind,
            module=bucket.module or "",
            crashes=bucket.crashes,
            hosts=str(bucket.hosts or "-"),  # none of them may have said its name
            kernels=few(kernels.get(bucket.id, {})),
            first=day(bucket.first),
            last=day(bucket.last),
            tags=site.tags(bucket),
        )


def _releases(site: Site, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """The kernels of several buckets, from counters, at once."""
    c = t.tally.c
    found: dict[str, dict[str, int]] = {}
    query = (
        sa.select(c.bucket_id, c.value, c.count)
        .where(c.name == "release", c.bucket_id.in_(ids))
        .order_by(c.count.desc(), c.value)
    )
    with site.store.reading() as connection:
        for row in connection.execute(query):
            found.setdefault(row.bucket_id, {})[row.value] = row[2]
    return found
