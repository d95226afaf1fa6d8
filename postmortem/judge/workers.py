"""A workqueue lockup told by a log alone: whose work keeps the pool's workers.

show_workqueue_state() (kernel/workqueue.c) lists, pool by pool, what is in flight and what is
pending. What is pending waits; what is in flight on the pool that makes no progress is whom it
waits for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from postmortem.log.since import stuck_seconds
from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, TaskRef
from postmortem.model.report import Report

_LINES = 400
_MAX_NAMED = 4
_WHICH = r"(?:cpus=(?P<cpus>[\d,-]+) )?(?:node=\S+ )?flags=\S+ nice=(?P<nice>-?\d+)"
_POOL = re.compile(rf"workqueue lockup - pool {_WHICH}")
_PWQ = re.compile(rf"\s*pwq \d+: {_WHICH}")
_IN_FLIGHT = re.compile(r"\s*in-flight: (?P<items>.+)")
_PENDING = re.compile(r"\s*pending: (?P<items>.+)")
_ITEM = re.compile(
    r"(?P<pid>\d{1,10})(?:\(RESCUER\))?:(?P<function>[A-Za-z_][\w.]{0,200})"
    r"(?: \[(?P<module>[\w-]{1,64})\])?"
)
_NAME = re.compile(r"(?:^|, )(?:\d+\*)?(?P<name>[A-Za-z_]\w{0,200})")


@dataclass(frozen=True)
class Worker:
    """A worker that executes something, as the list names it."""

    pid: int
    function: str
    module: str | None
    line: str


def busy_workers(report: Report) -> tuple[list[Worker], list[str]]:
    """Who is busy on the pool that the report is about, and what waits there."""
    header = next(filter(None, map(_POOL.search, report.text[:_LINES])), None)
    if header is None:
        return [], []
    pool = header["cpus"], header["nice"]
    busy: list[Worker] = []
    waiting: list[str] = []
    own = False
    for text in report.text[:_LINES]:
        pwq = _PWQ.match(text)
        if pwq is not None:
            own = (pwq["cpus"], pwq["nice"]) == pool
            continue
        if not own:
            continue
        flying, pending = _IN_FLIGHT.match(text), _PENDING.match(text)
        if flying is not None:
            busy += [
                Worker(int(m["pid"]), m["function"], m["module"], text.strip())
                for m in _ITEM.finditer(flying["items"])
            ]
        elif pending is not None:
            waiting += [match["name"] for match in _NAME.finditer(pending["items"])]
    return busy, waiting


def with_workers(finding: Finding, report: Report) -> Finding:
    """The lockup with the work that its pool is busy with."""
    busy, waiting = busy_workers(report)
    header = next(filter(None, map(_POOL.search, report.text[:_LINES])), None)
    if not busy or header is None:
        return finding
    where = f"of CPU {header['cpus']}" if header["cpus"] else "that is bound to no CPU"
    seconds = stuck_seconds(report)
    how_long = f" for {seconds:.0f} s" if seconds is not None else ""
    does = "; ".join(
        f"worker {one.pid} executes {one.function}(){f' [{one.module}]' if one.module else ''}"
        for one in busy[:_MAX_NAMED]
    )
    text = f"The worker pool {where} took up no work{how_long}: {does}."
    if waiting:
        names = ", ".join(list(dict.fromkeys(waiting))[:_MAX_NAMED])
        text += f" What waits behind it ({names}) is a victim."
    evidence = (
        *finding.evidence,
        *(Evidence(one.line, "the kernel's own list") for one in busy[:2]),
    )
    finding = replace(finding, explanation=text, evidence=evidence)
    if len({one.function for one in busy}) > 1:
        return finding
    task = finding.culprit.task
    if task is None or task.pid != busy[0].pid:
        task = TaskRef(busy[0].pid, "kworker")
    cpus = header["cpus"] or ""
    return replace(
        finding,
        culprit=Culprit(
            function=busy[0].function,
            module=busy[0].module,
            task=task,
            cpu=int(cpus) if cpus.isdigit() and len(cpus) < 6 else None,
        ),
        confidence=Confidence.LIKELY,
        next_steps=(
            f"Find out why {busy[0].function}() does not end; long work belongs on a WQ_UNBOUND"
            " or WQ_CPU_INTENSIVE queue.",
        ),
    )
