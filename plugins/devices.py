"""What devices, drivers, file systems and firmware said that went wrong."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.boots import no_return
from postmortem.judge.reports import DEVICE_KINDS, finding_of, reports_of
from postmortem.log.boots import NO_RETURN
from postmortem.model.findings import Finding
from postmortem.plugin import Context, plugin


@plugin("devices", needs=("log",))
def devices(ctx: Context) -> Iterator[Finding]:
    """Report the failures that drivers and file systems print, with the device that failed."""
    for report in reports_of(ctx, DEVICE_KINDS):
        finding = finding_of(ctx, report)
        yield no_return(finding, report) if report.form == NO_RETURN else finding
