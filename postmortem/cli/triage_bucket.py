"""``postmortem bucket``: one bug of a triage is shown, and people decide about it."""

from __future__ import annotations

import os
from typing import Any

import click

from postmortem.cli.output import open_output
from postmortem.cli.triage_options import json_option, open_store, store_option
from postmortem.errors import EXIT_OK, UsageError


@click.group(no_args_is_help=True)
def bucket() -> None:
    """Show one bug of a triage, and decide about it.

    Decisions are kept for ever and hold for all crashes to come.
    """


@bucket.command("show")
@click.argument("name", metavar="ID")
@store_option
@json_option
def show_bucket(name: str, store: str | None, as_json: bool) -> int:
    """Show a bucket: its bug, counters, best example."""
    with open_store(store) as opened, open_output() as file:
        from postmortem.triage import show

        found = opened.bucket(name)
        if as_json:
            document = show.bucket_document(found, opened, found.seen_run)
            show.print_jsonl([{**document, "tallies": opened.tallies(found.id)}], file)
        else:
            show.print_bucket(found, opened, file)
    return EXIT_OK


def _decide(store: str | None, action: str, **what: Any) -> int:
    import getpass

    from postmortem.triage.grouping import Action

    with open_store(store) as opened, open_output() as file:
        try:
            who = getpass.getuser()
        except (KeyError, OSError):
            who = str(os.getuid())
        for name in opened.decide(Action(action), who=who, **what):
            from postmortem.triage.show import bucket_line

            left = [found for found in opened.cases(bucket=name, limit=1) if found]
            file.write(
                bucket_line(opened.bucket(name), "") + "\n"
                if left
                else f"{name} has no case left\n"
            )
    return EXIT_OK


note_option = click.option("--note", metavar="TEXT", default="", help="Why, for others to read.")


@bucket.command()
@click.argument("name", metavar="ID")
@click.option(
    "--in", "releases", metavar="RELEASE", multiple=True, required=True,
    help="The first kernel that has the fix; one for each series (repeatable).",
)  # fmt: skip
@note_option
@store_option
def fixed(name: str, releases: tuple[str, ...], note: str, store: str | None) -> int:
    """Say that a bug is fixed: a later hit on a kernel with the fix is a new bucket."""
    from postmortem.triage.grouping import release_order

    for release in releases:
        if not release_order(release):
            raise UsageError(f"--in {release[:60]!r} is no kernel release such as 6.12.9")
    return _decide(store, "fixed", bucket=name, releases=releases, note=note)


@bucket.command()
@click.argument("name", metavar="ID")
@note_option
@store_option
def reopen(name: str, note: str, store: str | None) -> int:
    """Say that it is not fixed after all."""
    return _decide(store, "reopen", bucket=name, note=note)


@bucket.command()
@click.argument("name", metavar="ID")
@click.argument("other", metavar="OTHER")
@note_option
@store_option
def link(name: str, other: str, note: str, store: str | None) -> int:
    """Say that ID and OTHER are one bug: ID goes into OTHER."""
    return _decide(store, "must-link", bucket=name, other=other, note=note)


@bucket.command()
@click.argument("case", metavar="CASE")
@note_option
@store_option
def split(case: str, note: str, store: str | None) -> int:
    """Say that a case is none of its bucket's; what a link brought there goes as a whole."""
    with open_store(store) as opened:
        found = opened.case(case)
    if found.bucket_id is None:
        raise UsageError(f"case {found.id} is in no bucket: there is nothing to split")
    return _decide(store, "cannot-link", case=found.id, other=found.bucket_id, note=note)


@bucket.command()
@click.argument("case", metavar="CASE")
@click.argument("other", metavar="BUCKET")
@note_option
@store_option
def move(case: str, other: str, note: str, store: str | None) -> int:
    """Say that a case belongs to BUCKET."""
    return _decide(store, "move", case=case, other=other, note=note)
