"""A CPU waits until another one has answered its call: who does not answer?

An IPI (smp_call_function(), a TLB flush) ends when all the CPUs that were called have taken
an interrupt. Who waits is a victim. csd_lock_wait_toolong() (kernel/smp.c) names the CPU that
does not answer; else it is the one whose stack neither waits, spins nor idles. A spinlock that
others wait for and that this CPU has in a register says the same a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from postmortem.judge.register_sets import doing, interrupts_off, locks_of
from postmortem.log.since import silent_cpu, stuck_seconds
from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import plain

_NEAR_LINES = 2000
"""Lines between the reports that can tell of one silence."""
_LINES = 400
_TITLE = re.compile(r"cpu (?P<cpu>\d{1,5})\b")
_HEADER = re.compile(
    r"CPU: (?P<cpu>\d{1,5}) (?:UID: \d{1,10} )?PID: (?P<pid>\d{1,9}) Comm: (?P<comm>.{1,16}?)"
    r" (?:Kdump|Not tainted|Tainted)"
)
_IDLING = re.compile(r"NMI backtrace for cpu (?P<cpu>\d{1,5}) skipped: idling")
_STEP = (
    "Find the CPU that does not answer: its NMI backtrace (sysrq l), or who runs there with"
    " interrupts off."
)


@dataclass(frozen=True)
class Silent:
    """The CPU that does not answer."""

    cpu: int
    frame: Frame | None = None
    """What it was doing, if the log shows it."""
    task: TaskRef | None = None
    line: int | None = None
    """Of the report that shows its stack."""
    named: bool = False
    """The kernel says that it is this CPU."""
    idles: bool = False
    """It idled when it was asked for its stack."""


def silent(report: Report, reports: Sequence[Report]) -> Silent | None:
    """Who does not answer the CPU of *report*; ``None`` if nothing or too much says it.

    :param reports: all stalls of the log.
    """
    near = [
        other
        for other in (report, *reports)
        if other.boot == report.boot and abs(other.line - report.line) <= _NEAR_LINES
    ]
    named = next(
        (
            cpu
            for other in near
            if (cpu := silent_cpu(other)) is not None
            and (other is report or _waiter(other) == report.cpu)
        ),
        None,
    )
    if named is not None:
        return _seen(named, near)
    found = {
        cpu: frame
        for cpu in _shown(report)
        if cpu != report.cpu and (frame := doing(report, cpu)) is not None
    }
    if len(found) != 1:
        return None
    ((cpu, frame),) = found.items()
    return Silent(cpu, frame, _task(report, cpu), report.line)


def _waiter(report: Report) -> int | None:
    text = report.detail.get("waiter", "")
    return int(text) if text.isdigit() and len(text) < 6 else None


def _seen(cpu: int, near: Sequence[Report]) -> Silent:
    """What the log shows of a CPU that the kernel named."""
    for report in near:
        frame = doing(report, cpu)
        if frame is not None:
            return Silent(cpu, frame, _task(report, cpu), report.line, named=True)
    idles = any(
        (match := _IDLING.match(text)) is not None and int(match["cpu"]) == cpu
        for report in near
        for text in report.text[:_LINES]
    )
    return Silent(cpu, named=True, idles=idles)


def _shown(report: Report) -> list[int]:
    """The CPUs that showed their stacks in a report."""
    found = (_TITLE.match(stack.title) for stack in report.stacks)
    return list(dict.fromkeys(int(match["cpu"]) for match in found if match is not None))


def _task(report: Report, cpu: int) -> TaskRef | None:
    if cpu == report.cpu and report.task is not None:
        return report.task
    for text in report.text[:_LINES]:
        match = _HEADER.match(text.strip())
        if match is not None and int(match["cpu"]) == cpu:
            return TaskRef(int(match["pid"]), match["comm"])
    return None


def victim_of_call(finding: Finding, report: Report, reports: Sequence[Report]) -> Finding:
    """A stall of a CPU that waits for an answer: about the one that does not give it."""
    cpu = _waiter(report) if report.cpu is None else report.cpu
    where = f"CPU {cpu}" if cpu is not None else "The CPU"
    seconds = stuck_seconds(report)
    how_long = f" for {seconds:.0f} s" if seconds is not None else ""
    waits = (
        f"{where} has waited{how_long} for another CPU to answer its call ({_call(report)}): it is"
        " the victim."
    )
    other = silent(report, reports)
    if other is None:
        return replace(
            finding,
            explanation=f"{waits} Which CPU does not answer, this report does not show.",
            culprit=replace(
                finding.culprit, function=None, module=None, file=None, line=None, task=None
            ),
            confidence=Confidence.POSSIBLE,
            next_steps=(_STEP,),
        )
    told = replace(
        finding,
        explanation=f"{waits} {_about(other)}",
        culprit=_culprit(other),
        confidence=Confidence.LIKELY if other.frame is not None else Confidence.POSSIBLE,
        next_steps=_steps(other),
    )
    return _with_locks(told, other, reports)


def _call(report: Report) -> str:
    names = [plain(f.function) for f in report.frames if f.reliable and f.function]
    called = report.detail.get("called")
    what = "a TLB flush" if any("tlb" in name for name in (*names, called or "")) else "an IPI"
    return f"{what}, {called}()" if called else f"{what}, smp_call_function"


def _about(other: Silent) -> str:
    if other.frame is not None:
        how = "does not answer" if other.named else "was asked for its stack"
        who = f", {other.task.comm} ({other.task.pid})" if other.task is not None else ""
        return f"CPU {other.cpu}, which {how}, was in {_name(other.frame)}{who}."
    if other.idles:
        return (
            f"CPU {other.cpu}, which does not answer, idled when it was asked for its stack: the"
            " interrupt got lost, or a host did not run this CPU."
        )
    return (
        f"CPU {other.cpu} does not answer: it takes no interrupts. What it does, the log does not"
        " show."
    )


def _name(frame: Frame) -> str:
    return f"{frame.function}() [{frame.module}]" if frame.module else f"{frame.function}()"


def _culprit(other: Silent) -> Culprit:
    if other.frame is None:
        return Culprit(cpu=other.cpu)
    return Culprit(other.frame.function, other.frame.module, task=other.task, cpu=other.cpu)


def _steps(other: Silent) -> tuple[str, ...]:
    if other.frame is not None:
        return (f"Find out why CPU {other.cpu} does not leave {other.frame.function}().",)
    return (
        f"Get the stack of CPU {other.cpu} (sysrq l, an NMI, or a dump): who runs there with"
        " interrupts off?",
    )


def _with_locks(finding: Finding, other: Silent, reports: Sequence[Report]) -> Finding:
    """CPUs that spin for a lock which the silent one has in a register."""
    said = list(dict.fromkeys([*_masked(other, reports), *_ties(other, reports)]))[:3]
    if not said:
        return finding
    evidence = [Evidence(what, f"registers of the report at log line {n}") for what, n in said]
    return replace(finding, evidence=(*finding.evidence, *evidence))


def _masked(other: Silent, reports: Sequence[Report]) -> Iterator[tuple[str, int]]:
    for report in reports:
        register = interrupts_off(report, other.cpu) if report.line == other.line else ""
        if register:
            yield f"CPU {other.cpu} has interrupts off ({register})", report.line


def _ties(other: Silent, reports: Sequence[Report]) -> Iterator[tuple[str, int]]:
    for report in reports:
        if other.frame is None or abs(report.line - (other.line or 0)) > _NEAR_LINES:
            continue
        for tie in locks_of(report):
            if tie.holder == other.cpu and tie.waiter != other.cpu:
                yield (
                    f"CPU {tie.waiter} spins for the lock at {tie.lock:#x}, which CPU"
                    f" {other.cpu} has in {tie.register}",
                    report.line,
                )
