"""``--html DIR``: the store as pages that lead to each other, for people without a server.

An index with the buckets (in pages, for a store may have ten thousand), a page for each bucket, one
for its best example and its newest cases. Each page is whole: nothing is loaded, everything is
escaped where the templates put it out (:mod:`postmortem.render.html`). What stands on a page is a
view here: plain data, redacted as a whole where that is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from markupsafe import Markup

import postmortem
from postmortem.known.match import known, sentence
from postmortem.known.rules import Rule
from postmortem.model.findings import Confidence, Culprit, Finding, Kind, Severity, Verdict
from postmortem.model.result import Analysis
from postmortem.redact import Redactor, redacted
from postmortem.render import words
from postmortem.render.clean import clean_prose
from postmortem.render.html import Crumb, page, site_page
from postmortem.render.sections import Section, main_stack, of_verdict
from postmortem.render.timeline import Timeline, svg, timeline
from postmortem.triage import schema as t
from postmortem.triage.folder import Folder
from postmortem.triage.hosts import hosts
from postmortem.triage.pictures import drawn_page
from postmortem.triage.rows import Bucket, StoredCase
from postmortem.triage.similar import similar
from postmortem.triage.special import Special, special
from postmortem.triage.store import Store

V = TypeVar("V")

ROWS = 150
"""Buckets on a page of the index: about 100 KB."""
MAX_LISTED = 20_000
"""Buckets on all pages of the index, and on the one that is searched."""
BUCKET_PAGES = 1000
"""Buckets with a page of their own, by crashes; those that are new have one too."""
CASES = 100
"""Crashes in the table of a bucket."""
MAX_HOSTS = 1000
ALIKE = 5
"""Bugs that are perhaps the same as one."""
MIN_ALIKE = 0.2
CASE_PAGES = 4
"""Pages for the cases of a bucket: the best example and the newest."""
_ID = re.compile(r"[0-9a-z][0-9a-z.]{0,40}")
_KEPT = {"kept": True}


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


@dataclass(frozen=True)
class Fact:
    """A number and what it counts."""

    count: int
    text: str
    href: str = field(default="", metadata=_KEPT)


@dataclass(frozen=True)
class Tag:
    """A word beside a title."""

    text: str
    style: str = field(metadata=_KEPT)


@dataclass(frozen=True)
class Cell:
    """A cell of a table, perhaps a link."""

    text: str
    href: str = field(default="", metadata=_KEPT)


@dataclass(frozen=True)
class BucketRow:
    """A bucket in the index."""

    href: str = field(metadata=_KEPT)
    title: str
    kind: str
    module: str
    crashes: int
    hosts: str
    kernels: str
    first: str
    last: str
    tags: tuple[Tag, ...]


@dataclass(frozen=True)
class IndexView:
    """One page of the index."""

    facts: tuple[Fact, ...]
    heading: str
    aside: str
    search: str
    sorted: str
    rows: tuple[BucketRow, ...]
    timeline: Timeline | None = field(default=None, metadata=_KEPT)


@dataclass(frozen=True)
class TableView:
    """A table with a page of its own."""

    notes: tuple[str, ...]
    columns: tuple[tuple[str, str], ...] = field(metadata=_KEPT)
    """Titles and classes."""
    wide: int
    """The column whose text is wrapped."""
    sorted: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class SpecialRow:
    """What is over-represented, in words."""

    name: str
    value: str
    here: str
    others: str
    chance: str


@dataclass(frozen=True)
class Group:
    """How many crashes have which value."""

    title: str
    rows: tuple[tuple[str, int], ...]
    more: int


@dataclass(frozen=True)
class CaseRow:
    """A crash in the table of its bucket."""

    id: str = field(metadata=_KEPT)
    href: str = field(metadata=_KEPT)
    when: str
    host: str
    release: str
    model: str
    source: str


@dataclass(frozen=True)
class BucketView:
    """The page of a bucket."""

    id: str = field(metadata=_KEPT)
    key: str = field(metadata=_KEPT)
    title: str
    kind: str
    module: str
    tags: tuple[Tag, ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    before: Cell | None
    after: tuple[Cell, ...]
    special: tuple[SpecialRow, ...]
    nothing_special: str
    groups: tuple[Group, ...]
    alike: tuple[tuple[str, Cell, str], ...]
    """What is perhaps the same: how alike from 0 to 1, the bug, functions that both have."""
    example: Cell
    cases: tuple[CaseRow, ...]
    cases_aside: str
    timeline: Timeline | None = field(default=None, metadata=_KEPT)


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
        site = _Site(store, folder, options or Options())
        site.write()
        return Written(folder.written, folder.same, site.buckets, tuple(site.problems))


class _Site:
    """All pages of one store, while they are written."""

    def __init__(self, store: Store, folder: Folder, options: Options) -> None:
        self._store = store
        self._folder = folder
        self._options = options
        self._redactor = Redactor() if options.redact else None
        self._all = store.tallies("", limit=100_000)
        self._days = _of_buckets(store, "day")
        self._hosts_seen = _of_buckets(store, "host")
        self._crashes = _all_crashes(store)
        runs = store.runs(1)
        self._before = store.last_complete_run(before=runs[0].id if runs else None)
        self._today = _date(runs[0].started) if runs else date.today()
        self._pages: set[str] = set()
        self._known: dict[str, str] = {}
        self.buckets = 0
        self.problems: list[str] = []
        if self._redactor is not None:
            for host in self._all.get("host", {}):
                self._redactor.learn_host(host)

    def write(self) -> None:
        """Pages of buckets first: the index says which of them are known issues."""
        totals = self._store.totals()
        paged = list(self._with_pages())
        self._pages = {bucket.id for bucket in paged}
        for number, bucket in enumerate(paged, 1):
            self._bucket(bucket)
            if self._options.progress is not None:
                self._options.progress(number, len(paged))
        self.buckets = totals.buckets
        for name, order in (("index", "crashes"), ("recent", "last")):
            self._index(name, order, totals)
        if totals.buckets > ROWS:
            self._whole_list(totals)
        self._hosts()
        self._unsorted()
        self._failed()

    def _with_pages(self) -> Iterator[Bucket]:
        """The buckets that get a page: the largest, and what is new since the last run."""
        known: set[str] = set()
        limit = self._options.bucket_pages
        for bucket in self._listed("crashes", limit):
            known.add(bucket.id)
            yield bucket
        if self._before:
            for bucket in self._store.buckets(limit=limit, new_since=self._before):
                if bucket.id not in known:
                    yield bucket

    def _listed(self, order: str, limit: int) -> Iterator[Bucket]:
        after: Bucket | None = None
        left = limit
        while left > 0:
            found = self._store.buckets(limit=min(left, 500), after=after, order=order)
            if not found:
                return
            yield from found
            left -= len(found)
            after = found[-1]

    # --- the index ----------------------------------------------------------------------

    def _index(self, name: str, order: str, totals: Any) -> None:
        """All buckets in one order, a page after the other."""
        pages = max(-(-min(totals.buckets, MAX_LISTED) // ROWS), 1)
        after: Bucket | None = None
        for number in range(1, pages + 1):
            found = self._store.buckets(limit=ROWS, after=after, order=order)
            after = found[-1] if found else None
            view = IndexView(
                facts=self._facts(totals) if number == 1 else (),
                heading="Bugs",
                aside=self._range(number, len(found), totals.buckets, order),
                search="function, module, kernel ...",
                sorted="crashes" if order == "crashes" else "last seen",
                rows=tuple(self._rows(found)),
                timeline=timeline(self._days, self._today) if number == 1 else None,
            )
            crumbs = self._crumbs(name, number, pages, totals)
            self._put("triage_index.html", _numbered(name, number), "Crashes", view, crumbs)

    @staticmethod
    def _range(number: int, count: int, total: int, order: str) -> str:
        first = (number - 1) * ROWS + 1
        by = "most crashes first" if order == "crashes" else "last seen first"
        return by if count == total else f"{first} to {first + count - 1} of {total}, {by}"

    def _facts(self, totals: Any) -> tuple[Fact, ...]:
        count = len(self._hosts_seen)
        return (
            Fact(totals.buckets, "bug" if totals.buckets == 1 else "bugs"),
            Fact(totals.cases - totals.calm, "crashes told of"),
            *([Fact(count, "host" if count == 1 else "hosts", "hosts.html")] if count else ()),
            *([Fact(totals.unsorted, "unsorted", "unsorted.html")] if totals.unsorted else ()),
            *([Fact(totals.calm, "cases without a failure")] if totals.calm else ()),
            *([Fact(totals.failed, "not analysed", "failed.html")] if totals.failed else ()),
        )

    def _crumbs(self, name: str, number: int, pages: int, totals: Any) -> list[Crumb]:
        found = [
            Crumb("most crashes", "" if name == "index" else "index.html"),
            Crumb("last seen", "" if name == "recent" else "recent.html"),
        ]
        if totals.buckets > ROWS:
            found.append(Crumb("search all", "" if name == "all" else "all.html"))
        if number > 1:
            found.append(Crumb("page before", _numbered(name, number - 1)))
        if number < pages:
            found.append(Crumb("next page", _numbered(name, number + 1)))
        return found

    def _whole_list(self, totals: Any) -> None:
        """All buckets on one page, to be searched; a line each, without kernels."""
        found = list(self._listed("crashes", MAX_LISTED))
        view = TableView(
            notes=()
            if len(found) == totals.buckets
            else (f"The {len(found)} with the most crashes, of {totals.buckets}.",),
            columns=(("crashes", "number"), ("bug", ""), ("last seen", "")),
            wide=1,
            sorted="crashes",
            rows=tuple(
                (Cell(str(b.crashes)), Cell(b.shown, self._href(b, "")), Cell(_day(b.last)))
                for b in found
            ),
        )
        crumbs = self._crumbs("all", 1, 1, totals)
        self._put("triage_table.html", "all.html", "All bugs", view, crumbs)

    def _rows(self, buckets: Sequence[Bucket]) -> Iterator[BucketRow]:
        kernels = self._releases([bucket.id for bucket in buckets])
        for bucket in buckets:
            yield BucketRow(
                href=self._href(bucket, ""),
                title=bucket.shown,
                kind=bucket.kind,
                module=bucket.module or "",
                crashes=bucket.crashes,
                hosts=str(bucket.hosts or "-"),  # none of them may have said its name
                kernels=_few(kernels.get(bucket.id, {})),
                first=_day(bucket.first),
                last=_day(bucket.last),
                tags=self._tags(bucket),
            )

    def _releases(self, ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """The kernels of several buckets, from counters, at once."""
        c = t.tally.c
        found: dict[str, dict[str, int]] = {}
        query = (
            sa.select(c.bucket_id, c.value, c.count)
            .where(c.name == "release", c.bucket_id.in_(ids))
            .order_by(c.count.desc(), c.value)
        )
        with self._store.reading() as connection:
            for row in connection.execute(query):
                found.setdefault(row.bucket_id, {})[row.value] = row[2]
        return found

    def _tags(self, bucket: Bucket) -> tuple[Tag, ...]:
        found = []
        if bucket.successor_of:
            found.append(Tag("came back", "back"))
        elif self._before and bucket.created_run > self._before:
            found.append(Tag("new", "new"))
        if bucket.state == "fixed":
            found.append(Tag("fixed in " + ", ".join(bucket.fixed_in), "fixed"))
        if bucket.id in self._known:
            found.append(Tag("known", "known"))
        return tuple(found)

    def _href(self, bucket: Bucket, up: str) -> str:
        has_page = bucket.id in self._pages and _ID.fullmatch(bucket.id)
        return f"{up}bucket/{bucket.id}.html" if has_page else ""

    # --- a bucket -----------------------------------------------------------------------

    def _bucket(self, bucket: Bucket) -> None:
        cases = self._store.cases(bucket=bucket.id, limit=CASES)
        best = next((case for case in cases if case.id == bucket.best_case), None)
        if best is None:
            best = self._store.case(bucket.best_case)
        analysis = self._analysis(best)
        said = self._said(bucket, analysis)
        chosen = [best, *(case for case in cases if case.leads and case.id != best.id)]
        paged = {
            case.id
            for case in chosen[: self._options.case_pages]
            if self._case(bucket, case, analysis if case is best else None)
        }
        tallies = self._store.tallies(bucket.id)
        view = BucketView(
            id=bucket.id,
            key=bucket.key,
            title=bucket.shown,
            kind=bucket.kind,
            module=bucket.module or "",
            tags=self._tags(bucket),
            facts=_bucket_facts(bucket),
            notes=tuple(said),
            before=self._before_it(bucket),
            after=tuple(
                Cell(other.shown, self._href(other, "../"))
                for other in self._store.successors(bucket.id)
            ),
            special=tuple(self._special(bucket, tallies)),
            nothing_special=_nothing_special(bucket),
            groups=tuple(self._groups(tallies)),
            alike=tuple(self._alike(bucket, best)),
            example=Cell(_where(best), _case_href(best.id) if best.id in paged else ""),
            cases=tuple(_case_row(case, paged) for case in cases),
            cases_aside=f"the newest {len(cases)} of {bucket.cases}"
            if bucket.cases > len(cases)
            else "",
            timeline=self._timeline(tallies),
        )
        self._put(
            "triage_bucket.html",
            f"bucket/{bucket.id}.html",
            bucket.shown,
            view,
            [Crumb("all bugs", "../index.html")],
            sections=_example(analysis),
        )

    def _said(self, bucket: Bucket, analysis: Analysis | None) -> Iterator[str]:
        """The best example's summary, and what the rules know."""
        if analysis is None:
            return
        yield analysis.verdict.summary
        found = [item for item in known(analysis, self._options.rules) if item.is_known]
        for item in found[:3]:
            self._known.setdefault(bucket.id, item.rule.id)
            yield sentence(item)

    def _alike(self, bucket: Bucket, best: StoredCase) -> Iterator[tuple[str, Cell, str]]:
        for item in similar(self._store, best.terms, but=bucket.id, time=best.time, limit=ALIKE):
            if item.score >= MIN_ALIKE:
                other = Cell(item.bucket.shown, self._href(item.bucket, "../"))
                yield f"{item.score:.2f}", other, ", ".join(item.shared)

    def _before_it(self, bucket: Bucket) -> Cell | None:
        if not bucket.successor_of:
            return None
        try:
            other = self._store.bucket(bucket.successor_of)
        except postmortem.errors.UsageError:
            return None  # no case of it is left
        return Cell(other.shown, self._href(other, "../"))

    def _special(
        self, bucket: Bucket, tallies: Mapping[str, Mapping[str, int]]
    ) -> Iterator[SpecialRow]:
        for row in special(tallies, self._all, bucket.crashes, self._crashes)[:25]:
            yield SpecialRow(
                name=_NAMES[row.name],
                value=self._value(row),
                here=f"{row.inside} of {row.inside_all}",
                others=f"{row.outside} of {row.outside_all}",
                chance=_chance(row.chance),
            )

    def _value(self, row: Special) -> str:
        if self._redactor is not None and row.name == "option":
            return self._redactor.command_line(row.value)
        return row.value

    def _groups(self, tallies: Mapping[str, Mapping[str, int]]) -> Iterator[Group]:
        for name in ("release", "host", "model", "firmware"):
            values = tallies.get(name, {})
            if values:
                shown = tuple(values.items())[:10]
                yield Group(_NAMES[name] + "s", shown, len(values) - len(shown))

    def _timeline(self, tallies: Mapping[str, Mapping[str, int]]) -> Timeline | None:
        return timeline(tallies.get("day", {}), self._today)

    # --- a case -------------------------------------------------------------------------

    def _case(self, bucket: Bucket, case: StoredCase, analysis: Analysis | None) -> bool:
        """Write the page of a case; whether there is one."""
        found = analysis if analysis is not None else self._analysis(case)
        if found is None or not _ID.fullmatch(case.id):
            return False
        title = self._redactor.text(bucket.shown) if self._redactor is not None else bucket.shown
        crumbs = [Crumb("all bugs", "../index.html"), Crumb(title, f"../bucket/{bucket.id}.html")]
        text = None
        if self._options.pictures and case.id == bucket.best_case and case.source == "vmcore":
            clean_crumbs = [Crumb(clean_prose(crumb.text), crumb.href) for crumb in crumbs]
            text = drawn_page(self._store, case.input_id, clean_crumbs, redact=self._options.redact)
        self._folder.write(f"case/{case.id}.html", text or page(found, crumbs=crumbs))
        return True

    def _analysis(self, case: StoredCase) -> Analysis | None:
        """The stored analysis of a case, about that case."""
        document = self._store.document(case.input_id)
        if document is None:
            return None
        try:
            found = of_case(postmortem.read_json(document), case)
        except ValueError as error:
            self.problems.append(f"case {case.id}: {error}")
            return None
        return redacted(found) if self._options.redact else found

    # --- what is in no bucket -----------------------------------------------------------

    def _hosts(self) -> None:
        found = hosts(self._store, MAX_HOSTS)
        if not found:
            return
        view = TableView(
            notes=(
                "Machines with the most crashes, those whose own hardware is suspected first: many"
                " unlike bugs, machine checks, single flipped bits.",
            ),
            columns=(
                ("host", ""),
                ("crashes", "number"),
                ("bugs", "number"),
                ("last seen", "extra"),
                ("suspect, because", ""),
            ),
            wide=4,
            sorted="",
            rows=tuple(
                (
                    Cell(host.name),
                    Cell(str(host.crashes)),
                    Cell(str(host.bugs)),
                    Cell(_day(host.last)),
                    Cell(", ".join(host.suspicion) or "-"),
                )
                for host in found
            ),
        )
        crumbs = [Crumb("all bugs", "index.html")]
        self._put("triage_table.html", "hosts.html", "Hosts", view, crumbs)

    def _unsorted(self) -> None:
        cases = self._store.cases(state="unsorted", limit=500)
        if not cases:
            return
        view = TableView(
            notes=("Something broke, but what is left tells it from nothing else.",),
            columns=(("title", ""), ("when", ""), ("host", ""), ("kernel", "extra")),
            wide=0,
            sorted="",
            rows=tuple(
                (Cell(c.shown), Cell(_day(c.time)), Cell(c.host or "-"), Cell(c.release or "-"))
                for c in cases
            ),
        )
        crumbs = [Crumb("all bugs", "index.html")]
        self._put("triage_table.html", "unsorted.html", "Unsorted", view, crumbs)

    def _failed(self) -> None:
        found = [
            item
            for state in ("failed", "refused")
            for item in self._store.inputs(state=state, limit=500)
        ]
        if not found:
            return
        view = TableView(
            notes=("What could not be analysed, and why.",),
            columns=(("file", ""), ("why", "")),
            wide=1,
            sorted="",
            rows=tuple((Cell(item.name), Cell(item.reason or "-")) for item in found),
        )
        crumbs = [Crumb("all bugs", "index.html")]
        self._put("triage_table.html", "failed.html", "Not analysed", view, crumbs)

    # --- out ----------------------------------------------------------------------------

    def _put(
        self,
        template: str,
        name: str,
        title: str,
        view: Any,
        crumbs: Sequence[Crumb],
        sections: Sequence[Section] = (),
    ) -> None:
        drawn = getattr(view, "timeline", None)
        if self._redactor is not None:
            self._redactor.learn(_texts(view))
            view = self._redactor.value(view)
            title = self._redactor.text(title)
        text = site_page(
            template,
            title=title,
            view=view,
            crumbs=crumbs,
            sections=list(sections),
            drawn=Markup(svg(drawn, "crashes")) if drawn else "",
        )
        self._folder.write(name, text)


