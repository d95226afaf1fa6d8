"""What all pages share: the store, the folder, tags and links, and how a page is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from markupsafe import Markup

import postmortem
from postmortem.known.rules import Rule
from postmortem.model.result import Analysis
from postmortem.redact import Redactor, redacted
from postmortem.render.html import Crumb, site_page
from postmortem.render.sections import Section
from postmortem.render.timeline import svg
from postmortem.triage.folder import Folder
from postmortem.triage.rows import Bucket, StoredCase
from postmortem.triage.schema import ALL_BUCKETS, LEADING
from postmortem.triage.site.of_case import of_case
from postmortem.triage.site.views import Tag
from postmortem.triage.site.wording import as_date
from postmortem.triage.store import Store

BUCKET_PAGES = 1000
"""Buckets with a page of their own, by crashes; those that are new have one too."""
CASE_PAGES = 4
"""Pages for the cases of a bucket: the best example and the newest."""

ID = re.compile(r"[0-9a-z][0-9a-z.]{0,40}")


@dataclass(frozen=True)
class Options:
    """What may be said about the pages."""

    redact: bool = False
    pictures: bool = False
    """Draw flame graphs and waits of the best examples, from the dumps that are still there."""
    bucket_pages: int = BUCKET_PAGES
    case_pages: int = CASE_PAGES
    rules: Sequence[Rule] = ()
    progress: Callable[[int, int], None] | None = None
    """Called with the buckets that are done, and how many there are."""


class Site:
    """All pages of one store, while they are written."""

    def __init__(self, store: Store, folder: Folder, options: Options) -> None:
        self.store = store
        self.folder = folder
        self.options = options
        self.redactor = Redactor() if options.redact else None
        self.everything = store.tallies("", limit=100_000)
        of_buckets = store.tallies(ALL_BUCKETS, "day", limit=100_000)
        self.days = of_buckets.get("day", {})
        self.hosts_seen = store.counted(ALL_BUCKETS, "host")
        self.crashes = self.everything.get("state", {}).get(LEADING, 0)
        runs = store.runs(1)
        self.before = store.last_complete_run(before=runs[0].id if runs else None)
        self.today = as_date(runs[0].started) if runs else date.today()
        self.pages: set[str] = set()
        self.known: dict[str, str] = {}
        self.problems: list[str] = []
        if self.redactor is not None:
            for host in self.everything.get("host", {}):
                self.redactor.learn_host(host)

    def listed(self, order: str, limit: int) -> Iterator[Bucket]:
        after: Bucket | None = None
        left = limit
        while left > 0:
            found = self.store.buckets(limit=min(left, 500), after=after, order=order)
            if not found:
                return
            yield from found
            left -= len(found)
            after = found[-1]

    def tags(self, bucket: Bucket) -> tuple[Tag, ...]:
        found = []
        if bucket.successor_of:
            found.append(Tag("came back", "back"))
        elif self.before and bucket.created_run > self.before:
            found.append(Tag("new", "new"))
        if bucket.state == "fixed":
            found.append(Tag("fixed in " + ", ".join(bucket.fixed_in), "fixed"))
        if bucket.id in self.known:
            found.append(Tag("known", "known"))
        return tuple(found)

    def href(self, bucket: Bucket, up: str) -> str:
        has_page = bucket.id in self.pages and ID.fullmatch(bucket.id)
        return f"{up}bucket/{bucket.id}.html" if has_page else ""

    def analysis(self, case: StoredCase) -> Analysis | None:
        """The stored analysis of a case, about that case."""
        document = self.store.document(case.input_id)
        if document is None:
            return None
        try:
            found = of_case(postmortem.read_json(document), case)
        except ValueError as error:
            self.problems.append(f"case {case.id}: {error}")
            return None
        return redacted(found) if self.options.redact else found

    def put(
        self,
        template: str,
        name: str,
        title: str,
        view: Any,
        crumbs: Sequence[Crumb],
        sections: Sequence[Section] = (),
    ) -> None:
        drawn = getattr(view, "timeline", None)
        if self.redactor is not None:
            self.redactor.learn(_texts(view))
            view = self.redactor.value(view)
            title = self.redactor.text(title)
        text = site_page(
            template,
            title=title,
            view=view,
            crumbs=crumbs,
            sections=list(sections),
            drawn=Markup(svg(drawn, "crashes")) if drawn else "",
        )
        self.folder.write(name, text)


def _texts(value: Any) -> Iterable[str]:
    """All strings of a view."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _texts(getattr(value, name))
