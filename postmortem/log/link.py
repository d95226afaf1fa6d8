"""Which report is only the consequence of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from postmortem.model.findings import Kind
from postmortem.model.report import Report

MAX_BETWEEN = 50
"""Reports between a cause and its consequence."""
NEAR = 120.0
"""Seconds: a consequence follows its cause at most this far behind."""
_STALLS = {Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK, Kind.WORKQUEUE_STALL}
_DEADLY = {
    Kind.NULL_DEREFERENCE,
    Kind.BAD_POINTER,
    Kind.GENERAL_PROTECTION,
    Kind.BUG,
    Kind.INVALID_OPCODE,
    Kind.LIST_CORRUPTION,
    Kind.STACK_OVERFLOW,
    Kind.DIVIDE_ERROR,
    Kind.BAD_EXECUTION,
    Kind.OUT_OF_BOUNDS,
    Kind.MEMORY_CORRUPTION,
    Kind.DOUBLE_FREE,
    Kind.SCHEDULING_WHILE_ATOMIC,
}
"""Kinds after which a CPU or task is gone, with whatever locks it held."""

# What a panic message says of its cause; None: whatever came before.
_PANICS: tuple[tuple[str, frozenset[Kind] | None], ...] = (
    ("hung_task:", frozenset({Kind.HUNG_TASK})),
    ("softlockup:", frozenset({Kind.SOFT_LOCKUP})),
    ("Hard LOCKUP", frozenset({Kind.HARD_LOCKUP})),
    ("RCU Stall", frozenset({Kind.RCU_STALL})),
    ("Fatal exception", None),
    ("panic_on_warn", None),
    ("kasan.fault=panic", None),
    ("sysrq triggered crash", frozenset({Kind.USER_REQUESTED})),
    ("achine check", frozenset({Kind.MACHINE_CHECK})),
    ("Timeout: Not all CPUs", frozenset({Kind.MACHINE_CHECK})),
    ("Out of memory", frozenset({Kind.OOM})),
    ("System is deadlocked on memory", frozenset({Kind.OOM})),
)


def link(reports: Iterable[Report]) -> list[Report]:
    """Set ``consequence_of`` where an earlier report explains a later one."""
    linked: list[Report] = []
    for report in reports:
        cause = _cause(report, linked)
        if cause is not None:
            # A panic after an oops often comes without a stack: nothing is missing.
            corrupted = None if report.title.startswith("kernel panic") else report.corrupted
            report = replace(report, consequence_of=cause, corrupted=corrupted)
        linked.append(report)
    return linked


def primary(reports: list[Report]) -> int | None:
    """Index of the report to judge the whole by: what the machine died of, else the worst.

    A warning that came first and has nothing to do with the death is not it.
    """
    for report in reversed(reports):
        cause = report.consequence_of
        if report.title.startswith("kernel panic") and cause is not None:
            if reports[cause].kind is not Kind.USER_REQUESTED:
                return cause
            break
    own = [index for index, report in enumerate(reports) if report.consequence_of is None]
    return min(own, key=lambda index: (_rank(reports[index]), index), default=None)


def _rank(report: Report) -> int:
    if report.kind is Kind.USER_REQUESTED:
        return 3  # somebody wanted the dump, mostly because of something before
    if report.title.startswith("kernel panic"):
        return 0
    if report.kind in _DEADLY:
        return 1
    if report.kind in (
        Kind.WARNING,
        Kind.IO_ERROR,
        Kind.LOCKDEP,
        Kind.UBSAN,
        Kind.ALLOCATION_FAILURE,
    ):
        return 4
    return 2


def _cause(report: Report, earlier: list[Report]) -> int | None:
    found: int | None = None
    for index in range(len(earlier) - 1, max(-1, len(earlier) - MAX_BETWEEN), -1):
        candidate = earlier[index]
        if not _near(candidate, report):
            break
        if _explains(candidate, report):
            found = index if candidate.consequence_of is None else candidate.consequence_of
            if candidate.kind is not Kind.HUNG_TASK:
                break  # of tasks that hang the first one matters, else the last report
    return found


def _near(first: Report, second: Report) -> bool:
    if first.time is None or second.time is None:
        return second.line - first.line < 3000
    return -1.0 <= second.time - first.time <= NEAR


def _explains(first: Report, second: Report) -> bool:
    if second.title.startswith("kernel panic: ") and not first.title.startswith("kernel panic: "):
        message = second.title[len("kernel panic: ") :]
        for words, kinds in _PANICS:
            if words in message:
                return kinds is None or first.kind in kinds
        if second.kind is Kind.INIT_KILLED:
            return first.kind in _DEADLY or (first.kind is Kind.OOM)
        return first.kind in _DEADLY and first.task == second.task
    if second.kind in _STALLS:
        return first.kind in _DEADLY or (
            first.kind in _STALLS
            and first.kind is not Kind.HUNG_TASK
            and second.kind is not first.kind
        )
    if second.kind in _DEADLY and first.kind in _DEADLY:
        # A second oops of the same task, or while the first one was being printed.
        return first.task is not None and first.task == second.task
    return False
