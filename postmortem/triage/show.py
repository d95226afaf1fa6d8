"""Buckets, cases and inputs as text for a terminal of 80 columns, as JSON lines, as CSV.

What comes out of the store is hostile text: every word goes through ``clean``.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from postmortem.render.clean import clean, clean_prose
from postmortem.render.csv import plain_cell
from postmortem.triage.rows import Bucket, StoredCase, StoredInput, Totals
from postmortem.triage.similar import Likeness
from postmortem.triage.store import Store
from postmortem.triage.tasks import Counted

WIDTH = 80
_RELEASES = 4
_HEAD = f"{'BUCKET':<11} {'CRASHES':>7} {'MACHINES':>8}  {'FIRST':<10}  {'LAST':<10}  KIND"


def bucket_line(bucket: Bucket, news: str) -> str:
    """The line of figures."""
    hosts = str(bucket.hosts) if bucket.hosts else "-"
    kind = f"{bucket.kind}  {news}".rstrip()
    return (
        f"{bucket.id:<11} {bucket.crashes:>7} {hosts:>8}"
        f"  {day(bucket.first):<10}  {day(bucket.last):<10}  {clean(kind)}"
    )


def print_buckets(
    buckets: Sequence[Bucket], store: Store, since: int, file: IO[str], *, more: bool
) -> None:
    """Three lines for each: figures, title, kernels.

    :param since: the run before: what it did not know is new.
    :param more: there are more than these.
    """
    if buckets:
        file.write(_HEAD + "\n")
    for bucket in buckets:
        file.write(bucket_line(bucket, _news(bucket, since)) + "\n")
        for line in _wrapped(bucket.shown, indent="  "):
            file.write(line + "\n")
        kernels = store.tallies(bucket.id, "release").get("release", {})
        for text in (_listed(kernels), _fixed(bucket)):
            for line in _wrapped(text, indent="    "):
                file.write(line + "\n")
    if more:
        file.write("There are more: --limit N shows more of them.\n")


def _news(bucket: Bucket, since: int) -> str:
    if bucket.created_run > since:
        return "CAME BACK" if bucket.successor_of else "NEW"
    return "MORE" if bucket.seen_run > since else ""


def _fixed(bucket: Bucket) -> str:
    said = []
    if bucket.fixed_in:
        said.append(f"fixed in {', '.join(bucket.fixed_in)}")
    if bucket.successor_of:
        said.append(f"after the fix of {bucket.successor_of}")
    return "; ".join(said)


def _listed(counts: Mapping[str, int]) -> str:
    first = [f"{name} ({count})" for name, count in list(counts.items())[:_RELEASES]]
    more = len(counts) - _RELEASES
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def print_summary(
    counted: Counted | None, totals: Totals, new: int, grown: int, file: IO[str]
) -> None:
    """What this run did, and what there is in all."""
    if counted is not None:
        file.write(
            f"{_many(counted.found, 'input')}: {counted.analysed} analysed, {counted.known} known"
            f" already, {counted.failed} failed, {counted.refused} no dump or log\n"
        )
    file.write(
        f"{_many(totals.buckets, 'bug')} in {_many(totals.cases, 'case')}"
        f" ({new} new, {grown} with new crashes),"
        f" {totals.unsorted} unsorted, {totals.calm} calm\n\n"
    )


def print_unsorted(totals: Totals, file: IO[str]) -> None:
    """Where to look for what is in no bucket."""
    for count, what, option in (
        (totals.unsorted, ("case in no bucket", "cases that nothing tells apart"), "--unsorted"),
        (totals.failed, ("input was not analysed", "inputs were not analysed"), "--failed"),
    ):
        if count:
            file.write(f"\n{count} {what[count > 1]}: postmortem triage list {option}\n")


def _many(count: int, what: str) -> str:
    plural = "es" if what.endswith("sh") else "s"
    return f"{count} {what}" if count == 1 else f"{count} {what}{plural}"


def print_cases(cases: Iterable[StoredCase], file: IO[str]) -> None:
    """Two lines for each."""
    for case in cases:
        host = case.host or "-"
        about = f"{case.id:<27} {day(case.time):<10}  {clean(host)}  {clean(case.release or '-')}"
        file.write(about[:WIDTH].rstrip() + "\n")
        for line in _wrapped(case.shown, indent="  "):
            file.write(line + "\n")


def print_inputs(inputs: Iterable[StoredInput], file: IO[str]) -> None:
    """What was not analysed, and why."""
    for item in inputs:
        for line in _wrapped(f"{item.state}: {item.name}", indent=""):
            file.write(line + "\n")
        for line in _wrapped(item.reason or "", indent="  "):
            file.write(line + "\n")


def print_similar(
    title: str, same: Bucket | None, found: Sequence[Likeness], file: IO[str]
) -> None:
    """Where it is, then what is alike."""
    for line in _wrapped(title, indent=""):
        file.write(line + "\n")
    if same is not None:
        file.write(f"is in bucket {same.id}, with {_many(same.crashes, 'crash')}")
        file.write(f", {_fixed(same)}\n" if _fixed(same) else "\n")
    file.write("\nPerhaps the same:\n" if found else "\nNothing else in the store is like it.\n")
    for item in found:
        file.write(f"{item.score:>5.0%}  {item.bucket.id}  {_many(item.bucket.crashes, 'crash')}\n")
        for text in (item.bucket.shown, "both: " + ", ".join(item.shared) if item.shared else ""):
            for line in _wrapped(text, indent=" " * 7):
                file.write(line + "\n")


def print_bucket(bucket: Bucket, store: Store, file: IO[str]) -> None:
    """All that is known of one bug."""
    best = store.case(bucket.best_case)
    pairs = [
        ("BUCKET", bucket.id),
        ("BUG", bucket.shown),
        ("KIND", bucket.kind),
        ("FUNCTION", bucket.function or "-"),
        ("CRASHES", f"{bucket.crashes} in {_many(bucket.cases, 'input')}"),
        ("MACHINES", str(bucket.hosts) if bucket.hosts else "- (none is known by name)"),
        ("SEEN", f"{day(bucket.first)} to {day(bucket.last)}"),
        ("STATE", _fixed(bucket) or bucket.state),
        ("KEY", f"{bucket.key} (grouping {bucket.version})"),
        ("EXAMPLE", f"{best.id}: {', '.join(store.files(best.input_id)) or '-'}"),
        ("", best.summary),
    ]
    for name, counts in store.tallies(bucket.id, limit=_RELEASES + 1).items():
        pairs.append((name.upper(), _listed(counts)))
    for after in store.successors(bucket.id):
        pairs.append(("CAME BACK", f"{after.id}: {after.crashes} crashes"))
    for label, text in pairs:
        lines = list(_wrapped(text, indent=" " * 10))
        first = lines[0].strip() if lines else ""
        file.write(f"{label:<9} {first}\n" if label else (lines[0] + "\n" if lines else ""))
        for line in lines[1:]:
            file.write(line + "\n")


def _wrapped(text: str, indent: str) -> Iterator[str]:
    """As many lines as it takes; a word that is too long is broken."""
    yield from textwrap.wrap(
        clean_prose(text), WIDTH, initial_indent=indent, subsequent_indent=indent
    )


def day(time: int | None) -> str:
    """A UTC date."""
    if time is None or not 0 <= time < 1 << 37:
        return "-"
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).date().isoformat()


# --- for programs ---------------------------------------------------------------------


def bucket_document(bucket: Bucket, store: Store, since: int) -> dict[str, Any]:
    """One bucket as JSON types."""
    found = dataclasses.asdict(bucket)
    found["new"] = bucket.created_run > since
    found["grown"] = bucket.seen_run > since
    found["releases"] = store.tallies(bucket.id, "release").get("release", {})
    return found


def print_jsonl(documents: Iterable[Mapping[str, Any]], file: IO[str]) -> None:
    """One a line."""
    for found in documents:
        file.write(json.dumps(found, separators=(",", ":"), allow_nan=False) + "\n")


def print_csv(documents: Iterable[Mapping[str, Any]], file: IO[str]) -> None:
    """One a row; a list or a table in a cell is JSON."""
    writer = csv.writer(file, lineterminator="\n")
    columns: list[str] = []
    for found in documents:
        if not columns:
            columns = list(found)
            writer.writerow(columns)
        writer.writerow([_cell(found[name]) for name in columns])


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        return plain_cell(json.dumps(value))
    return plain_cell(value) if isinstance(value, str) else value


# --- a line on the terminal -----------------------------------------------------------


def progress_line(counted: Counted, now: float, listed: int | None) -> str:
    """``[####    ]  40%  812 of 2000  45/s  26 s left``, as far as it is known."""
    seconds = max(now - counted.started, 0.001)
    rate = counted.done / seconds
    total = listed if listed is not None else 0
    if total < counted.found or not total:
        return f"{counted.done} of at least {counted.found}  {rate:.1f}/s  ({seconds:.0f} s)"
    share = counted.done / total
    left = f"{(total - counted.done) / rate:.0f} s left" if rate else "-"
    bar = "#" * int(share * 20)
    return f"[{bar:<20}] {share:4.0%}  {counted.done} of {total}  {rate:.1f}/s  {left}"
