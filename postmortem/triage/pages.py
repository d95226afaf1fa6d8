"""``--html DIR``: the store as pages that lead to each other, for people without a server.

An index with the buckets (in pages, for a store may have ten thousand), a page for each bucket, one
for its best example and its newest cases. Each page is whole: nothing is loaded, everything is
escaped where the templates put it out (:mod:`postmortem.render.html`). What stands on a page is a
view (``site/views.py``): plain data, redacted as a whole where that is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postmortem.triage.folder import Folder
from postmortem.triage.rows import Bucket
from postmortem.triage.site.bucket import bucket_page
from postmortem.triage.site.index import ROWS, index_pages, whole_list
from postmortem.triage.site.site import Options, Site
from postmortem.triage.site.tables import failed_page, hosts_page, unsorted_page
from postmortem.triage.store import Store

__all__ = ["ROWS", "Options", "Written", "write_pages"]


@dataclass(frozen=True)
class Written:
    """What came of it."""

    pages: int
    """New or changed."""
    same: int
    buckets: int
    problems: tuple[str, ...]


def write_pages(store: Store, path: Path, options: Options | None = None) -> Written:
    """Write all pages below ``path``.

    :raises PostmortemError: the store can't be read, or the pages can't be written.
    """
    with Folder(path) as folder:
        site = Site(store, folder, options or Options())
        buckets = _write(site)
        return Written(folder.written, folder.same, buckets, tuple(site.problems))


def _write(site: Site) -> int:
    """Pages of buckets first: the index says which of them are known issues."""
    totals = site.store.totals()
    paged = list(_with_pages(site))
    site.pages = {bucket.id for bucket in paged}
    for number, bucket in enumerate(paged, 1):
        bucket_page(site, bucket)
        if site.options.progress is not None:
            site.options.progress(number, len(paged))
    for name, order in (("index", "crashes"), ("recent", "last")):
        index_pages(site, name, order, totals)
    if totals.buckets > ROWS:
        whole_list(site, totals)
    hosts_page(site)
    unsorted_page(site)
    failed_page(site)
    return totals.buckets


def _with_pages(site: Site) -> Iterator[Bucket]:
    """The buckets that get a page: the largest, and what is new since the last run."""
    known: set[str] = set()
    limit = site.options.bucket_pages
    for bucket in site.listed("crashes", limit):
        known.add(bucket.id)
        yield bucket
    if site.before:
        for bucket in site.store.buckets(limit=limit, new_since=site.before):
            if bucket.id not in known:
                yield bucket