# --- small things -----------------------------------------------------------------------

_NAMES = {
    "module": "module",
    "release": "kernel",
    "model": "model",
    "firmware": "firmware",
    "option": "command line",
    "taint": "taint",
    "arch": "architecture",
    "host": "host",
}


def of_case(analysis: Analysis, case: StoredCase) -> Analysis:
    """The analysis with the case as its verdict: a log may tell of several crashes."""
    finding = next((f for f in analysis.findings if f.id == analysis.verdict.finding), None)
    if case.line is None or (finding is not None and finding.log_line == case.line):
        return analysis
    if not case.part:
        return analysis
    kind, confidence = Kind(case.kind), Confidence(case.confidence)
    culprit = Culprit(case.function, case.module)
    own = next((f for f in analysis.findings if f.log_line == case.line), None)
    if own is None:
        own = Finding(
            f"case-{case.part}", kind, Severity.FATAL, confidence, case.title, case.summary,
            culprit=culprit, log_line=case.line, shown=case.shown,
        )  # fmt: skip
        analysis = replace(analysis, findings=(own, *analysis.findings))
    verdict = Verdict(
        kind,
        case.title,
        case.summary,
        confidence,
        culprit=own.culprit if own.culprit.function else culprit,
        signature=own.signature,
        evidence=own.evidence,
        next_steps=own.next_steps,
        finding=own.id,
        shown=case.shown,
    )
    system = replace(analysis.system, release=case.release, nodename=case.host)
    return replace(analysis, verdict=verdict, system=system)


