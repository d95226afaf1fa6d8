"""``postmortem triage`` and ``postmortem bucket``: from a pile of crashes to the bugs in it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from postmortem.cli import triage_fleet
from postmortem.cli.options import FILE, FOLDER
from postmortem.cli.output import complain, open_output
from postmortem.errors import EXIT_LIMITED, EXIT_OK, EXIT_UNREADABLE, UnknownInputError, UsageError

if TYPE_CHECKING:
    from postmortem.triage.model import Outcome
    from postmortem.triage.rows import Bucket
    from postmortem.triage.store import Store
    from postmortem.triage.tasks import Counted, Limits
    from postmortem.triage.workers import Workers

STORE_VARIABLE = "POSTMORTEM_STORE"

store_option = click.option(
    "--store",
    metavar="FILE|URL",
    envvar=STORE_VARIABLE,
    help="Where the answers are kept: an SQLite file, or postgresql://...",
)
jsonl_option = click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON document a line.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
output_option = click.option("-o", "--output", metavar="FILE", type=FILE, help="Write to FILE.")
limit_option = click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=50, help="How many are listed (50)."
)


EXIT_NOT_ALIKE = 5
"""Nothing in the store is like what was asked for."""


class _Asked(NamedTuple):
    """What is to be compared."""

    title: str
    terms: Sequence[tuple[str, float]]
    bucket: str | None
    """Where it is, or would go by its key."""
    time: int | None


class PathsOrCommand(click.Group):
    """``triage PATH...`` and ``triage COMMAND``: what is no command is a path."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=PathsOrCommand, no_args_is_help=True)
def triage() -> None:
    """Find the few bugs behind a pile of dumps and logs.

    \b
    postmortem triage PATH...     analyse what is new below the paths, list the bugs
    postmortem triage COMMAND     one of the commands below; a path of that name is ./NAME

    PATH is a dump, a log, a folder of them, an archive, a URL; - reads a list of paths from
    standard input. Guide: postmortem guide triage.

    \b
    Exit status: 0 all that is a dump or a log was analysed, 1 some of it could not be,
    2 usage, 4 no path could be read, or the store can't be used.
    """


def _worker_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What workers may take, and where they are."""
    for option in (
        click.option("--dask", metavar="ADDRESS", help="Use the workers of this Dask scheduler."),
        click.option(
            "--memory-limit", metavar="MIB", type=click.IntRange(64), default=4096,
            help="What one worker may take beside the dump (4096).",
        ),
        click.option(
            "--time-limit", metavar="SECONDS", type=click.FloatRange(1), default=600.0,
            help="What one input may take (600).",
        ),
        click.option("-j", "--jobs", metavar="N", type=click.IntRange(1, 1024), help="Processes."),
    ):  # fmt: skip
        function = option(function)
    return function


def _report_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is written for people after each run, and who is told."""
    for option in (
        click.option("--redact", is_flag=True, help="No names of hosts and users on the pages."),
        click.option("--html", metavar="DIR", type=FOLDER, help="Write pages below DIR."),
    ):
        function = option(function)
    told: Callable[..., Any] = triage_fleet.notify_options(function)
    return told


@triage.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=FILE)
@store_option
@_worker_options
@click.option("--retry", is_flag=True, help="Analyse again what failed.")
@click.option("--again", is_flag=True, help="Analyse everything again.")
@_report_options
@click.option("--exit-new", is_flag=True, help="Exit status 6 if there is a new bug.")
@limit_option
@jsonl_option
@csv_option
@output_option
def run(
    paths: tuple[str, ...],
    store: str | None,
    jobs: int | None,
    time_limit: float,
    memory_limit: int,
    retry: bool,
    again: bool,
    dask: str | None,
    html: str | None,
    redact: bool,
    command: str | None,
    webhook: str | None,
    exit_new: bool,
    limit: int,
    as_jsonl: bool,
    as_csv: bool,
    output: str | None,
) -> int:
    """Analyse what is new below the paths, and list the bugs (the default)."""
    triage_fleet.check_notices(command, webhook)
    from postmortem.triage.tasks import Limits

    limits = Limits(time_limit, memory_limit << 20)
    how = {"again": again, "retry": retry, "quiet": as_jsonl or as_csv}
    wanted = list(_paths(paths))
    with _opened(store) as opened:
        workers = _workers(jobs, limits, dask)
        counted, before, refusals = _triaged(opened, wanted, workers, **how)
        for sentence in refusals:
            complain(sentence)
        with open_output(output) as file:
            _print(opened, counted, before, limit, as_jsonl, as_csv, file)
        new = opened.buckets(limit=1000, new_since=before)
        limited = triage_fleet.report(opened, new, html, command, webhook, redact=redact)
    if len(refusals) == len(wanted):
        return EXIT_UNREADABLE
    if exit_new and new:
        return triage_fleet.EXIT_NEW
    return EXIT_LIMITED if counted.failed or refusals or limited else EXIT_OK


