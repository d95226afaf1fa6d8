"""``postmortem triage similar``: which bugs may a case be one of?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from postmortem.cli.output import open_output
from postmortem.cli.triage_options import json_option, open_store, store_option
from postmortem.errors import EXIT_OK, UnknownInputError, UsageError

if TYPE_CHECKING:
    from postmortem.triage.store import Store

EXIT_NOT_ALIKE = 5
"""Nothing in the store is like what was asked for."""


class _Asked(NamedTuple):
    """What is to be compared."""

    title: str
    terms: Sequence[tuple[str, float]]
    bucket: str | None
    """Where it is, or would go by its key."""
    time: int | None


@click.command()
@click.argument("case", metavar="[CASE|-]", default="-")
@store_option
@click.option("--limit", metavar="N", type=click.IntRange(1, 100), default=10, help="(10)")
@json_option
def similar(case: str, store: str | None, limit: int, as_json: bool) -> int:
    """Rank the bugs that a case may be one of: for people, nothing is joined by it.

    CASE is the id of a case or of a bucket; - (the default) reads a pasted log.

    \b
    Exit status: 0 there is something alike, 5 nothing is; 3 no report is in the paste.
    """
    from postmortem.triage.similar import similar as ranked

    with open_store(store) as opened, open_output() as file:
        asked = _asked(case, opened)
        found = ranked(opened, asked.terms, but=asked.bucket, time=asked.time, limit=limit)
        same = None if asked.bucket is None else opened.bucket(asked.bucket)
        from postmortem.triage import show

        if as_json:
            document = {
                "bucket": None if same is None else same.id,
                "similar": [
                    {
                        "bucket": item.bucket.id,
                        "score": item.score,
                        "title": item.bucket.title,
                        "functions": item.shared,
                    }
                    for item in found
                ],
            }
            show.print_jsonl([document], file)
        else:
            show.print_similar(asked.title, same, found, file)
    return EXIT_OK if found or same is not None else EXIT_NOT_ALIKE


def _asked(name: str, store: Store) -> _Asked:
    """The words of a case, of a bucket's best example, or of a paste."""
    if name == "-":
        return _pasted(store)
    try:
        found = store.case(name)
    except UsageError:
        found = store.case(store.bucket(name).best_case)
    return _Asked(found.shown, found.terms, found.bucket_id, found.time)


def _pasted(store: Store) -> _Asked:
    import postmortem
    from postmortem.triage.facts import outcome
    from postmortem.triage.grouping import VERSIONS

    with postmortem.open("-") as opened:
        row = outcome(opened.analyze(), "", (), None).cases[0]
    if not row.terms or str(row.state) == "calm":
        raise UnknownInputError("standard input holds no report of a kernel: paste one")
    bucket = None
    if row.signature is not None and str(row.state) == "bucket":
        level = VERSIONS[store.grouping_version()]
        found = store.bucket_of_key(row.keys()[level], row.release)
        bucket = None if found is None else found.id
    return _Asked(row.shown, row.terms, bucket, row.time)
