"""``postmortem triage``: from a pile of crashes to the bugs in it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from postmortem.cli import triage_fleet
from postmortem.cli.options import FILE, FOLDER
from postmortem.cli.output import complain, open_output
from postmortem.cli.triage_options import (
    csv_option,
    jsonl_option,
    limit_option,
    open_store,
    output_option,
    store_option,
)
from postmortem.cli.triage_similar import similar
from postmortem.errors import EXIT_LIMITED, EXIT_OK, EXIT_UNREADABLE

if TYPE_CHECKING:
    from postmortem.triage.model import Outcome
    from postmortem.triage.rows import Bucket
    from postmortem.triage.store import Store
    from postmortem.triage.tasks import Counted, Limits
    from postmortem.triage.workers import Workers


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
    with open_store(store, create=True) as opened:
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
        with open_store(store, create=True) as opened:
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

    with open_store(store) as opened, open_output(output) as file:
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
@click.option("--to", "version", metavar="N", type=int, required=True, help="The version.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would move.")
@store_option
def regroup(version: int, dry_run: bool, store: str | None) -> int:
    """Group all cases by another version of the keys."""
    with open_store(store) as opened, open_output() as file:
        moved = opened.regroup(version, dry=dry_run)
        for (was, now), count in sorted(moved.items(), key=lambda pair: -pair[1]):
            file.write(f"{count:>7} cases  {was or 'unsorted':<10} -> {now or 'unsorted'}\n")
        verb = "would move" if dry_run else "moved"
        file.write(f"{sum(moved.values())} cases {verb}\n")
    return EXIT_OK


for _command in (similar, *triage_fleet.COMMANDS):
    triage.add_command(_command)