def _triaged(
    store: Store, paths: Sequence[str], workers: Workers, *, again: bool, retry: bool, quiet: bool
) -> tuple[Counted, int, list[str]]:
    """One run: what it counted, the run before it, and what of the paths was refused."""
    from postmortem.triage.run import Triage, absolute

    wanted = [absolute(path) for path in paths]
    number = store.begin_run(paths)
    before = store.last_complete_run(number)
    complete = False
    refusals: list[str] = []
    progress = _Progress(sys.stderr, wanted=not quiet)
    told = _named_refusals(wanted, refusals)
    work = Triage(store, workers, number, again=again, retry=retry, watch=progress, told=told)
    try:
        counted = work.run(wanted)
        complete = True
    finally:
        progress.end()
        workers.close()
        done = work.counted
        store.end_run(
            number,
            complete=complete,
            found=done.found,
            known=done.known,
            analysed=done.analysed,
            failed=done.failed + done.refused,
        )
    return counted, before, refusals


@triage.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=FOLDER)
@store_option
@_worker_options
@_report_options
@click.option(
    "--settle", metavar="SECONDS", type=click.FloatRange(0), default=5.0,
    help="What is saved must have been left alone for so long (5).",
)  # fmt: skip
@click.option("--polling", is_flag=True, help="List again and again: network file systems.")
def watch(
    folders: tuple[str, ...],
    store: str | None,
    jobs: int | None,
    time_limit: float,
    memory_limit: int,
    dask: str | None,
    html: str | None,
    redact: bool,
    command: str | None,
    webhook: str | None,
    settle: float,
    polling: bool,
) -> int:
    """Triage DIR now, and whenever something new is saved there, until a signal comes.

    contrib/ has a unit for systemd.
    """
    from postmortem.triage.tasks import Limits

    triage_fleet.check_notices(command, webhook)
    limits = Limits(time_limit, memory_limit << 20)

    def look() -> Sequence[Bucket]:
        with _opened(store) as opened:
            workers = _workers(jobs, limits, dask)
            counted, before, _ = _triaged(
                opened, folders, workers, again=False, retry=False, quiet=True
            )
            new = opened.buckets(limit=1000, new_since=before)
            if counted.analysed or counted.failed or counted.refused:
                triage_fleet.report(opened, new, html, command, webhook, redact=redact)
        return new

    triage_fleet.watching(folders, look, settle=settle, polling=polling)
    return EXIT_OK


def _named_refusals(wanted: Sequence[str], refusals: list[str]) -> Callable[[Outcome], None]:
    """Notes what a user named himself and nothing could be made of."""
    named = set(wanted)

    def told(outcome: Outcome) -> None:
        if str(outcome.state) != "analysed" and outcome.names and outcome.names[0] in named:
            refusals.append(f"{outcome.names[0]}: {outcome.reason}")

    return told


def _paths(given: Sequence[str]) -> Iterator[str]:
    """The paths; ``-`` stands for a list on standard input, by lines or by NUL."""
    for path in given:
        if path != "-":
            yield path
            continue
        text = sys.stdin.buffer.read()
        for name in text.split(b"\0" if b"\0" in text else b"\n"):
            if name.strip():
                yield os.fsdecode(name)


def _opened(store: str | None, *, create: bool = True) -> Store:
    try:
        from postmortem.triage.engine import default_store
        from postmortem.triage.store import Store
    except ImportError as error:
        raise UsageError(f"triage needs SQLAlchemy: pip install sqlalchemy ({error})") from None
    return Store.open(store or default_store(), create=create)


def _workers(jobs: int | None, limits: Limits, dask: str | None) -> Workers:
    if dask is not None:
        from postmortem.triage.dask_workers import DaskWorkers

        return DaskWorkers(dask, limits)
    from postmortem.triage.workers import LocalWorkers

    return LocalWorkers(jobs or len(os.sched_getaffinity(0)), limits)


class _Progress:
    """One line on a terminal: how far, how fast, how long still."""

    _REFRESH_SECONDS = 0.5

    def __init__(self, file: IO[str], *, wanted: bool) -> None:
        self._file = file
        self._shown = wanted and file.isatty()
        self._next = time.monotonic() + 1.0
        self._drawn = False

    def __call__(self, counted: Counted) -> None:
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        from postmortem.triage.show import progress_line

        self._next = now + self._REFRESH_SECONDS
        self._drawn = True
        total = counted.found if counted.listed else None
        self._put("\r" + progress_line(counted, now, total)[:79] + "\x1b[K")

    def end(self) -> None:
        if self._drawn:
            self._put("\r\x1b[K")

    def _put(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):
            self._shown = False


