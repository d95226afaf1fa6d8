"""What a store of crashes is asked by people: pages, hosts, rates, a gate, what can go; and how
crashes come in by themselves: ``watch`` and ``listen``."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import click

from postmortem.cli.options import FILE, FOLDER
from postmortem.cli.output import complain, open_output
from postmortem.cli.triage_options import json_option, open_store, store_option
from postmortem.errors import EXIT_LIMITED, EXIT_OK, UsageError
from postmortem.model.findings import Column, Table, Unit

if TYPE_CHECKING:
    from postmortem.triage.fleet import Fleet, Rates
    from postmortem.triage.rows import Bucket
    from postmortem.triage.store import Store

EXIT_NEW = 6
"""There is a new bug, or a release is worse than those before."""
EXIT_UNDECIDED = 7
"""Too few machine-days to tell whether it is."""

rules_option = click.option(
    "--rules", metavar="PATH", type=FILE, multiple=True,
    help="Rules of your own about known issues (postmortem guide known).",
)  # fmt: skip
redact_option = click.option(
    "--redact", is_flag=True, help="Leave out what names machines, networks and people."
)
fleet_option = click.option(
    "--fleet", "table", metavar="CSV", type=FILE,
    help="Table of hosts: host,model,kernel,from,to (an empty to: still); else the store's.",
)  # fmt: skip


class _Day(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic since click 8.3
    """A date, as seconds since the epoch."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no date such as 2026-11-26", param, ctx)
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


since_option = click.option("--since", type=_Day(), metavar="DATE", help="Only from this day on.")
until_option = click.option("--until", type=_Day(), metavar="DATE", help="Only before this day.")


# --- pages ------------------------------------------------------------------------------


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@store_option
@rules_option
@redact_option
@click.option(
    "--pictures",
    is_flag=True,
    help="Flame graphs and waits of the best examples, read from their dumps again (1 s each).",
)
@click.option(
    "--bucket-pages", metavar="N", type=click.IntRange(1), default=1000,
    help="Bugs that get a page of their own (1000); new ones always do.",
)  # fmt: skip
def pages(
    folder: str,
    store: str | None,
    rules: tuple[str, ...],
    redact: bool,
    pictures: bool,
    bucket_pages: int,
) -> int:
    """Write the bugs and their best examples as pages below DIR, for a browser."""
    with open_store(store) as found:
        how = {"redact": redact, "pictures": pictures}
        written = write(found, folder, rules, bucket_pages=bucket_pages, **how)
    return EXIT_LIMITED if written else EXIT_OK


def write(
    store: Store,
    folder: str,
    rules: Sequence[str] = (),
    *,
    redact: bool = False,
    pictures: bool = False,
    bucket_pages: int = 1000,
    quiet: bool = False,
) -> bool:
    """Write the pages, and say where unless ``quiet``; whether there were problems."""
    from postmortem.cli.known import own_rules
    from postmortem.progress import Progress
    from postmortem.triage.pages import Options, write_pages

    with Progress(sys.stderr) as progress:
        options = Options(
            redact=redact,
            pictures=pictures,
            bucket_pages=bucket_pages,
            rules=own_rules(rules),
            progress=lambda done, total: progress("pages", done, total),
        )
        written = write_pages(store, Path(folder), options)
    for problem in written.problems:
        complain(problem)
    if quiet:
        return bool(written.problems)
    with open_output() as file:
        file.write(f"{Path(folder, 'index.html')}: {written.buckets} bugs\n")
    return bool(written.problems)


# --- hosts, rates, the gate ----------------------------------------------------------------


@click.command()
@store_option
@json_option
@click.option("--limit", metavar="N", type=click.IntRange(1), default=50, help="How many (50).")
def hosts(store: str | None, as_json: bool, limit: int) -> int:
    """List the machines that crash, first those whose hardware is suspected.

    Many unlike bugs on one machine, machine checks, and single flipped bits are no bugs of
    the kernel.
    """
    from postmortem.triage.hosts import hosts as crashed

    with open_store(store) as opened_store:
        found = crashed(opened_store, limit)
    table = Table(
        "Hosts",
        (
            Column("host"),
            Column("crashes", Unit.COUNT),
            Column("bugs", Unit.COUNT),
            Column("last", Unit.TIME, 1),
            Column("suspect, because"),
        ),
        tuple(
            (host.name, host.crashes, host.bugs, host.last, ", ".join(host.suspicion) or None)
            for host in found
        ),
    )
    _show(table, [{**_plain(host), "suspicion": host.suspicion} for host in found], as_json)
    return EXIT_OK


