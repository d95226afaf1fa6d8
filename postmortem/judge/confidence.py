"""Confidence is earned: ``certain`` is only what evidence names, the culprit and how it did it.

Judges say how sure their own reasoning is; here that is held against what they can show. A
judge that failed may have known better: the verdict is one step less sure then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from postmortem.model.findings import Confidence, Culprit, Finding, Kind, Problem, Strength
from postmortem.model.problems import LIBRARY
from postmortem.rules.kinds import Family, rule

_SHOWN = frozenset({Strength.PROOF, Strength.SHOWN})
_SYMPTOMS = frozenset(
    {
        Kind.GENERAL_PROTECTION,  # whence the pointer came, the header does not say
        Kind.BAD_POINTER,
        Kind.USE_AFTER_FREE,
        Kind.OUT_OF_BOUNDS,
        Kind.MEMORY_CORRUPTION,
        Kind.LIST_CORRUPTION,
        Kind.STACK_TRACE,
        Kind.NMI,
        Kind.OOM,
    }
)
"""Kinds whose report by the kernel tells where it showed, not how it came about."""
_SYMPTOM_FAMILIES = frozenset({Family.HANG, Family.LOCKUP})
"""A watchdog sees that something does not go on; why, memory or a blocker line must show."""
_NO_CODE = frozenset({Family.DEVICE, Family.PANIC})
"""Families in which nobody's code need be to blame: a disk, a missing root, a request."""


def earned(finding: Finding) -> Finding:
    """The finding, not surer than its evidence allows."""
    if finding.confidence is Confidence.CERTAIN and not (
        names_culprit(finding) and shows_mechanism(finding)
    ):
        return replace(finding, confidence=Confidence.LIKELY)
    return finding


def names_culprit(finding: Finding) -> bool:
    """Whether some evidence holds the name of who is blamed."""
    name = _name(finding.culprit)
    if name is None:
        known = rule(finding.kind)
        return known is not None and known.family in _NO_CODE and bool(finding.evidence)
    pattern = re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w])")
    return any(pattern.search(f"{item.what} {item.where}") for item in finding.evidence)


def shows_mechanism(finding: Finding) -> bool:
    """Whether some evidence says how it came about: memory, or the kernel where it knows."""
    if any(item.strength in _SHOWN for item in finding.evidence):
        return True
    known = rule(finding.kind)
    if finding.log_line is None or known is None:
        return False
    return finding.kind not in _SYMPTOMS and known.family not in _SYMPTOM_FAMILIES


def _name(culprit: Culprit) -> str | None:
    """What a reader takes the culprit by."""
    if culprit.function or culprit.module:
        return culprit.function or culprit.module
    if culprit.task is not None:
        return culprit.task.comm or str(culprit.task.pid)
    return f"CPU {culprit.cpu}" if culprit.cpu is not None else None


def lowered(confidence: Confidence, problems: Iterable[Problem], judges: frozenset[str]) -> (
    Confidence
):  # fmt: skip
    """One step less sure where one of the judges failed, or lacked a library.

    :param judges: names of the plugins that come with postmortem.
    """
    if not failed_judges(problems, judges):
        return confidence
    steps = list(Confidence)
    return steps[min(steps.index(confidence) + 1, len(steps) - 1)]


def failed_judges(problems: Iterable[Problem], judges: frozenset[str]) -> list[Problem]:
    """The problems that are judges which failed, or what these could not do for want of a library.

    What they would have said is not known.
    """
    names = {f"plugin {name}" for name in judges}
    return [
        problem for problem in problems if problem.what in names or problem.what.startswith(LIBRARY)
    ]
