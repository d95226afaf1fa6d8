"""What the kernel's own lines inside a report add to its finding."""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from itertools import pairwise

from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, Strength
from postmortem.model.report import Report
from postmortem.rules.fault_codes import decoded, psw
from postmortem.rules.poison import poison
from postmortem.rules.spoken import heard

_ACCESSES = frozenset(
    {Kind.BAD_POINTER, Kind.NULL_DEREFERENCE, Kind.BAD_EXECUTION, Kind.USE_AFTER_FREE}
)
_TRAPS = _ACCESSES | {Kind.INVALID_OPCODE, Kind.DIVIDE_ERROR, Kind.MACHINE_CHECK}
"""Reports of which the CPU says more than the header does."""
_MAX_ERRNO = 4095
"""include/linux/err.h: the last page of the address space stands for error numbers."""
_NARROW = frozenset({"arm", "i386", "mips"})
"""Architectures whose reports may be of 32-bit kernels."""


def with_spoken(finding: Finding, report: Report) -> Finding:
    """The finding with what the kernel concluded itself, and the CPU's word for the fault."""
    where = f"report at log line {report.line}"
    for said in heard(report.text, report.kind, finding.culprit.function):
        line = report.text[said.number].strip()
        known = any(item.what == line for item in finding.evidence)
        finding = replace(
            finding,
            explanation=(
                said.sentence if said.row.instead else f"{finding.explanation} {said.sentence}"
            ),
            evidence=finding.evidence if known else (*finding.evidence, Evidence(line, where)),
            next_steps=said.steps or finding.next_steps,
            confidence=_believed(finding.confidence, said.row.sure),
        )
    if report.kind is Kind.LOCKDEP:
        finding = _with_locks(finding, report, where)
    if report.kind is Kind.LIST_CORRUPTION:
        finding = _with_neighbour(finding, report, where)
    if report.kind in _TRAPS:
        finding = _with_code(finding, report, where)
    if report.kind in _ACCESSES:
        finding = _with_negative(finding, report)
    return finding


def _believed(confidence: Confidence, sure: bool) -> Confidence:
    return Confidence.LIKELY if not sure and confidence is Confidence.CERTAIN else confidence


_LOCK = re.compile(r"\((?P<name>[^\s()][^{}]{0,120}?)\)\{")
_WANTS, _HOLDS = "is trying to acquire lock", "already holding lock"
_LOCK_LINES = 40
"""Lines of a report of lockdep among which it names the two locks."""


def _with_locks(finding: Finding, report: Report, where: str) -> Finding:
    """Which lock was wanted while which one was held: each stands below the line that says so."""
    lines = report.text[:_LOCK_LINES]
    named: dict[str, str] = {}
    for said, below in pairwise(lines):
        lock = _LOCK.search(below)
        for words in (_WANTS, _HOLDS):
            if words in said and lock is not None:
                named.setdefault(words, lock["name"])
    if len(named) < 2:
        return finding
    told = f"It wanted {named[_WANTS]} while it held {named[_HOLDS]}"
    return replace(
        finding,
        explanation=f"{finding.explanation} {told}.",
        evidence=(*finding.evidence, Evidence(told, where)),
    )


_NEIGHBOURS = re.compile(
    r"should be (?:\w{1,20} )?\(?(?P<wanted>[0-9a-f]{16})\)?, but was (?P<found>[0-9a-f]{16})\b"
)
"""lib/list_debug.c, where it prints pointers as they are."""
_FAR = 21
"""From this bit on two entries of a list are not each other's neighbours in memory: 2 MiB."""


def _with_neighbour(finding: Finding, report: Report, where: str) -> Finding:
    """A pointer that marks freed memory, or that differs from what it should be in one bit:
    memory, not code, does that."""
    match = next(filter(None, map(_NEIGHBOURS.search, report.text)), None)
    if match is None:
        return finding
    marked = poison(int(match["found"], 16))
    if marked is not None:
        said = f"{match['found']} is no neighbour: {marked.meaning}"
        return replace(
            finding,
            explanation=f"{finding.explanation} What is there, {said}.",
            evidence=(*finding.evidence, Evidence(said, where)),
        )
    difference = int(match["wanted"], 16) ^ int(match["found"], 16)
    bit = difference.bit_length() - 1
    if difference.bit_count() != 1 or bit < _FAR:
        return finding
    said = f"{match['wanted']} and {match['found']} differ in one bit (bit {bit})"
    return replace(
        finding,
        explanation=(
            f"{finding.explanation} The pointer that is there and the one that should be differ"
            f" in one bit (bit {bit}): faulty memory does that, code hardly."
        ),
        evidence=(*finding.evidence, Evidence(said, where)),
        culprit=Culprit(task=finding.culprit.task, cpu=finding.culprit.cpu),
        confidence=Confidence.POSSIBLE,
        next_steps=(
            "Test the memory (memtest86+, the EDAC counters, another DIMM) before the code is"
            " searched.",
            *finding.next_steps,
        ),
    )


def _with_code(finding: Finding, report: Report, where: str) -> Finding:
    found = decoded(report.text)
    words = [found[1]] if found is not None else []
    words += [said for said in map(psw, report.text) if said][:1]
    evidence = [Evidence(said, where, Strength.CONTEXT) for said in words]
    return replace(finding, evidence=(*finding.evidence, *evidence))


def _with_negative(finding: Finding, report: Report) -> Finding:
    """An address just below zero: an error number, or a step back from NULL."""
    negative = _negative(report)
    if negative is None:
        return finding
    name = errno.errorcode.get(negative)
    text = f"The address {report.fault_address:#x} is -{negative}:"
    if name is not None:
        text += f" an error pointer (-{name}) that nobody checked with IS_ERR(), or"
    text += f" {negative} bytes before a NULL pointer, as container_of() of NULL gives."
    return replace(finding, explanation=f"{finding.explanation} {text}")


def _negative(report: Report) -> int | None:
    address = report.fault_address
    if address is None:
        return None
    for bits in (64, 32) if report.arch in _NARROW else (64,):
        below = (1 << bits) - address
        if 0 < below <= _MAX_ERRNO:
            return below
    return None