@click.command()
@store_option
@fleet_option
@since_option
@until_option
@json_option
def rates(
    store: str | None, table: str | None, since: float | None, until: float | None, as_json: bool
) -> int:
    """Crashes per 1,000 machine-days of each kernel, with the 95% interval.

    Crashes that somebody asked for (SysRq c) do not count.
    """
    found, _ = _rates(store, table, since, until)
    rows = tuple(
        (r.kernel, r.hosts, round(r.days, 1), r.crashes, r.per_thousand, _interval(r.interval))
        for r in found.rates
    )
    columns = (
        Column("kernel"),
        Column("hosts", Unit.COUNT),
        Column("machine-days", Unit.COUNT),
        Column("crashes", Unit.COUNT),
        Column("per 1,000 machine-days", Unit.COUNT),
        Column("95% interval"),
    )
    listed = [
        {**_plain(r), "per_thousand": r.per_thousand, "interval": r.interval} for r in found.rates
    ]
    _show(Table("Rates", columns, rows), listed, as_json)
    return _limits(found)


@click.command()
@click.argument("table", metavar="CSV", type=FILE)
@store_option
def fleet(table: str, store: str | None) -> int:
    """Keep a table of hosts in the store, for rates and gate; it replaces the one before.

    A line for each time that a host ran a kernel: host,model,kernel,from,to (an empty to: still).
    """
    from postmortem.triage.fleet import keep_fleet, read_fleet

    found = read_fleet(Path(table))
    for problem in found.problems[:10]:
        complain(f"table of hosts, {problem}")
    with open_store(store, create=True) as opened:
        keep_fleet(opened, found)
    with open_output() as file:
        file.write(f"{len(found.stays)} lines of {len(found.hosts)} hosts are kept\n")
    return EXIT_LIMITED if found.problems else EXIT_OK


def _rates(
    store: str | None, table: str | None, since: float | None, until: float | None
) -> tuple[Rates, Fleet]:
    from postmortem.triage.fleet import kept_fleet, read_fleet
    from postmortem.triage.fleet import rates as counted

    given = None if table is None else read_fleet(Path(table))
    with open_store(store) as found:
        fleet = kept_fleet(found) if given is None else given
        return counted(found, fleet, since or 0, math.inf if until is None else until), fleet


def _interval(found: tuple[float, float] | None) -> str | None:
    return None if found is None else f"{found[0]:.2f} to {found[1]:.2f}"


def _limits(found: Rates) -> int:
    """Say what is not in the rates."""
    for problem in found.problems[:10]:
        complain(f"table of hosts, {problem}")
    if found.strangers:
        complain(f"{found.strangers} crashes are of hosts that are not in the table")
    if found.undated:
        complain(f"{found.undated} crashes have no time or no kernel")
    limited = found.problems or found.strangers or found.undated
    return EXIT_LIMITED if limited else EXIT_OK


@click.command()
@click.argument("kernel", metavar="RELEASE")
@store_option
@fleet_option
@since_option
@until_option
@click.option(
    "--against", metavar="RELEASE", multiple=True,
    help="Compare with this kernel (repeatable); all others if there is none.",
)  # fmt: skip
@click.option(
    "--tolerate", metavar="FACTOR", type=click.FloatRange(1), default=1.5,
    help="Passed is what surely crashes no more than so many times as often (1.5).",
)  # fmt: skip
def gate(
    kernel: str,
    store: str | None,
    table: str | None,
    since: float | None,
    until: float | None,
    against: tuple[str, ...],
    tolerate: float,
) -> int:
    """Say whether a kernel crashes more often than others: a gate for its release.

    \b
    Exit status: 0 it does not, 6 it does, 7 it needs more machine-days.
    """
    from postmortem.render.clean import clean
    from postmortem.triage.fleet import Decision, only_with
    from postmortem.triage.fleet import gate as decided

    found, _ = _rates(store, table, since, until)
    decision = decided(found, kernel, against, tolerate)
    with open_store(store) as opened_store:
        only = only_with(opened_store, kernel)
    _limits(found)
    with open_output() as file:
        file.write(clean(str(decision)) + "\n")
        for title in only:
            file.write(clean(f"  only with it: {title}") + "\n")
    statuses = {Decision.PASSED: EXIT_OK, Decision.WORSE: EXIT_NEW}
    return statuses.get(decision.decision, EXIT_UNDECIDED)


def _plain(value: Any) -> dict[str, Any]:
    from postmortem.render.json import plain

    found: dict[str, Any] = plain(value)
    return found


