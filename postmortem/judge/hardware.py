"""Errors that the hardware reports: corrected ones harmed nothing, and the part has a name."""

from __future__ import annotations

import re
from dataclasses import replace

from postmortem.log.since import corrected
from postmortem.model.findings import Evidence, Finding, Severity
from postmortem.model.report import Report

_EDAC = re.compile(
    r"EDAC \w+: (?P<count>\d{1,9}) [CU]E .{0,80}?on (?P<where>\S{1,80})"
    r"(?: \((?P<place>(?:(?:channel|slot|csrow|page|rank|bank):\S+ ?){1,4}))?"
)
_CPER = re.compile(r"DIMM location: ?(?P<where>.{1,100})")
# drivers/firmware/efi/cper.c: which part a section is of, and the PCI function.
_SECTION = re.compile(r"section_type: (?P<section>[^,]{1,60})")
_FUNCTION = re.compile(r"device_id: (?P<where>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])")


def told(finding: Finding, report: Report) -> Finding:
    """A hardware error with its place and with what it means."""
    where = _where(report)
    place = f" It names {where}." if where else ""
    if where:
        evidence = (*finding.evidence, Evidence(f"the part: {where}", "the report's own words"))
        finding = replace(finding, evidence=evidence)
    if not corrected(report):
        return replace(finding, explanation=f"{finding.explanation}{place}")
    return replace(
        finding,
        severity=Severity.INFO,
        explanation=(
            "The hardware met an error and corrected it: nothing was lost, nothing failed of"
            f" it.{place} Many of them at one part announce that it fails."
        ),
        next_steps=("Count them by part (rasdaemon, edac-util); replace a DIMM whose rate grows.",),
    )


def _where(report: Report) -> str:
    """The DIMM or the PCI function, in the words of EDAC or of the firmware."""
    section = ""
    for text in report.text:
        match = _EDAC.search(text)
        if match is not None:
            place = (match["place"] or "").strip().replace(":", " ")
            return f"{match['where']} ({place})" if place else match["where"]
        match = _CPER.search(text)
        if match is not None:
            return match["where"].strip()
        match = _FUNCTION.search(text)
        if match is not None:
            return f"{match['where']}{f' ({section})' if section else ''}"
        match = _SECTION.search(text)
        if match is not None:
            section = match["section"].strip()
    return ""
