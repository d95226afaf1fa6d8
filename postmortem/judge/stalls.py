"""Stalls told by a log alone: who is a victim, and when nobody's code is to blame.

A CPU that waits for another one's answer or for a spinlock is a victim; one that idles runs no
code at all. Watchdogs that all speak at once and late were themselves not run: the machine
stood still.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from postmortem.judge.answers import victim_of_call
from postmortem.judge.register_sets import Holder, holder_of
from postmortem.judge.starved import USER, behind, hog_of, is_behind
from postmortem.judge.workers import with_workers
from postmortem.log.since import (
    halted,
    idles,
    silent_cpu,
    stall_jiffies,
    stalled_cpus,
)
from postmortem.log.standstill import STANDSTILL, clock_seconds, guest_of
from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, TaskRef
from postmortem.model.report import Report
from postmortem.rules.blame import plain
from postmortem.rules.roles import calls_cpus

_LINES = 80
_TIMER = re.compile(r"Possible timer handling issue on cpu=(?P<cpu>\d{1,5})")
_STARVED = re.compile(r"(?P<thread>rcu_\w+) kthread starved for (?P<jiffies>\d{1,12}) jiffies")
_IDLE = re.compile(r"NMI backtrace for cpu (?P<cpu>\d{1,5}) skipped: idling at (?P<where>\S+)")
_CLOCK = re.compile(
    r"clocksource|\btsc\b.*unstable|time(?:keeping)? .*jump|rcu.*clock|hrtimer: interrupt took",
    re.I,
)
_SPINS = frozenset(
    {
        "native_queued_spin_lock_slowpath",
        "queued_spin_lock_slowpath",
        "__pv_queued_spin_lock_slowpath",
        "pv_queued_spin_lock_slowpath",
        "queued_read_lock_slowpath",
        "queued_write_lock_slowpath",
        "_raw_spin_lock",
        "_raw_spin_lock_irqsave",
        "_raw_spin_lock_irq",
        "_raw_spin_lock_bh",
        "do_raw_spin_lock",
    }
)
_CLOCK_STEP = (
    "Ask the host whether the guest was paused, moved, snapshotted or starved of CPU;"
    " on bare metal look at the clock source and at system management interrupts."
)


def told(
    finding: Finding,
    report: Report,
    stood: float | None = None,
    reports: Sequence[Report] = (),
) -> Finding:
    """A stall with what its report says of whose fault it is.

    :param stood: for how long the whole machine stood still, if it did (seconds).
    :param reports: all stalls of the log: they may show who holds a lock.
    """
    finding = _with_task(finding, report)
    if stood is not None:
        finding = _standstill(finding, report, stood, reports)
    elif _timer(report) is not None:
        finding = _no_timer(finding, report)
    elif idles(report):
        finding = _idle(finding, report)
    elif halted(report):
        finding = _halt(finding, report)
    elif report.kind is Kind.WORKQUEUE_STALL:
        finding = with_workers(finding, report)
    elif (hog := hog_of(report)) is not None and is_behind(report, hog):
        finding = behind(finding, report, hog)
    elif _in_user(report):
        finding = _user(finding, report)
    elif _waits_for_answer(report):
        finding = victim_of_call(finding, report, reports)
    elif _first(report) in _SPINS:
        finding = _victim_of_lock(finding, report, holder_of(report, reports or [report]))
    elif report.pc is not None and report.pc.function is None and not report.frames:
        finding = replace(finding, confidence=Confidence.POSSIBLE)
    return _with_clock(finding, report)


_HEADER = re.compile(
    r"CPU: (?P<cpu>\d{1,5}) (?:UID: \d{1,10} )?PID: (?P<pid>\d{1,9}) Comm: (?P<comm>.{1,16}?)"
    r" (?:Kdump|Not tainted|Tainted)"
)


def _with_task(finding: Finding, report: Report) -> Finding:
    """The task that runs on the CPU that stalls: its backtrace names it.

    A CPU that detects its own stall backtraces itself, another one is asked by NMI.
    """
    if finding.culprit.task is not None:
        return finding
    headers = [match for text in report.text if (match := _HEADER.search(text)) is not None]
    stalled = stalled_cpus(report)
    itself = any("self-detected" in text for text in report.text[:3])
    own = [m for m in headers if (int(m["cpu"]) in stalled if stalled else itself)]
    if len(own) != 1:
        return finding
    cpu, task = int(own[0]["cpu"]), TaskRef(int(own[0]["pid"]), own[0]["comm"])
    return replace(finding, culprit=replace(finding.culprit, task=task, cpu=cpu))


def _timer(report: Report) -> re.Match[str] | None:
    return next(filter(None, map(_TIMER.search, report.text[:_LINES])), None)


def _first(report: Report) -> str:
    """The innermost function of the stalled code."""
    if report.pc is not None and report.pc.function:
        return plain(report.pc.function)
    frame = next((f for f in report.frames if f.reliable and f.function), None)
    return plain(frame.function) if frame is not None and frame.function else ""


def _waits_for_answer(report: Report) -> bool:
    called = report.function == "smp_call_function" or silent_cpu(report) is not None
    return called or calls_cpus(_first(report))


def _nobody(finding: Finding, title: str, text: str, steps: tuple[str, ...]) -> Finding:
    return replace(
        finding,
        title=title,
        explanation=text,
        culprit=Culprit(),
        confidence=Confidence.LIKELY,
        next_steps=steps,
    )


def _standstill(
    finding: Finding, report: Report, seconds: float, reports: Sequence[Report]
) -> Finding:
    same = [other for other in (report, *reports) if other.boot == report.boot]
    guest = guest_of(same)
    text = (
        f"The whole machine stood still for about {seconds:.0f} s: watchdogs of several CPUs"
        " spoke only then, in the same moment, though each looks every few seconds. "
    )
    if guest:
        text += (
            "It is a virtual machine: most likely its host paused it (a snapshot, a backup, a"
            " migration) or did not run it. No code here is to blame."
        )
    else:
        text += (
            "A paused guest, a suspended host or a clock that jumped does that; no code here is"
            " to blame."
        )
    title = "the machine stood still: " + report.title.partition(" in ")[0]
    found = _nobody(finding, title, text, (_CLOCK_STEP,))
    late = clock_seconds(report)
    evidence = []
    if late is not None and late >= STANDSTILL:
        said = f"the watchdog of the clocks, which looks twice a second, was {late:.0f} s late"
        evidence.append(Evidence(said, "wd_nsec in the lines before it"))
    if guest:
        evidence.append(Evidence(f"a virtual machine: {guest}", "Hardware name in the log"))
    return replace(found, evidence=(*found.evidence, *evidence))


def _no_timer(finding: Finding, report: Report) -> Finding:
    match = _timer(report)
    assert match is not None
    cpu = match["cpu"]
    text = (
        f"CPU {cpu} does not run its timers, so the thread that ends grace periods was not woken;"
        " no CPU or task holds the grace period up."
    )
    said = Evidence(match[0], "the kernel's own words")
    found = _nobody(
        finding,
        f"INFO: rcu detected stall: timers do not run on CPU {cpu}",
        text,
        (
            f"Find out why CPU {cpu} takes no timer interrupt: interrupts off, a broken timer,"
            " or a virtual CPU that its host does not run.",
        ),
    )
    return replace(found, evidence=(*found.evidence, said))


def _idle(finding: Finding, report: Report) -> Finding:
    idle = next(filter(None, map(_IDLE.search, report.text[:_LINES])), None)
    starved = next(filter(None, map(_STARVED.search, report.text[:_LINES])), None)
    cpu = f"CPU {idle['cpu']}" if idle is not None else "The CPU"
    text = f"{cpu} idles: no code there holds up the grace period."
    evidence = []
    if idle is not None:
        evidence.append(Evidence(idle[0], "the kernel's own words"))
    if starved is not None:
        text += (
            f" The thread that ends grace periods ({starved['thread']}) was not woken or got no"
            f" CPU for {starved['jiffies']} jiffies."
        )
        evidence.append(Evidence(starved[0], "the kernel's own words"))
    text += " A lost timer interrupt, a paused guest or a clock that jumped does that."
    title = "INFO: rcu detected stall on an idle CPU"
    found = _nobody(finding, title, text, (_CLOCK_STEP,))
    return replace(found, evidence=(*found.evidence, *evidence))


def _halt(finding: Finding, report: Report) -> Finding:
    where = f"CPU {report.cpu}" if report.cpu is not None else "The CPU"
    text = (
        f"{where} idled when its watchdog spoke: no code there kept it busy. A paused guest or a"
        " clock that jumped does that."
    )
    return _nobody(finding, "BUG: soft lockup on an idle CPU", text, (_CLOCK_STEP,))


def _in_user(report: Report) -> bool:
    """The registers are those of a program, and no stack of the kernel comes with them."""
    if report.kind not in (Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP) or report.frames:
        return False
    if report.pc is not None and report.pc.function is not None:
        return False
    return any(USER.match(text.lstrip()) for text in report.text[:_LINES])


_LATE = {
    Kind.SOFT_LOCKUP: " Its watchdog thread did not run all the same.",
    Kind.HARD_LOCKUP: " It took no timer interrupt all the same, which no program can forbid.",
}


def _user(finding: Finding, report: Report) -> Finding:
    where = f"CPU {report.cpu}" if report.cpu is not None else "The CPU"
    who = f" of {report.task.comm} ({report.task.pid})" if report.task is not None else ""
    return replace(
        finding,
        title=f"{finding.title.partition(' in ')[0]} with the CPU in user mode",
        explanation=(
            f"{where} was in user code{who} when its watchdog spoke: no function of the kernel"
            f" is seen in a loop.{_LATE.get(report.kind, '')}"
        ),
        culprit=replace(finding.culprit, function=None, module=None),
        confidence=Confidence.POSSIBLE,
        next_steps=(
            "Look for what ran there before: interrupts, a real-time priority, a host that gave"
            " the CPU no time.",
        ),
    )


def _victim_of_lock(finding: Finding, report: Report, holder: Holder | None) -> Finding:
    if holder is not None:
        return _held_by(finding, report, holder)
    name = f"{finding.culprit.function}()" if finding.culprit.function else "it"
    return replace(
        finding,
        explanation=(
            f"A CPU spins on a lock that {name} wants and does not get; who holds it,"
            " this report does not show."
        ),
        confidence=Confidence.POSSIBLE,
        next_steps=("Find the holder of the lock: the stacks of the other CPUs (sysrq l).",),
    )


def _held_by(finding: Finding, report: Report, holder: Holder) -> Finding:
    """Two register sets with one lock in them tie the waiter to the holder."""
    where = f"CPU {report.cpu}" if report.cpu is not None else "A CPU"
    wants = f" in {report.function}()" if report.function else ""
    doing = f"{holder.frame.function}()"
    said = (
        f"the lock at {holder.lock:#x} is the first argument of the spinning CPU and in"
        f" {holder.register} of CPU {holder.cpu}"
    )
    return replace(
        finding,
        explanation=(
            f"{where} spins{wants} for the lock at {holder.lock:#x}: it is the victim. CPU"
            f" {holder.cpu}, which was in {doing}, has the same lock in a register and does not"
            " spin: it holds it."
        ),
        culprit=Culprit(holder.frame.function, holder.frame.module, cpu=holder.cpu),
        evidence=(
            *finding.evidence,
            Evidence(said, f"registers of the reports at log lines {report.line}, {holder.line}"),
        ),
        confidence=Confidence.LIKELY,
        next_steps=(f"Find out why CPU {holder.cpu} does not leave {doing}.",),
    )


def _with_clock(finding: Finding, report: Report) -> Finding:
    """What was said of clocks before it."""
    said = [r for r in report.before if _CLOCK.search(r.text)][-2:]
    if not said or stall_jiffies(report) is None:
        return finding
    evidence = [Evidence(f"said before: {r.text.strip()}", f"log line {r.line}") for r in said]
    return replace(finding, evidence=(*finding.evidence, *evidence))
