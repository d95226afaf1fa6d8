"""Stalls told by a log alone: who is a victim, and when nobody's code is to blame.

A CPU that waits for another one's answer or for a spinlock is a victim; one that idles runs no
code at all. Watchdogs that all speak at once and late were themselves not run: the machine
stood still.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from postmortem.judge.register_sets import Holder, holder_of
from postmortem.judge.starved import USER, behind, hog_of
from postmortem.judge.workers import with_workers
from postmortem.log.since import idles, stall_jiffies, stalled_cpus, stuck_seconds
from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import guilty_frame, plain

STANDSTILL = 60.0
"""Seconds: watchdogs look every few seconds, so none is first heard of after a minute."""
TOGETHER = 2.0
"""Seconds between reports that tell of one standstill."""
_LINES = 80
_TIMER = re.compile(r"Possible timer handling issue on cpu=(?P<cpu>\d{1,5})")
_STARVED = re.compile(r"(?P<thread>rcu_\w+) kthread starved for (?P<jiffies>\d{1,12}) jiffies")
_IDLE = re.compile(r"NMI backtrace for cpu (?P<cpu>\d{1,5}) skipped: idling at (?P<where>\S+)")
_CLOCK = re.compile(
    r"clocksource|\btsc\b.*unstable|time(?:keeping)? .*jump|rcu.*clock|hrtimer: interrupt took",
    re.I,
)
_CALLS = frozenset(
    {
        "smp_call_function_single",
        "smp_call_function_many_cond",
        "smp_call_function_many",
        "smp_call_function",
        "smp_call_function_any",
        "on_each_cpu_cond_mask",
        "generic_exec_single",
        "csd_lock_wait",
        "native_flush_tlb_multi",
        "native_flush_tlb_others",
    }
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
_ANSWER_STEP = (
    "Find the CPU that does not answer: its NMI backtrace (sysrq l), or who runs there with"
    " interrupts off."
)


def standstill(reports: Sequence[Report]) -> dict[int, float]:
    """Reports of one standstill of the whole machine: line to seconds.

    Two watchdogs that watch different CPUs speak within moments, each for the first time
    and each of minutes: neither of them ran for so long.
    """
    late = [
        (report, seconds)
        for report in reports
        if (seconds := stuck_seconds(report)) is not None
        and seconds >= STANDSTILL
        and report.time is not None
        and not report.is_panic
        and report.kind in (Kind.SOFT_LOCKUP, Kind.RCU_STALL)
    ]
    found: dict[int, float] = {}
    for group in _together(late):
        watched = {(report.kind, report.cpu) for report, _ in group}
        if len(watched) > 1 and any(_idling(report) for report, _ in group):
            longest = max(seconds for _, seconds in group)
            found.update((report.line, longest) for report, _ in group)
    return found


def _together(late: Sequence[tuple[Report, float]]) -> list[list[tuple[Report, float]]]:
    groups: list[list[tuple[Report, float]]] = []
    for report, seconds in late:
        before = groups[-1][-1][0].time if groups else None
        if before is not None and report.time is not None and report.time - before <= TOGETHER:
            groups[-1].append((report, seconds))
        else:
            groups.append([(report, seconds)])
    return groups


def _idling(report: Report) -> bool:
    """Some CPU idled, when asked for its stack (in either report) or when called locked up."""
    asked = any(_IDLE.search(text) for text in report.text[:_LINES])
    return asked or _halted(report)


_HALTS = frozenset(
    {
        *("native_safe_halt", "pv_native_safe_halt", "native_halt", "default_idle", "poll_idle"),
        *("acpi_safe_halt", "acpi_idle_do_entry", "acpi_idle_enter", "mwait_idle", "intel_idle"),
        *("intel_idle_irq", "mwait_idle_with_hints", "cpu_do_idle", "arch_cpu_idle", "wait"),
        *("cpu_idle_poll", "xen_safe_halt", "arch_safe_halt", "snooze_loop", "psw_idle"),
    }
)
"""Where a CPU stands that has nothing to do."""


def _halted(report: Report) -> bool:
    """A CPU called locked up, while its idle task waits for an interrupt."""
    idle = report.task is None or report.task.pid == 0
    return report.kind is Kind.SOFT_LOCKUP and idle and _first(report) in _HALTS


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
        finding = _standstill(finding, report, stood)
    elif _timer(report) is not None:
        finding = _no_timer(finding, report)
    elif idles(report):
        finding = _idle(finding, report)
    elif _halted(report):
        finding = _halt(finding, report)
    elif report.kind is Kind.WORKQUEUE_STALL:
        finding = with_workers(finding, report)
    elif report.function is None and (hog := hog_of(report)) is not None:
        finding = behind(finding, report, hog)
    elif _in_user(report):
        finding = _user(finding, report)
    elif _waits_for_answer(report):
        finding = _victim_of_call(finding, report)
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
    return _first(report) in _CALLS or report.function == "smp_call_function"


def _nobody(finding: Finding, title: str, text: str, steps: tuple[str, ...]) -> Finding:
    return replace(
        finding,
        title=title,
        explanation=text,
        culprit=Culprit(),
        confidence=Confidence.LIKELY,
        next_steps=steps,
    )


def _standstill(finding: Finding, report: Report, seconds: float) -> Finding:
    text = (
        f"The whole machine stood still for about {seconds:.0f} s: watchdogs of several CPUs"
        " spoke only then, in the same moment, though each looks every few seconds. A paused"
        " guest, a suspended host or a clock that jumped does that; no code here is to blame."
    )
    title = "the machine stood still: " + report.title.partition(" in ")[0]
    return _nobody(finding, title, text, (_CLOCK_STEP,))


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


_OF_CPU = re.compile(r"cpu (?P<cpu>\d{1,5})\b")


def _asked(report: Report) -> tuple[int, Frame] | None:
    """Another CPU that showed its stack in the report of a victim, and what it was doing."""
    found: list[tuple[int, Frame]] = []
    for stack in report.stacks:
        match = _OF_CPU.match(stack.title)
        if match is None or int(match["cpu"]) == report.cpu:
            continue
        frame = guilty_frame(stack.frames, report.kind)
        if frame is None or plain(frame.function or "") in _CALLS | _HALTS | _SPINS:
            continue
        found.append((int(match["cpu"]), frame))
    return found[0] if len(found) == 1 else None


def _victim_of_call(finding: Finding, report: Report) -> Finding:
    names = {plain(f.function) for f in report.frames if f.reliable and f.function}
    what = "a TLB flush" if any("tlb" in name for name in names) else "an IPI"
    where = f"CPU {report.cpu}" if report.cpu is not None else "The CPU"
    seconds = stuck_seconds(report)
    how_long = f" for {seconds:.0f} s" if seconds is not None else ""
    other = _asked(report)
    if other is not None:
        cpu, frame = other
        return replace(
            finding,
            explanation=(
                f"{where} has waited{how_long} for another CPU to answer its call ({what},"
                f" smp_call_function): it is the victim. CPU {cpu}, which was asked for its"
                f" stack, was in {frame.function}()."
            ),
            culprit=Culprit(frame.function, frame.module, cpu=cpu),
            confidence=Confidence.LIKELY,
            next_steps=(f"Find out why CPU {cpu} does not leave {frame.function}().",),
        )
    return replace(
        finding,
        explanation=(
            f"{where} has waited{how_long} for another CPU to answer its call ({what},"
            " smp_call_function): it is the victim. Which CPU does not answer, this report"
            " does not show."
        ),
        culprit=replace(finding.culprit, function=None, module=None, file=None, line=None),
        confidence=Confidence.POSSIBLE,
        next_steps=(_ANSWER_STEP,),
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
