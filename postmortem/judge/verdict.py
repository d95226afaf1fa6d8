"""From findings to one verdict: the first failure, not the last line.

Rules are data, each with a test. A rule says which later finding an earlier
one explains; the verdict is the root of the chain that ended the machine, or,
if the machine did not die, the worst that happened to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postmortem.judge.reports import HANG_KINDS, LOCKUP_KINDS, OOPS_KINDS
from postmortem.model.findings import (
    Confidence,
    Evidence,
    Finding,
    Kind,
    Severity,
    Verdict,
)

if TYPE_CHECKING:
    from postmortem.plugin import Context

_MAX_EVIDENCE = 8

DEADLY = (OOPS_KINDS - {Kind.WARNING}) | {Kind.KASAN, Kind.KFENCE, Kind.KMSAN}
"""After these a task is gone with what it held, or memory can't be trusted."""

STUCK = HANG_KINDS | LOCKUP_KINDS
CORRUPTING = frozenset(
    {
        Kind.USE_AFTER_FREE,
        Kind.OUT_OF_BOUNDS,
        Kind.MEMORY_CORRUPTION,
        Kind.DOUBLE_FREE,
        Kind.LIST_CORRUPTION,
        Kind.KASAN,
        Kind.KFENCE,
    }
)


@dataclass(frozen=True)
class Rule:
    """``earlier`` explains ``later`` if both are of the named kinds and ``holds`` agrees."""

    earlier: frozenset[Kind]
    later: frozenset[Kind]
    why: str
    """Said of the later finding; ``{cause}`` is the earlier one's title."""
    holds: Callable[[Finding, Finding], bool] = lambda earlier, later: True


RULES = (
    Rule(
        DEADLY,
        STUCK,
        "a task died before it ({cause}) and may have kept its locks",
    ),
    Rule(
        DEADLY,
        frozenset({Kind.USER_REQUESTED}),
        "the crash was asked for after {cause}",
    ),
    Rule(
        STUCK | {Kind.IO_ERROR},
        frozenset({Kind.USER_REQUESTED, Kind.NMI}),
        "the crash was asked for after {cause}",
    ),
    Rule(
        frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP}),
        frozenset({Kind.HUNG_TASK, Kind.RCU_STALL, Kind.WORKQUEUE_STALL}),
        "a CPU did not let go before it ({cause})",
    ),
    Rule(
        CORRUPTING,
        DEADLY,
        "memory was damaged before it ({cause})",
    ),
    Rule(
        DEADLY,
        DEADLY | frozenset({Kind.PANIC, Kind.INIT_KILLED}),
        "the kernel was not to be trusted any more after {cause}",
    ),
    Rule(
        frozenset({Kind.OOM}),
        frozenset({Kind.INIT_KILLED}),
        "memory ran out before it ({cause})",
    ),
)


def diagnose(findings: Sequence[Finding], ctx: Context) -> tuple[tuple[Finding, ...], Verdict]:
    """Link the findings, order them, and name the verdict.

    :return: The findings, causes linked, the most important first; the verdict.
    """
    linked = _linked(findings)
    root = _root(linked)
    if root is None:
        return tuple(linked), _calm(ctx)
    ordered = sorted(linked, key=lambda item: _rank(item, root, linked))
    return tuple(ordered), _verdict(root, ordered)


def _linked(findings: Sequence[Finding]) -> list[Finding]:
    """Apply the rules: a finding without a cause takes the first one that explains it."""
    ordered = sorted(findings, key=_when)
    unplaced = [finding for finding in findings if finding.log_line is None]
    result: list[Finding] = []
    for later in ordered:
        if not later.caused_by:
            for earlier in (*result, *unplaced):
                why = _explained(earlier, later)
                if why is not None:
                    later = replace(
                        later,
                        caused_by=(earlier.id,),
                        evidence=(*later.evidence, Evidence(why, "order of events")),
                    )
                    break
        result.append(later)
    return result


def _explained(earlier: Finding, later: Finding) -> str | None:
    if not _precedes(earlier, later):
        return None
    for rule in RULES:
        if earlier.kind in rule.earlier and later.kind in rule.later and rule.holds(earlier, later):
            return rule.why.format(cause=earlier.title)
    return None


