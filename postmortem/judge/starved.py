"""RCU's own thread gets no CPU: who runs where it last ran.

rcu_check_gp_kthread_starvation() (kernel/rcu/tree_stall.h) says since when the thread that ends
grace periods did not run, on which CPU it last did, and has that CPU show its stack. No task
that RCU waits for is to blame then: they wait for that thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import guilty_frame, plain

_LINES = 400
_STARVED = re.compile(
    r"(?P<thread>rcu_\w+) kthread starved for (?P<jiffies>\d{1,12}) jiffies!"
    r"(?:.*->state=(?P<state>0x[0-9a-f]{1,8}))?.*->cpu=(?P<cpu>\d{1,5})"
)
_NMI = re.compile(r"NMI backtrace for cpu (?P<cpu>\d{1,5})$")
_HEADER = re.compile(
    r"CPU: (?P<cpu>\d{1,5}) (?:UID: \d{1,10} )?PID: (?P<pid>\d{1,9}) Comm: (?P<comm>.{1,16}?)"
    r" (?:Kdump|Not tainted|Tainted)"
)
USER = re.compile(
    r"(?:RIP: 0033|EIP: 0073):|(?:pc|epc) : 0000[0-9a-f]{12}\b|NIP: {1,2}0000[0-9a-f]{12}"
)
"""A program counter of user space: by its segment, or by its address."""
_THROTTLED = "RT throttling activated"


@dataclass(frozen=True)
class Hog:
    """The task that runs where RCU's thread wants to."""

    thread: str
    jiffies: str
    cpu: int
    task: TaskRef
    user: bool
    said: str
    runnable: bool = True
    """RCU's thread could run; else it sleeps, and nothing wakes it."""


def hog_of(report: Report) -> Hog | None:
    """Who runs on the CPU of the starved thread, if it is not idle and the log shows it."""
    if report.kind is not Kind.RCU_STALL:
        return None
    lines = [text.strip() for text in report.text[:_LINES]]
    starved = next(filter(None, map(_STARVED.search, lines)), None)
    if starved is None:
        return None
    cpu, shown, task, user = int(starved["cpu"]), False, None, False
    for text in lines:
        asked = _NMI.match(text)
        if asked is not None:
            shown = int(asked["cpu"]) == cpu
        header = _HEADER.match(text)
        if header is not None:
            shown = int(header["cpu"]) == cpu
            if shown:
                task = TaskRef(int(header["pid"]), header["comm"])
        user = user or (shown and USER.match(text) is not None)
    if task is None or task.pid == 0 or task.comm.startswith("rcu_"):
        return None
    runnable = int(starved["state"] or "0", 16) == 0
    return Hog(starved["thread"], starved["jiffies"], cpu, task, user, starved[0], runnable)


def is_behind(report: Report, hog: Hog) -> bool:
    """Whether the stall is the hog's doing: no other CPU is seen in a loop of its own."""
    if report.function is None:
        return True
    return any(frame.function is not None and plain(frame.function) == report.function
               for frame in _stack(report, hog))  # fmt: skip


def _stack(report: Report, hog: Hog) -> tuple[Frame, ...]:
    start = f"cpu {hog.cpu} "
    return next((s.frames for s in report.stacks if f"{s.title} ".startswith(start)), ())


def behind(finding: Finding, report: Report, hog: Hog) -> Finding:
    """The stall as one of RCU's thread, which another task keeps from its CPU."""
    who = f"{hog.task.comm} ({hog.task.pid})"
    stack = _stack(report, hog)
    frame = guilty_frame(stack, report.kind) if stack and not hog.user else None
    where = "in user mode" if hog.user else f"in {frame.function}()" if frame else "in the kernel"
    if frame is not None and frame.module:
        where += f" [{frame.module}]"
    if hog.runnable:
        text = (
            f"The thread that ends grace periods ({hog.thread}) got no CPU for {hog.jiffies}"
            f" jiffies: it starves on CPU {hog.cpu}, where {who} runs {where}. What RCU waits for"
            " is a victim."
        )
    else:
        text = (
            f"The thread that ends grace periods ({hog.thread}) did not run for {hog.jiffies}"
            f" jiffies: it sleeps and was not woken. CPU {hog.cpu}, where it ran last, runs {who}"
            f" {where}. What RCU waits for is a victim."
        )
    evidence = [*finding.evidence, Evidence(hog.said, "the kernel's own words")]
    throttled = next((said for said in report.before if _THROTTLED in said.text), None)
    if throttled is not None:
        text += " The scheduler had throttled real-time tasks before: one of them never pauses."
        evidence.append(Evidence(throttled.text.strip(), f"log line {throttled.line}"))
    return replace(
        finding,
        explanation=text,
        evidence=tuple(evidence),
        culprit=Culprit(
            function=frame.function if frame else None,
            module=frame.module if frame else None,
            task=hog.task,
            cpu=hog.cpu,
        ),
        confidence=Confidence.LIKELY,
        next_steps=(
            f"Look at the scheduling policy and priority of {who}: a real-time task must sleep"
            " now and then, or leave a CPU to the kernel's threads.",
        ),
    )
