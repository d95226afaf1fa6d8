"""A pile of invented crashes in a store, with whole analyses behind them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from postmortem.model.result import Analysis
from postmortem.render.json import document
from postmortem.triage.model import CaseState, InputState, Outcome
from postmortem.triage.store import Store
from postmortem.triage.store_document import pack
from tests.render.samples import CRASH
from tests.triage.stores import case, outcome

DAY = 86_400
START = 1_780_000_000
"""28 May 2026."""


def told(
    number: int, function: str = "foo_read", *, hostile: str = "", **fields: object
) -> Outcome:
    """One crash of a function, with its document.

    :param hostile: In the names that a stranger may choose.
    """
    host = f"web{number % 7}{hostile}"
    release = f"6.1.{70 + number % 3}"
    title = f"kernel BUG in {function}"
    analysis: Analysis = replace(
        CRASH,
        system=replace(CRASH.system, nodename=host, release=release),
        verdict=replace(CRASH.verdict, title=title, shown=f"{title}{hostile}"),
        log_tail=(f"[    1.000000] foo: {hostile}", *CRASH.log_tail),
    )
    features = (
        *(("host", host), ("release", release), ("arch", "x86_64"), ("model", "ACME R1")),
        *(("module", "ext4"), ("option", "quiet"), ("module", function)),
    )
    row = case(
        function,
        title=title,
        shown=f"{title}{hostile}",
        time=START + number * DAY // 2,
        time_from="dump",
        host=host,
        release=release,
        model="ACME R1",
        source="vmcore",
        features=features,
        rank=f"{number:04}",
    )
    return outcome(f"{function}-{number}", row, document=pack(document(analysis)), kind="vmcore")


def pile(path: Path, *, hostile: str = "") -> Store:
    """A store of three bugs, one unsorted crash and one file that is none."""
    store = Store.open(path)
    first = store.begin_run([])
    store.add(first, [told(n, hostile=hostile) for n in range(40)])
    store.add(first, [told(n, "bar_write", hostile=hostile) for n in range(9)])
    store.end_run(first, complete=True, found=49, known=0, analysed=49, failed=0)
    second = store.begin_run([])
    store.add(second, [told(60, "new_one", hostile=hostile)])
    lost = case(
        "lost", state=CaseState.UNSORTED, signature=None, shown=f"something{hostile}", title="x"
    )
    store.add(second, [outcome("unsorted", lost)])
    refused = outcome(f"zip{hostile}", state=InputState.REFUSED, reason=f"a zip bomb{hostile}")
    store.add(second, [refused])
    store.end_run(second, complete=True, found=3, known=0, analysed=2, failed=1)
    return store