def _all_crashes(store: Store) -> int:
    """All crashes that count, the unsorted ones too."""
    query = sa.select(sa.func.count()).select_from(t.cases).where(t.cases.c.leads)
    with store.reading() as connection:
        return int(connection.execute(query).scalar() or 0)


def _of_buckets(store: Store, name: str) -> dict[str, int]:
    """What the crashes in buckets have: of all cases together those that are calm count, too."""
    c = t.tally.c
    query = (
        sa.select(c.value, sa.func.sum(c.count))
        .where(c.name == name, c.bucket_id != "")
        .group_by(c.value)
    )
    with store.reading() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(query)}


def _example(analysis: Analysis | None) -> list[Section]:
    if analysis is None:
        return []
    told = [section for section in of_verdict(analysis.verdict) if section.name != "summary"]
    return [*told, *main_stack(analysis)]


def _bucket_facts(bucket: Bucket) -> tuple[Fact, ...]:
    return (
        Fact(bucket.crashes, "crash" if bucket.crashes == 1 else "crashes"),
        *([Fact(bucket.hosts, "host" if bucket.hosts == 1 else "hosts")] if bucket.hosts else ()),
        Fact(bucket.cases, "file tells of it" if bucket.cases == 1 else "files tell of it"),
    )


def _nothing_special(bucket: Bucket) -> str:
    if bucket.crashes < 3:
        return "Too few crashes to tell."
    return "Nothing that the crashes of other bugs have not as often."


def _case_row(case: StoredCase, paged: set[str]) -> CaseRow:
    return CaseRow(
        id=case.id,
        href=_case_href(case.id) if case.id in paged else "",
        when=_minute(case.time) + ("" if case.time_from != "file" else " or before"),
        host=case.host or "-",
        release=case.release or "-",
        model=case.model or "-",
        source=case.source if case.leads else f"{case.source}, the same crash",
    )


def _case_href(name: str) -> str:
    return f"../case/{name}.html"


def _where(case: StoredCase) -> str:
    told = (case.host, case.release, _minute(case.time), case.source)
    return ", ".join(part for part in told if part and part != "-")


def _numbered(name: str, number: int) -> str:
    return f"{name}.html" if number == 1 else f"{name}-{number}.html"


def _few(values: Mapping[str, int]) -> str:
    names = list(values)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "-"


def _chance(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-6 else "below 1e-6"


def _date(unix: int) -> date:
    return datetime.fromtimestamp(unix, timezone.utc).date()


def _day(unix: int | None) -> str:
    return "-" if unix is None else words.date(unix).split(" ")[0]


def _minute(unix: int | None) -> str:
    return "-" if unix is None else words.date(unix).rpartition(":")[0] or words.date(unix)


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
