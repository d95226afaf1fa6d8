"""Errors that the hardware reports: corrected ones harmed nothing, and the part has a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from postmortem.log.since import corrected, told_at
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


def told(finding: Finding, report: Report, reports: Sequence[Report] = ()) -> Finding:
    """A hardware error with its place and with what it means.

    :param reports: all of the log: a memory controller may have named the same address.
    """
    if report.form == "mce" and not corrected(report):
        return _machine_check(finding, report, reports)
    own = _where(report)
    where = own or _named_beside(report, reports)
    place = f" It names {where}." if where else ""
    if where:
        words = "the report's own words" if own else "what EDAC said with it"
        evidence = (*finding.evidence, Evidence(f"the part: {where}", words))
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


_SAYS = re.compile(r"Machine check: (?P<said>\S.{0,120})")
_AT = re.compile(r"RIP (?P<about>!INEXACT! )?[0-9a-f]+:<[0-9a-f]+> \{(?P<function>[\w.]+)\+0x")
_PAGE = re.compile(r"page:0x(?P<page>[0-9a-f]{1,13})\b(?: offset:0x(?P<offset>[0-9a-f]{1,6})\b)?")
_PAGE_BITS = 12
"""Machine checks of this form are of x86."""


def _machine_check(finding: Finding, report: Report, reports: Sequence[Report]) -> Finding:
    """What the bank says, in words; the DIMM, where the memory controller named the address."""
    detail = report.detail
    grave = "uncorrected " if detail.get("severity") in ("uncorrected", "fatal") else ""
    address = _address(detail.get("addr", ""))
    meaning = detail.get("meaning", "")
    text = f"The hardware reported an {grave}error in bank {detail.get('bank', '?')}"
    text += f" ({meaning})" if meaning else ""
    text += f" at the address {address:#x}." if address is not None else "."
    text += "".join(
        f' The kernel says: "{match["said"].strip()}".'
        for match in [next(filter(None, map(_SAYS.search, report.text)), None)]
        if match is not None
    )
    met = next(filter(None, map(_AT.search, report.text)), None)
    if met is not None and not met["about"]:
        text += f" {met['function']}() only met it."
    finding = replace(finding, explanation=text)
    return finding if address is None else _with_dimm(finding, report, address, reports)


def _address(text: str) -> int | None:
    return int(text, 16) if 0 < len(text) <= 16 else None


def _with_dimm(
    finding: Finding, report: Report, address: int, reports: Sequence[Report]
) -> Finding:
    """The same page in an error that EDAC tied to a DIMM, in the same boot."""
    for other in reports:
        name, place = other.detail.get("device", ""), _PAGE.search(other.detail.get("place", ""))
        if not other.form.startswith("edac") or other.boot != report.boot or place is None:
            continue
        page = int(place["page"], 16)
        if page != address >> _PAGE_BITS or not name:
            continue
        exact = place["offset"] and page << _PAGE_BITS | int(place["offset"], 16) == address
        same = "address" if exact else "page"
        how = "corrected" if corrected(other) else "uncorrected"
        when = "before" if other.line < report.line else "after it"
        said = f"the same {same} had {how} errors {when}, of the DIMM {name}"
        return replace(
            finding,
            shown=f"{finding.title}, DIMM {name}",
            explanation=f"{finding.explanation} {said[0].upper()}{said[1:]}.",
            evidence=(*finding.evidence, Evidence(said, f"log line {other.line}")),
            next_steps=(f"Replace the DIMM {name}, or test it alone.", *finding.next_steps),
        )
    return finding


_ONE_EVENT = 1.0
"""Seconds: decoder and memory controller (EDAC) tell one event in one go."""


def _named_beside(report: Report, reports: Sequence[Report]) -> str:
    """The part that a memory controller named while a machine check was decoded."""
    then = told_at(report)
    for other in reports:
        if report.form != "mce" or not other.form.startswith("edac") or other.boot != report.boot:
            continue
        now, name = told_at(other), other.detail.get("device", "")
        if then is None or now is None or not 0 <= now - then <= _ONE_EVENT or not name:
            continue
        place = re.match(r"csrow:\d{1,4} channel:\d{1,4}", other.detail.get("place", ""))
        return f"{name} ({place[0].replace(':', ' ')})" if place else name
    return ""


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
