"""Holds a verdict against the rules: is it known, and does this kernel lack the fix?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from postmortem.known.release import Release, Version, branch, parse
from postmortem.known.rules import Match, Rule, Span
from postmortem.model.report import Report
from postmortem.model.result import Analysis

_MAX_LINES = 2000


class Status(str, Enum):
    """What the kernel's version says about a failure that has a rule's form."""

    AFFECTED = "affected"
    """Its version is one of those that have the bug."""
    UNTOLD = "untold"
    """The rule names no versions that can be compared with this one."""
    FIXED = "fixed"
    """It has the fix (or is older than the bug): this is another bug, or the fix is not enough."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Known:
    """A rule that a verdict has the form of."""

    rule: Rule
    status: Status
    release: str
    """As the kernel wrote it; empty where the input does not tell."""
    fixed_in: str = ""
    """The version to have: of its own branch where the rule names one, else the next one."""
    own_branch: bool = True
    """Whether that version is of the kernel's own branch."""

    @property
    def is_known(self) -> bool:
        """Whether there is nothing new in it."""
        return self.status is not Status.FIXED


def known(analysis: Analysis, rules: Iterable[Rule]) -> list[Known]:
    """The rules that the verdict has the form of, those that are surely it first."""
    subject = _Subject(analysis)
    release = parse(analysis.system.release or "", analysis.system.version)
    found = [_judged(rule, release) for rule in rules if subject.has(rule.match)]
    return sorted(found, key=lambda item: tuple(Status).index(item.status))


class _Subject:
    """What of an analysis the rules are about: the verdict and its own report."""

    def __init__(self, analysis: Analysis) -> None:
        verdict = analysis.verdict
        self.kind = str(verdict.kind)
        self.function = verdict.culprit.function or ""
        self.module = verdict.culprit.module or ""
        self._analysis = analysis
        self._report = _report(analysis)

    def has(self, match: Match) -> bool:
        """Whether all that the rule asks is true."""
        return (
            (not match.kinds or self.kind in match.kinds)
            and (not match.functions or _like(self.function, match.functions))
            and (not match.modules or _like(self.module, match.modules))
            and (not match.frames or self._has_frames(match.frames))
            and (not match.text or self._says(match))
        )

    def _has_frames(self, wanted: tuple[str, ...]) -> bool:
        names = set(self._frames())
        return all(any(fnmatchcase(name, frame) for name in names) for frame in wanted)

    def _frames(self) -> Iterator[str]:
        report = self._report
        if report is not None:
            if report.pc is not None and report.pc.function:
                yield report.pc.function
            yield from (f.function for f in report.frames if f.function and f.reliable)
        task = self._analysis.verdict.culprit.task
        for stack in self._analysis.cpus:
            if task is not None and stack.task.pid == task.pid:
                yield from (frame.function for frame in stack.frames if frame.function)

    def _says(self, match: Match) -> bool:
        lines = (self._report.text if self._report is not None else ())[:_MAX_LINES]
        told = (*lines, self._analysis.verdict.title)
        return any(pattern.search(line) for line in told for pattern in match.text)


def _report(analysis: Analysis) -> Report | None:
    """The kernel's own report of the verdict."""
    line = next((f.log_line for f in analysis.findings if f.id == analysis.verdict.finding), None)
    return next((r for r in analysis.reports if r.line == line is not None), None)


def _like(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _judged(rule: Rule, release: Release) -> Known:
    """What the version says; a distribution's own count is asked before the upstream one."""
    for table in release.known_to:
        span = rule.kernels.get(table)
        version = release.version(table)
        if span is not None and version is not None:
            return _in(span, rule, version, release, table)
    fixed = next((span.fixed for span in rule.kernels.values() if span.fixed), ())
    return Known(rule, Status.UNTOLD, release.text, fixed[-1][1] if fixed else "", False)


def _in(span: Span, rule: Rule, version: Version, release: Release, table: str) -> Known:
    if span.since is not None and version < span.since:
        return Known(rule, Status.FIXED, release.text)
    own = [row for row in span.fixed if branch(row[0], table) == branch(version, table)]
    later = [row for row in span.fixed if row[0] > version]
    if own:
        fix = own[0]
        status = Status.AFFECTED if version < fix[0] else Status.FIXED
        return Known(rule, status, release.text, fix[1])
    if not later:
        status = Status.FIXED if span.fixed else Status.AFFECTED
        return Known(rule, status, release.text, span.fixed[-1][1] if span.fixed else "", False)
    # The fix may have gone to this branch too: the rule does not say it.
    return Known(rule, Status.AFFECTED, release.text, later[0][1], False)


def sentence(found: Known) -> str:
    """One sentence for a person."""
    rule = found.rule
    release = found.release or "a kernel that the input does not name"
    if found.status is Status.FIXED:
        form = f"Not known: it has the form of {rule.id}, but {release}"
        if not found.fixed_in:
            return f"{form} is older than that bug"
        return f"{form} has its fix (since {found.fixed_in}): another bug, or the fix is not enough"
    return f"Known: {rule.id}: {rule.cause.rstrip('.')}{_fix(found, release)}{_link(rule)}"


def _fix(found: Known, release: str) -> str:
    if not found.fixed_in:
        return "; no fixed version is on record"
    if found.status is Status.UNTOLD:
        return (
            f"; fixed in {found.fixed_in}, whether {release} has the fix its number does not tell"
        )
    if found.own_branch:
        return f"; fixed in {found.fixed_in}"
    return f"; fixed in {found.fixed_in}, of the branch of {release} no fix is on record"


def _link(rule: Rule) -> str:
    return f" <{rule.link}>" if rule.link else ""
