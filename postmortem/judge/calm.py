"""No failure was found: a claim about everything, so everything must have been seen.

A log that is cut, tasks or CPUs that could not be read, a judge that failed: what was not
seen may hold the failure. And some traces stay when the report itself is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.model.findings import Confidence, Evidence, Kind, Verdict

if TYPE_CHECKING:
    from postmortem.log.complaints import Complaint
    from postmortem.plugin import Context

_MAX_SAID = 4
_BESIDE = (
    *("module", "debug", "DMI", "utsname", "date", "uptime", "load average", "memory"),
    *("slab", "interrupts", "command line", "single log messages", "locals"),
)
"""How problems begin that hide nothing of what a calm verdict speaks of."""
_TRACES = {
    "D": "the kernel had died once (taint D: an oops or BUG)",
    "L": "a soft lockup had happened (taint L)",
    "M": "a machine check had happened (taint M)",
    "W": "a WARN() had been hit (taint W)",
}


def calm(ctx: Context) -> Verdict:
    """Nothing is wrong, or: it can't be told from this file."""
    unseen, traces = list(_unseen(ctx)), list(_traces(ctx))
    if unseen or traces:
        return _with_complaints(_with_crashes(_untold(ctx, unseen, traces), ctx), ctx)
    return _with_complaints(_with_crashes(_nothing_found(ctx), ctx), ctx)


def _nothing_found(ctx: Context) -> Verdict:
    records = ctx.records if ctx.prog is not None else ()  # a log is not read for its count
    states = ctx.system.task_states
    doing = ""
    if states:
        doing = (
            f" {sum(states.values())} tasks: {states.get('R', 0)} running,"
            f" {states.get('D', 0)} in uninterruptible sleep."
        )
    if ctx.prog is None:
        doing += " A log can't show a hang that nothing reported."
    what = "dump and its log hold" if ctx.prog is not None and states else "log holds"
    return Verdict(
        kind=Kind.NONE,
        title="no failure found",
        summary=f"The {what} no sign of a crash or a hang.{doing}",
        confidence=Confidence.LIKELY if records and states else Confidence.POSSIBLE,
        evidence=(
            Evidence(f"{len(records)} log messages, no report of the kernel among them", "log"),
        )
        if records
        else (),
        next_steps=(
            "If it misbehaved all the same: postmortem stacks FILE shows what all tasks do,"
            " postmortem waits FILE what they wait for."
            if ctx.prog is not None
            else "If it hung all the same: a dump, or sysrq w, t and l in the log, show where its"
            " tasks and CPUs stand.",
        ),
    )


def _with_crashes(verdict: Verdict, ctx: Context) -> Verdict:
    """Programs that crash are no failure of the kernel, but perhaps what is looked for."""
    found = sorted(ctx.case.heard.crashes, key=lambda one: -one.count)
    if not found:
        return verdict
    named = ", ".join(f"{one.program} ({one.count} x)" for one in found[:_IN_TITLE])
    more = f" and {len(found) - _IN_TITLE} more" if len(found) > _IN_TITLE else ""
    first, end, rest = verdict.summary.partition(". ")
    said = f"Programs of user space crashed: {named}{more}; of the kernel that says nothing."
    return replace(
        verdict,
        summary=f"{first}. {said} {rest}" if end else f"{first} {said}",
        evidence=(
            *(
                Evidence(
                    one.text,
                    f"log line {one.line}{f', the first of {one.count}' if one.count > 1 else ''}",
                )
                for one in found[:_MAX_COMPLAINTS]
            ),
            *verdict.evidence,
        ),
    )


_MAX_COMPLAINTS = 6
_IN_TITLE = 3


def _with_complaints(verdict: Verdict, ctx: Context) -> Verdict:
    """What drivers called an error: for who looks for a reason, never a failure by itself."""
    found = ctx.case.heard.complaints
    if not found:
        return verdict
    names = ", ".join(one.device for one in found[:_IN_TITLE])
    more = f" and {len(found) - _IN_TITLE} more" if len(found) > _IN_TITLE else ""
    which = "this device" if len(found) == 1 else "these devices"
    return replace(
        verdict,
        title=f"no report of a failure; {which} complained: {names}{more}",
        summary=(
            f"{verdict.summary} Drivers reported errors of {names}{more}, which no report of the"
            " kernel followed."
        ),
        confidence=Confidence.POSSIBLE,
        evidence=(*map(_complained, found[:_MAX_COMPLAINTS]), *verdict.evidence),
        next_steps=(
            *verdict.next_steps,
            "If something did not work: look whether it needs one of these devices.",
        ),
    )


def _complained(complaint: Complaint) -> Evidence:
    often = f", the first of {complaint.count}" if complaint.count > 1 else ""
    return Evidence(complaint.text, f"log line {complaint.line}{often}")


def _unseen(ctx: Context) -> Iterator[str]:
    """What could not be seen whole."""
    if ctx.prog is not None:
        if not ctx.records:
            yield "the log could not be read"
        if not ctx.system.task_states:
            yield "the tasks could not be read"
    if ctx.case.quoted:
        yield "it is a text with messages of a kernel in it, no log"
    if not ctx.input.complete:
        yield from ctx.input.lacks
    for problem in (*ctx.problems, *ctx.case.problems):
        beside = problem.what == "stacks" or problem.what.startswith(_BESIDE)
        if ctx.prog is None or not beside:
            yield f"{problem.what}: {problem.why}"


def _traces(ctx: Context) -> Iterator[str]:
    """What speaks for a failure all the same."""
    for flag in ctx.system.taint:
        said = _TRACES.get(flag.partition(":")[0].strip())
        if said is not None:
            yield said
    if ctx.reports:
        yield f"the kernel printed {len(ctx.reports)} report(s)"
    cpu = _panic_cpu(ctx)
    if cpu is not None:
        yield f"CPU {cpu} ran panic()"
    dump = ctx.dump
    if dump is not None and "CRASHTIME" in (dump.vmcoreinfo or {}):
        # crash_save_vmcoreinfo() writes it on the way there.
        yield "the kernel went into its crash kernel (VMCOREINFO has CRASHTIME)"


def _panic_cpu(ctx: Context) -> int | None:
    prog = ctx.prog
    if prog is None or not ctx.has_types:
        return None
    from postmortem.kernel.cpu.cpus import panic_cpu

    return ctx.attempt("CPU of the panic", lambda: panic_cpu(prog))


def _untold(ctx: Context, unseen: list[str], traces: list[str]) -> Verdict:
    # The log first: what was said of the failure stands there, if anywhere.
    unseen = sorted(dict.fromkeys(unseen), key=lambda said: not said.startswith("log: "))
    text = "Nothing that was read tells of a failure, but that does not mean that there was none."
    if unseen:
        text += f" Not seen: {'; '.join(unseen[:_MAX_SAID])}."
    if traces:
        text += f" For a failure speaks: {'; '.join(traces)}."
    part = ctx.prog is None and not traces
    return Verdict(
        kind=Kind.NONE,
        title=(
            "no failure in the part of the log that is here"
            if part
            else "the cause can't be told from this file"
        ),
        summary=text,
        confidence=Confidence.POSSIBLE,
        evidence=(
            *(Evidence(f"speaks for a failure: {said}", "taint, log") for said in traces),
            *(Evidence(f"not seen: {said}", "problems") for said in unseen[:_MAX_SAID]),
        ),
        next_steps=(
            "Get the whole log: journalctl -k -b -1, the console's, or that of pstore."
            if part
            else "Get a complete dump, or the console log of the crash.",
        ),
    )
