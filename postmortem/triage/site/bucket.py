"""The page of a bug, and those of its best example and its newest crashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from postmortem.errors import UsageError
from postmortem.known.match import known, sentence
from postmortem.model.result import Analysis
from postmortem.render.clean import clean_prose
from postmortem.render.html import Crumb, page
from postmortem.render.sections import Section, main_stack, of_verdict
from postmortem.render.timeline import timeline
from postmortem.triage.pictures import drawn_page
from postmortem.triage.rows import Bucket, StoredCase
from postmortem.triage.similar import similar
from postmortem.triage.site.site import ID, Site
from postmortem.triage.site.views import BucketView, CaseRow, Cell, Fact, Group, SpecialRow
from postmortem.triage.site.wording import NAMES, case_href, chance, minute, where
from postmortem.triage.special import Special, special

CASES = 100
"""Crashes in the table of a bucket."""
ALIKE = 5
"""Bugs that are perhaps the same as one."""
MIN_ALIKE = 0.2


def bucket_page(site: Site, bucket: Bucket) -> None:
    cases = site.store.cases(bucket=bucket.id, limit=CASES)
    best = next((case for case in cases if case.id == bucket.best_case), None)
    if best is None:
        best = site.store.case(bucket.best_case)
    analysis = site.analysis(best)
    said = _said(site, bucket, analysis)
    chosen = [best, *(case for case in cases if case.leads and case.id != best.id)]
    paged = {
        case.id
        for case in chosen[: site.options.case_pages]
        if _case(site, bucket, case, analysis if case is best else None)
    }
    tallies = site.store.tallies(bucket.id)
    view = BucketView(
        id=bucket.id,
        key=bucket.key,
        title=bucket.shown,
        kind=bucket.kind,
        module=bucket.module or "",
        tags=site.tags(bucket),
        facts=_bucket_facts(bucket),
        notes=tuple(said),
        before=_before_it(site, bucket),
        after=tuple(
            Cell(other.shown, site.href(other, "../")) for other in site.store.successors(bucket.id)
        ),
        special=tuple(_special(site, bucket, tallies)),
        nothing_special=_nothing_special(bucket),
        groups=tuple(_groups(tallies)),
        alike=tuple(_alike(site, bucket, best)),
        example=Cell(where(best), case_href(best.id) if best.id in paged else ""),
        cases=tuple(_case_row(case, paged) for case in cases),
        cases_aside=f"the newest {len(cases)} of {bucket.cases}"
        if bucket.cases > len(cases)
        else "",
        timeline=timeline(tallies.get("day", {}), site.today),
    )
    site.put(
        "triage_bucket.html",
        f"bucket/{bucket.id}.html",
        bucket.shown,
        view,
        [Crumb("all bugs", "../index.html")],
        sections=_example(analysis),
    )


def _said(site: Site, bucket: Bucket, analysis: Analysis | None) -> Iterator[str]:
    """The best example's summary, and what the rules know."""
    if analysis is None:
        return
    yield analysis.verdict.summary
    found = [item for item in known(analysis, site.options.rules) if item.is_known]
    for item in found[:3]:
        site.known.setdefault(bucket.id, item.rule.id)
        yield sentence(item)


def _alike(site: Site, bucket: Bucket, best: StoredCase) -> Iterator[tuple[str, Cell, str]]:
    for item in similar(site.store, best.terms, but=bucket.id, time=best.time, limit=ALIKE):
        if item.score >= MIN_ALIKE:
            other = Cell(item.bucket.shown, site.href(item.bucket, "../"))
            yield f"{item.score:.2f}", other, ", ".join(item.shared)


def _before_it(site: Site, bucket: Bucket) -> Cell | None:
    if not bucket.successor_of:
        return None
    try:
        other = site.store.bucket(bucket.successor_of)
    except UsageError:
        return None  # no case of it is left
    return Cell(other.shown, site.href(other, "../"))


def _special(
    site: Site, bucket: Bucket, tallies: Mapping[str, Mapping[str, int]]
) -> Iterator[SpecialRow]:
    for row in special(tallies, site.everything, bucket.crashes, site.crashes)[:25]:
        yield SpecialRow(
            name=NAMES[row.name],
            value=_value(site, row),
            here=f"{row.inside} of {row.inside_all}",
            others=f"{row.outside} of {row.outside_all}",
            chance=chance(row.chance),
        )


def _value(site: Site, row: Special) -> str:
    if site.redactor is not None and row.name == "option":
        return site.redactor.command_line(row.value)
    return row.value


def _groups(tallies: Mapping[str, Mapping[str, int]]) -> Iterator[Group]:
    for name in ("release", "host", "model", "firmware"):
        values = tallies.get(name, {})
        if values:
            shown = tuple(values.items())[:10]
            yield Group(NAMES[name] + "s", shown, len(values) - len(shown))


def _case(site: Site, bucket: Bucket, case: StoredCase, analysis: Analysis | None) -> bool:
    """Write the page of a case; whether there is one."""
    found = analysis if analysis is not None else site.analysis(case)
    if found is None or not ID.fullmatch(case.id):
        return False
    title = site.redactor.text(bucket.shown) if site.redactor is not None else bucket.shown
    crumbs = [Crumb("all bugs", "../index.html"), Crumb(title, f"../bucket/{bucket.id}.html")]
    text = None
    if site.options.pictures and case.id == bucket.best_case and case.source == "vmcore":
        clean_crumbs = [Crumb(clean_prose(crumb.text), crumb.href) for crumb in crumbs]
        text = drawn_page(site.store, case.input_id, clean_crumbs, redact=site.options.redact)
    site.folder.write(f"case/{case.id}.html", text or page(found, crumbs=crumbs))
    return True


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
        href=case_href(case.id) if case.id in paged else "",
        when=minute(case.time) + ("" if case.time_from != "file" else " or before"),
        host=case.host or "-",
        release=case.release or "-",
        model=case.model or "-",
        source=case.source if case.leads else f"{case.source}, the same crash",
    )