def _show(table: Table, listed: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        from postmortem.render.json import dump, plain

        with open_output() as file:
            dump([plain(item) for item in listed], file)
        return
    from postmortem.render.page import Page
    from postmortem.render.page import write as put

    page = Page(sys.stdout)
    page.table(table.columns, table.rows, indent="")
    with open_output() as file:
        put(page.text(), file)


# --- what can go ---------------------------------------------------------------------------


@click.command()
@store_option
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(0),
    default=3,
    help="Newest dumps of a bug that stay beside the best and the first (3).",
)
@click.option(
    "--understood",
    metavar="N",
    type=click.IntRange(2),
    default=10,
    help="Crashes from which on a bug is well understood (10); a fixed one is.",
)
@click.option("--logs", is_flag=True, help="Logs too, not only dumps.")
@click.option("--delete", "really", is_flag=True, help="Delete them; without it they are listed.")
def prune(store: str | None, keep: int, understood: int, logs: bool, really: bool) -> int:
    """List (or delete) dumps that nobody would miss: more of a bug that is well understood.

    Only files that still are what was analysed; the store keeps their analyses.
    """
    from postmortem.render.clean import clean
    from postmortem.render.words import size
    from postmortem.triage.prune import Pruned, delete, doomed

    with open_store(store) as found:
        going = doomed(found, keep=keep, understood=understood, logs=logs)
        done = delete(going) if really else Pruned(tuple(going))
    with open_output() as file:
        for item in done.files:
            file.write(clean(item.path) + "\n")
    for problem in done.problems:
        complain(problem)
    word = "deleted" if really else "can go (--delete deletes them)"
    complain(f"{len(done.files)} files, {size(done.size)}: {word}")
    return EXIT_LIMITED if done.problems else EXIT_OK


# --- by themselves -------------------------------------------------------------------------


def notify_options(function: Any) -> Any:
    """Whom to tell of a new bug."""
    for option in (
        click.option("--webhook", metavar="URL", help="POST each new bug to URL, as JSON."),
        click.option(
            "--command", metavar="COMMAND",
            help="Run COMMAND for each new bug, which it reads as JSON; no shell is asked.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def tell(buckets: Sequence[Bucket], command: str | None, webhook: str | None) -> int:
    """Tell of new bugs, if anybody wants to know; how many notices failed."""
    from postmortem.triage.notify import Notifier

    failed = Notifier.of(command, webhook).tell(buckets)
    for sentence in failed:
        complain(sentence)
    return len(failed)


def check_notices(command: str | None, webhook: str | None) -> None:
    """:raises UsageError: nobody could be told so; said before an hour's work, not after it."""
    if command or webhook:
        from postmortem.triage.notify import Notifier

        Notifier.of(command, webhook)


def report(
    store: Store,
    new: Sequence[Bucket],
    html: str | None,
    command: str | None,
    webhook: str | None,
    *,
    redact: bool,
) -> bool:
    """Write the pages and tell of new bugs, as far as that is wanted; whether that had problems."""
    limited = html is not None and write(store, html, redact=redact, quiet=True)
    return bool(tell(new, command, webhook)) or limited


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--bind", metavar="ADDRESS:PORT", default="0.0.0.0:6666", help="Where (0.0.0.0:6666)."
)
@click.option(
    "--quiet",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=60.0,
    help="So long a host says nothing after a report before its log is kept (60).",
)
@click.option("--names", metavar="CSV", type=FILE, help="Names of the hosts: address,name.")
def listen(folder: str, bind: str, quiet: float, names: str | None) -> int:
    """Take netconsole's messages of many hosts; keep the logs that tell of a failure below DIR.

    \b
    postmortem triage listen /var/crash/netconsole &
    postmortem triage watch /var/crash/netconsole
    """
    from postmortem.triage.netconsole import Keeper, Listener, address, bound
    from postmortem.triage.netconsole import listen as take

    keeper = Keeper(Path(folder), names=_names(names))
    listener = Listener(keeper, quiet)
    stop = _stopped()
    with bound(address(bind)) as source:
        where = source.getsockname()
        complain(f"listening at {where[0]}:{where[1]}, logs go to {folder}")
        take(source, listener, stop.is_set)
    complain(
        f"{listener.packets} packets, {keeper.kept} logs kept, {listener.lost} messages lost on the"
        f" way, {listener.refused} packets of too many hosts"
    )
    return EXIT_OK


def _names(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    import csv

    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if len(row) >= 2]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path} can't be read: {getattr(error, 'strerror', '') or error}"
        ) from error
    return {row[0].strip(): row[1].strip() for row in rows}


def _stopped() -> threading.Event:
    """Set by the first signal that ends us, so that what is there is kept."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


def watching(
    folders: Sequence[str],
    run: Callable[[], Sequence[Bucket]],
    *,
    settle: float,
    polling: bool,
    told: IO[str] = sys.stderr,
) -> None:
    """Triage the folders now and whenever something in them changed, until a signal comes."""
    from postmortem.triage.watching import looks

    stop = _stopped()
    for _ in looks([Path(folder) for folder in folders], stop, settle=settle, polling=polling):
        began = time.monotonic()
        new = run()
        seconds = time.monotonic() - began
        print(f"postmortem: looked in {seconds:.1f} s, {len(new)} new bugs", file=told, flush=True)


COMMANDS = (pages, hosts, fleet, rates, gate, prune, listen)
