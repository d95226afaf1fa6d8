"""What is said of a panic: its message, what was said just before, and how init ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from postmortem.judge import hardware
from postmortem.judge.messages import is_message
from postmortem.model.findings import Culprit, Evidence, Finding, Kind
from postmortem.model.report import Report, Said
from postmortem.model.result import System

JUST_BEFORE = 0.001
"""Seconds: who calls panic() says why right before it."""
_SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}
_STATUS = {
    126: "a shell found the program, but could not run it",
    127: "the dynamic loader or a shell could not load or run what was asked for",
}
"""By convention of shells and of the C library's loader."""
_INIT_STEPS = {
    127: "Look for a missing or unfit library or program: what the loader said is above.",
    126: "Check that init's program can be run: its mode, its file system, its format.",
}
_SIGNAL_STEPS = {
    4: "SIGILL: the program needs an instruction that this CPU lacks.",
    7: "SIGBUS: its file could not be read (I/O error, truncated image), or memory is bad.",
    11: "SIGSEGV: look for a crash of init itself, a bad library, or bad memory.",
}


def told(
    finding: Finding,
    report: Report,
    system: System,
    previous: Report | None = None,
    reports: Sequence[Report] = (),
) -> Finding:
    """A panic with its story.

    :param previous: The report before it: a driver's message that says why.
    :param reports: All of the log.
    """
    story = _STORIES.get(report.kind)
    found = story(finding, report, system) if story is not None else finding
    if report.kind is Kind.MACHINE_CHECK:
        found = hardware.told(finding, report, reports)
    return with_words_before(_with_message(found, report, previous), report)


def _with_message(finding: Finding, report: Report, previous: Report | None) -> Finding:
    if previous is None or not is_message(previous) or not previous.text:
        return finding
    if previous.time is None or report.time is None:
        near = report.line - previous.end_line == 1
    else:
        near = 0 <= report.time - previous.time <= JUST_BEFORE
    if not near:
        return finding
    said = Evidence(f"said just before: {previous.text[0].strip()}", f"log line {previous.line}")
    return replace(finding, evidence=(*finding.evidence[:1], said, *finding.evidence[1:]))


def with_words_before(finding: Finding, report: Report) -> Finding:
    """Take what was said within a millisecond before as evidence."""
    words = said_before(report)
    evidence = [
        Evidence(f"said just before: {r.text.strip()}", f"log line {r.line}") for r in words
    ]
    return replace(finding, evidence=(*finding.evidence[:1], *evidence, *finding.evidence[1:]))


def said_before(report: Report) -> Sequence[Said]:
    """The messages right before a report: by time, and without one by being next to it."""
    found: list[Said] = []
    line = report.line
    for record in reversed(report.before):
        if record.time is None or report.time is None:
            near = line - record.line == 1 and bool(record.text.strip())
        else:
            near = 0 <= report.time - record.time <= JUST_BEFORE
        if not near:
            break
        found.append(record)
        line = record.line
    return found[::-1]


def _panic(finding: Finding, report: Report, system: System) -> Finding:
    message = report.detail.get("message", "")
    if not message:
        return finding
    return replace(finding, explanation=f'{finding.explanation} It said: "{message}".')


def _init(finding: Finding, report: Report, system: System) -> Finding:
    """How init ended: no kernel function is to blame for it."""
    finding = replace(finding, culprit=Culprit(task=finding.culprit.task))
    finding = _with_init_words(finding, report)
    code = report.detail.get("exitcode", "")
    try:
        status = int(code, 16)
    except ValueError:
        return finding
    # The exit code is wait(2)'s: signal in the low seven bits, else exit status << 8.
    signal, left = status & 0x7F, status >> 8 & 0xFF
    if signal:
        how = f"was killed by signal {signal} ({_SIGNALS.get(signal, 'see kill -l')})"
        step = _SIGNAL_STEPS.get(signal)
    else:
        meaning = f": {_STATUS[left]}" if left in _STATUS else ""
        how = f"left with status {left}{meaning}"
        step = _INIT_STEPS.get(left)
    return replace(
        finding,
        explanation=f"{finding.explanation} It {how}.",
        evidence=(*finding.evidence, Evidence(f"exitcode={code}: {how}", "panic message")),
        next_steps=((step, *finding.next_steps) if step else finding.next_steps),
    )


def _with_init_words(finding: Finding, report: Report) -> Finding:
    """What init itself said between its start and the panic: it stands in no kernel message."""
    start = next((n for n, r in enumerate(report.before) if r.text.startswith("Run /")), None)
    if start is None:
        return finding
    near = {record.line for record in said_before(report)}
    said = [r for r in report.before[start + 1 :] if r.text.strip() and r.line not in near]
    words = [
        Evidence(f"said after init started: {r.text.strip()}", f"log line {r.line}") for r in said
    ]
    return replace(finding, evidence=(*finding.evidence[:1], *words, *finding.evidence[1:]))


def _root(finding: Finding, report: Report, system: System) -> Finding:
    """What was asked for; the code that says so is not to blame."""
    finding = replace(finding, culprit=Culprit(task=finding.culprit.task))
    words = (system.command_line or "").split()
    wanted = next((w.removeprefix("root=") for w in words if w.startswith("root=")), None)
    if wanted is None:
        return finding
    return replace(
        finding,
        explanation=f"{finding.explanation} The command line asks for root={wanted}.",
        evidence=(*finding.evidence, Evidence(f"root={wanted}", "kernel command line")),
    )


def _user(finding: Finding, report: Report, system: System) -> Finding:
    """Who asked: a task that wrote to sysrq-trigger; a key is pressed above any task."""
    wrote = any(frame.function == "write_sysrq_trigger" for frame in report.frames)
    if report.task is None or not wrote:
        text = "The crash was requested with sysrq c."
        return replace(finding, explanation=text, culprit=Culprit(cpu=finding.culprit.cpu))
    who = f"task {report.task.pid} ({report.task.comm})"
    said = Evidence(f"{who} wrote c to /proc/sysrq-trigger", "call trace in the log")
    return replace(
        finding,
        explanation=f"The crash was requested with sysrq c by {who}.",
        culprit=Culprit(task=report.task, cpu=finding.culprit.cpu),
        evidence=(*finding.evidence, said),
    )


def _nmi(finding: Finding, report: Report, system: System) -> Finding:
    """What an NMI interrupts has no part in it."""
    return replace(finding, culprit=Culprit(cpu=finding.culprit.cpu))


_STORIES = {
    Kind.PANIC: _panic,
    Kind.INIT_KILLED: _init,
    Kind.USER_REQUESTED: _user,
    Kind.ROOT_MOUNT: _root,
    Kind.NMI: _nmi,
}