def _precedes(earlier: Finding, later: Finding) -> bool:
    """By place in the log; what only the dump shows has a time at best."""
    if earlier.log_line is not None and later.log_line is not None:
        return earlier.log_line < later.log_line
    return earlier.time is not None and later.time is not None and earlier.time < later.time


def _when(finding: Finding) -> tuple[int, float]:
    """Order of events: those that the log does not place come last."""
    if finding.log_line is not None:
        return (0, finding.log_line)
    return (1, finding.time or 0.0)


_SEVERITIES = (Severity.FATAL, Severity.ERROR, Severity.WARNING, Severity.INFO)


def _root(findings: Sequence[Finding]) -> Finding | None:
    """The first failure: what the fatal finding goes back to, or the worst of the rest."""
    by_id = {finding.id: finding for finding in findings}
    fatal = [finding for finding in findings if finding.severity is Severity.FATAL]
    if fatal:
        return _origin(fatal[-1], by_id)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        return _origin(errors[0], by_id)
    warnings = [finding for finding in findings if finding.severity is Severity.WARNING]
    return _origin(warnings[0], by_id) if warnings else None


def _origin(finding: Finding, by_id: dict[str, Finding]) -> Finding:
    seen = {finding.id}
    while True:
        causes = [by_id[c] for c in finding.caused_by if c in by_id and c not in seen]
        if not causes:
            return finding
        finding = causes[0]
        seen.add(finding.id)


def _rank(
    finding: Finding, root: Finding, findings: Sequence[Finding]
) -> tuple[int, int, tuple[int, float]]:
    by_id = {item.id: item for item in findings}
    related = _origin(finding, by_id).id == root.id
    first = 0 if finding.id == root.id else 1 if related else 2
    return first, _SEVERITIES.index(finding.severity), _when(finding)


def _verdict(root: Finding, findings: Sequence[Finding]) -> Verdict:
    consequences = [item for item in findings if root.id in item.caused_by and item.id != root.id]
    summary = root.explanation
    if consequences:
        last = max(consequences, key=_when)
        summary += f" What followed from it: {last.title}."
    return Verdict(
        kind=root.kind,
        title=root.title,
        summary=summary,
        confidence=root.confidence,
        culprit=root.culprit,
        signature=root.signature,
        evidence=root.evidence[:_MAX_EVIDENCE],
        next_steps=root.next_steps,
        finding=root.id,
    )


def _calm(ctx: Context) -> Verdict:
    """Nothing is wrong: say what the machine was doing. Or nothing could be seen: say that."""
    if ctx.prog is not None and not ctx.records and not ctx.system.task_states:
        said = [f"{item.what}: {item.why}" for item in ctx.problems[:2]]
        reasons = "; ".join([*ctx.input.lacks[:2], *said])
        return Verdict(
            kind=Kind.NONE,
            title="the cause can't be told from this file",
            summary="Neither the log nor the tasks could be read, so nothing can be said of what"
            " happened." + (f" {reasons}." if reasons else ""),
            confidence=Confidence.POSSIBLE,
            next_steps=("Get a complete dump, or the console log of the crash.",),
        )
    states = ctx.system.task_states
    running = states.get("R", 0)
    doing = ""
    if states:
        blocked = states.get("D", 0)
        doing = (
            f" {sum(states.values())} tasks: {running} running, {blocked} in uninterruptible sleep."
        )
    if ctx.prog is None:
        doing += " A log can't show a hang that nothing reported."
    what = "dump and its log hold"
    if ctx.prog is None or not states:
        what = "log holds"
    elif not ctx.records:
        what = "tasks (the log could not be read) show"
    return Verdict(
        kind=Kind.NONE,
        title="no failure found",
        summary=f"The {what} no sign of a crash or a hang.{doing}",
        confidence=Confidence.LIKELY if ctx.records and states else Confidence.POSSIBLE,
        evidence=(
            Evidence(f"{len(ctx.records)} log messages, no report of the kernel among them", "log"),
        )
        if ctx.records
        else (),
    )
