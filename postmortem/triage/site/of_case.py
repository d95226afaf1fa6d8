"""A stored analysis, about one of the crashes that it tells of."""

from __future__ import annotations

from dataclasses import replace

from postmortem.model.findings import Confidence, Culprit, Finding, Kind, Severity, Verdict
from postmortem.model.result import Analysis
from postmortem.triage.rows import StoredCase


def of_case(analysis: Analysis, case: StoredCase) -> Analysis:
    """The analysis with the case as its verdict: a log may tell of several crashes."""
    finding = next((f for f in analysis.findings if f.id == analysis.verdict.finding), None)
    if case.line is None or (finding is not None and finding.log_line == case.line):
        return analysis
    if not case.part:
        return analysis
    kind, confidence = Kind(case.kind), Confidence(case.confidence)
    culprit = Culprit(case.function, case.module)
    own = next((f for f in analysis.findings if f.log_line == case.line), None)
    if own is None:
        own = Finding(
            f"case-{case.part}", kind, Severity.FATAL, confidence, case.title, case.summary,
            culprit=culprit, log_line=case.line, shown=case.shown,
        )  # fmt: skip
        analysis = replace(analysis, findings=(own, *analysis.findings))
    verdict = Verdict(
        kind,
        case.title,
        case.summary,
        confidence,
        culprit=own.culprit if own.culprit.function else culprit,
        signature=own.signature,
        evidence=own.evidence,
        next_steps=own.next_steps,
        finding=own.id,
        shown=case.shown,
    )
    system = replace(analysis.system, release=case.release, nodename=case.host)
    return replace(analysis, verdict=verdict, system=system)
