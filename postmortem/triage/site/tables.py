"""Pages that are one table: hosts, what is unsorted, what could not be analysed."""

from __future__ import annotations

from postmortem.render.html import Crumb
from postmortem.triage.hosts import hosts
from postmortem.triage.site.site import Site
from postmortem.triage.site.views import Cell, TableView
from postmortem.triage.site.wording import day

MAX_HOSTS = 1000
_BACK = (Crumb("all bugs", "index.html"),)


def hosts_page(site: Site) -> None:
    found = hosts(site.store, MAX_HOSTS)
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
                Cell(day(host.last)),
                Cell(", ".join(host.suspicion) or "-"),
            )
            for host in found
        ),
    )
    site.put("triage_table.html", "hosts.html", "Hosts", view, _BACK)


def unsorted_page(site: Site) -> None:
    cases = site.store.cases(state="unsorted", limit=500)
    if not cases:
        return
    view = TableView(
        notes=("Something broke, but what is left tells it from nothing else.",),
        columns=(("title", ""), ("when", ""), ("host", ""), ("kernel", "extra")),
        wide=0,
        sorted="",
        rows=tuple(
            (Cell(c.shown), Cell(day(c.time)), Cell(c.host or "-"), Cell(c.release or "-"))
            for c in cases
        ),
    )
    site.put("triage_table.html", "unsorted.html", "Unsorted", view, _BACK)


def failed_page(site: Site) -> None:
    found = [
        item
        for state in ("failed", "refused")
        for item in site.store.inputs(state=state, limit=500)
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
    site.put("triage_table.html", "failed.html", "Not analysed", view, _BACK)
