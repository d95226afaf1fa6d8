"""Small phrases that the text and the HTML report share. Pure functions of the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from postmortem.model.findings import Culprit, Finding, TaskRef, Verdict
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.model.result import Analysis, System, TaskStack

ABSENT = "-"


def size(count: int) -> str:
    """Bytes for people: ``256 MiB``, ``27.4 MiB``."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.1f}".removesuffix(".0") + f" {unit}"
        value /= 1024
    return f"{value:.1f}".removesuffix(".0") + " TiB"


def duration(seconds: float) -> str:
    """Uptime as crash(8) prints it: ``2 days, 03:04:05``."""
    if not 0 <= seconds < 1e12:
        return f"{seconds:g} s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    return f"{days} day{'s' * (days != 1)}, {clock}" if days else clock


def date(unix: int) -> str:
    """Unix time as a date in UTC; the number itself where it is no date."""
    try:
        return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{unix} (Unix time)"


def task(ref: TaskRef) -> str:
    return f"{ref.comm} (pid {ref.pid})" if ref.pid >= 0 else ref.comm


def task_and_cpu(culprit: Culprit) -> str:
    """``sh (pid 312) on CPU 1``; empty when neither is known."""
    who = task(culprit.task) if culprit.task else ""
    if culprit.cpu is None:
        return who
    return f"{who} on CPU {culprit.cpu}" if who else f"CPU {culprit.cpu}"


def source(file: str | None, line: int | None) -> str:
    if not file:
        return ""
    return f"{file}:{line}" if line is not None else file


def frame_name(frame: Frame) -> str:
    """``function+0x12``, or the bare address."""
    if not frame.function:
        return f"{frame.address:#x}" if frame.address is not None else "?"
    if frame.offset is None:
        return frame.function
    return f"{frame.function}+{frame.offset:#x}"


def load(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def tasks(system: System) -> str:
    """``63 (S 40, I 20, R 3)``."""
    states = sorted(system.task_states.items(), key=lambda item: (-item[1], item[0]))
    split = ", ".join(f"{state} {count}" for state, count in states)
    total = ABSENT if system.tasks is None else str(system.tasks)
    return f"{total} ({split})" if split else total


def machine(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """The system banner, labelled as crash(8) labels it. Only what is known."""
    source, system = analysis.input, analysis.system
    yield "LOG" if source.kind == "log" else "DUMPFILE", source.path
    state = "" if source.complete else ", INCOMPLETE"
    yield "FORMAT", f"{source.format}, {size(source.size)}{state}"
    for lack in source.lacks:
        yield "LACKS", lack
    for note in source.notes:
        yield "NOTE", note
    if system.release:
        yield "RELEASE", f"{system.release} {system.arch or ''}".strip()
    elif system.arch:
        yield "ARCH", system.arch
    if system.crash_time is not None:
        yield "DATE", date(system.crash_time)
    if system.uptime_seconds is not None:
        yield "UPTIME", duration(system.uptime_seconds)
    if system.load_average is not None:
        yield "LOAD AVERAGE", load(system.load_average)
    if system.tasks is not None or system.task_states:
        yield "TASKS", tasks(system)
    if system.cpus is not None:
        yield "CPUS", str(system.cpus)
    if system.memory_bytes is not None:
        yield "MEMORY", size(system.memory_bytes)
    if system.nodename:
        yield "NODENAME", system.nodename
    if system.hardware:
        yield "HARDWARE", system.hardware
    for flag in system.taint:
        yield "TAINT", flag
    tainting = [f"{module.name} ({module.taints})" for module in system.modules if module.taints]
    if tainting:
        yield "TAINTED BY", ", ".join(tainting)


def machine_name(analysis: Analysis) -> str:
    """Machine, kernel and file, for the title of a picture: ``web3, 6.1.0, vmcore``."""
    system = analysis.system
    file = analysis.input.path.rpartition("/")[2]
    return ", ".join(filter(None, (system.nodename, system.release, file)))


def verdict_finding(analysis: Analysis) -> Finding | None:
    """The finding that the verdict rests on."""
    return next((f for f in analysis.findings if f.id == analysis.verdict.finding), None)


def verdict_report(analysis: Analysis) -> Report | None:
    """The kernel's own report of it."""
    main = verdict_finding(analysis)
    if main is None or main.log_line is None:
        return None
    return next((r for r in analysis.reports if r.line == main.log_line), None)


def culprit_stack(analysis: Analysis) -> TaskStack | None:
    """The stack to read first: that of the culprit's task, or of its CPU if no task is known.

    A task that left its CPU before the dump was taken is not looked for there.
    """
    culprit = analysis.verdict.culprit
    if culprit.task is None:
        return next((s for s in analysis.cpus if s.cpu == culprit.cpu is not None), None)
    for stack in analysis.cpus:
        if stack.task.pid == culprit.task.pid and (
            culprit.task.pid != 0 or culprit.cpu in (None, stack.cpu)
        ):
            return stack
    return None


def report_frames(report: Report) -> tuple[Frame, ...]:
    """The stack that the kernel printed, from where it trapped."""
    return (report.pc, *report.frames) if report.pc is not None else report.frames


def frame_function(frame: Frame) -> str:
    return frame.function or frame_name(frame)


def signature_lines(verdict: Verdict) -> tuple[str, ...]:
    """From the most general to the most exact."""
    found = verdict.signature
    return (found.coarse, found.frames, found.exact) if found is not None else ()


def what_it_did(stack: TaskStack) -> tuple[Frame, ...]:
    """The frames that tell what a CPU was doing: below the exception or NMI that stopped it."""
    first = stack.frames[0].segment if stack.frames else ""
    if first not in ("exception", "nmi", "irq"):
        return stack.frames
    for number, frame in enumerate(stack.frames):
        if frame.segment != first:
            return stack.frames[number:]
    return stack.frames


MAX_DEPTH = 8


def family(findings: tuple[Finding, ...]) -> Iterator[tuple[int, Finding]]:
    """All findings once, each consequence (depth 1 ...) after its cause (depth 0).

    Unknown causes and circles are broken: every finding appears exactly once.
    """
    known = {finding.id for finding in findings}
    children: dict[str, list[Finding]] = {}
    roots: list[Finding] = []
    for finding in findings:
        cause = next((c for c in finding.caused_by if c in known and c != finding.id), None)
        if cause is None:
            roots.append(finding)
        else:
            children.setdefault(cause, []).append(finding)
    seen: set[int] = set()
    # Those left over after the roots' families are circles: they start where they come first.
    for start in (*roots, *findings):
        waiting = [(0, start)]
        while waiting:
            depth, finding = waiting.pop()
            if id(finding) in seen:
                continue
            seen.add(id(finding))
            yield min(depth, MAX_DEPTH), finding
            waiting += [(depth + 1, child) for child in reversed(children.get(finding.id, []))]


_IDLE = re.compile(r"swapper/\d+|swapper")


def is_idle(stack: TaskStack) -> bool:
    return stack.task.pid == 0 and _IDLE.fullmatch(stack.task.comm) is not None
