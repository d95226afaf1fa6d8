"""The crash read off the dying CPU's stack, where the log does not tell of it."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.reports import ended_by, index_of
from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind, Severity
from postmortem.plugin import Context, plugin
from postmortem.rules.kinds import explain, next_steps

_TITLES = {
    Kind.NULL_DEREFERENCE: "BUG: unable to handle kernel NULL pointer dereference in {function}",
    Kind.BAD_POINTER: "BUG: unable to handle kernel paging request in {function}",
    Kind.BAD_EXECUTION: "BUG: unable to handle kernel paging request in {function}",
    Kind.GENERAL_PROTECTION: "general protection fault in {function}",
    Kind.USE_AFTER_FREE: "general protection fault in {function}",
    Kind.DIVIDE_ERROR: "divide error in {function}",
    Kind.INVALID_OPCODE: "invalid opcode in {function}",
    Kind.BUG: "kernel BUG in {function}",
    Kind.WARNING: "WARNING in {function}",
    Kind.STACK_OVERFLOW: "BUG: stack guard page was hit in {function}",
    Kind.USER_REQUESTED: "sysrq triggered crash",
}


@plugin("crash", needs=("types",))
def crash(ctx: Context) -> Iterator[Finding]:
    """Tell the crash from the panicking CPU's stack when the log holds no word of it.

    That is so when the log's pages are missing or its text was overwritten.
    """
    if index_of(ctx).panics or ended_by(ctx) or ctx.prog is None:
        return
    from postmortem.kernel.code.crash import crash as read_crash

    prog = ctx.prog
    found = ctx.attempt("crashed CPU", lambda: read_crash(prog))
    if found is None:
        return
    from postmortem.rules.blame import guilty_frame, signature

    guilty = guilty_frame(found.frames, found.kind)
    function = guilty.function if guilty else None
    evidence = [
        Evidence(f"CPU {found.cpu.number} ran panic()", "panic_cpu"),
        Evidence(" < ".join(f.function or "?" for f in found.frames[:6]), "its stack"),
    ]
    if found.fault is not None:
        evidence.append(Evidence(found.fault.instruction.text, f"{function}"))
    yield Finding(
        id="crash",
        kind=found.kind,
        severity=Severity.FATAL,
        confidence=Confidence.LIKELY,
        title=_TITLES.get(found.kind, "kernel panic in {function}").format(
            function=function or "unknown"
        ),
        explanation=explain(found.kind, function) + " The log does not tell of it.",
        evidence=tuple(evidence),
        culprit=Culprit(
            function=function,
            module=guilty.module if guilty else None,
            task=found.cpu.task,
            cpu=found.cpu.number,
        ),
        next_steps=next_steps(found.kind),
        signature=signature(found.kind, function, found.frames),
    )