def _print(
    store: Store,
    counted: Counted | None,
    before: int,
    limit: int,
    as_jsonl: bool,
    as_csv: bool,
    file: IO[str],
) -> None:
    from postmortem.triage import show

    buckets = store.buckets(limit=limit + 1)
    shown = buckets[:limit]
    if as_jsonl or as_csv:
        documents = (show.bucket_document(bucket, store, before) for bucket in shown)
        (show.print_jsonl if as_jsonl else show.print_csv)(documents, file)
        return
    totals = store.totals()
    new, grown = store.news(before)
    show.print_summary(counted, totals, new, grown, file)
    show.print_buckets(shown, store, before, file, more=len(buckets) > limit)
    show.print_unsorted(totals, file)


@triage.command("list")
@store_option
@click.option("--unsorted", is_flag=True, help="Cases that nothing tells apart.")
@click.option("--calm", is_flag=True, help="Cases where nothing is wrong.")
@click.option("--failed", is_flag=True, help="Inputs that were not analysed, and why.")
@limit_option
@jsonl_option
@csv_option
@output_option
def list_(
    store: str | None,
    unsorted: bool,
    calm: bool,
    failed: bool,
    limit: int,
    as_jsonl: bool,
    as_csv: bool,
    output: str | None,
) -> int:
    """List the bugs, or what is in no bucket."""
    from dataclasses import asdict

    with _opened(store, create=False) as opened, open_output(output) as file:
        from postmortem.triage import show

        rows: list[Any]
        if failed:
            rows = [*opened.inputs(state="failed", limit=limit)]
            rows += opened.inputs(state="refused", limit=limit - len(rows) or 1)
        elif unsorted or calm:
            rows = [*opened.cases(state="unsorted" if unsorted else "calm", limit=limit)]
        else:
            last = opened.last_complete_run()
            before = opened.last_complete_run(last)
            _print(opened, None, before, limit, as_jsonl, as_csv, file)
            return EXIT_OK
        if as_jsonl or as_csv:
            (show.print_jsonl if as_jsonl else show.print_csv)(map(asdict, rows), file)
        else:
            (show.print_inputs if failed else show.print_cases)(rows, file)
    return EXIT_OK


@triage.command()
@click.argument("case", metavar="[CASE|-]", default="-")
@store_option
@click.option("--limit", metavar="N", type=click.IntRange(1, 100), default=10, help="(10)")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def similar(case: str, store: str | None, limit: int, as_json: bool) -> int:
    """Rank the bugs that a case may be one of: for people, nothing is joined by it.

    CASE is the id of a case or of a bucket; - (the default) reads a pasted log.

    \b
    Exit status: 0 there is something alike, 5 nothing is; 3 no report is in the paste.
    """
    from postmortem.triage.similar import similar as ranked

    with _opened(store, create=False) as opened, open_output() as file:
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
        found = store.bucket_of_key(getattr(row.signature, level), row.release)
        bucket = None if found is None else found.id
    return _Asked(row.shown, row.terms, bucket, row.time)


@triage.command()
@click.option("--to", "version", metavar="N", type=int, required=True, help="The version.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would move.")
@store_option
def regroup(version: int, dry_run: bool, store: str | None) -> int:
    """Group all cases by another version of the keys."""
    with _opened(store, create=False) as opened, open_output() as file:
        moved = opened.regroup(version, dry=dry_run)
        for (was, now), count in sorted(moved.items(), key=lambda pair: -pair[1]):
            file.write(f"{count:>7} cases  {was or 'unsorted':<10} -> {now or 'unsorted'}\n")
        verb = "would move" if dry_run else "moved"
        file.write(f"{sum(moved.values())} cases {verb}\n")
    return EXIT_OK


# --- bucket ---------------------------------------------------------------------------


@click.group(no_args_is_help=True)
def bucket() -> None:
    """Show one bug of a triage, and decide about it.

    Decisions are kept for ever and hold for all crashes to come.
    """


@bucket.command("show")
@click.argument("name", metavar="ID")
@store_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show_bucket(name: str, store: str | None, as_json: bool) -> int:
    """Show a bucket: its bug, counters, best example."""
    with _opened(store, create=False) as opened, open_output() as file:
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

    with _opened(store, create=False) as opened, open_output() as file:
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
    with _opened(store, create=False) as opened:
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


for _command in triage_fleet.COMMANDS:
    triage.add_command(_command)

TRIAGE = (triage, bucket)
