"""Panics: who called panic() and why, init's end, a missing root, sysrq, NMI, machine check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from postmortem.judge.reports import PANIC_KINDS, finding_of, reports_of
from postmortem.model.findings import Evidence, Finding, Kind
from postmortem.model.report import Report
from postmortem.plugin import Context, plugin

_SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}


@plugin("panic", needs=("log",))
def panic(ctx: Context) -> Iterator[Finding]:
    """Say why the kernel stopped, where the panic itself is the failure."""
    for report in reports_of(ctx, PANIC_KINDS):
        finding = finding_of(ctx, report)
        story = _STORIES.get(report.kind)
        yield story(ctx, report, finding) if story is not None else finding


def _said(report: Report) -> str:
    return report.detail.get("message", "")


def _panic(ctx: Context, report: Report, finding: Finding) -> Finding:
    message = _said(report)
    if not message:
        return finding
    return replace(finding, explanation=f'{finding.explanation} It said: "{message}".')


def _init(ctx: Context, report: Report, finding: Finding) -> Finding:
    code = report.detail.get("exitcode", "")
    try:
        status = int(code, 16)
    except ValueError:
        return finding
    # The exit code is wait(2)'s: signal in the low seven bits, else exit status << 8.
    signal = status & 0x7F
    if signal:
        how = f"killed by signal {signal} ({_SIGNALS.get(signal, 'see kill -l')})"
    else:
        how = f"left with status {status >> 8 & 0xFF}"
    return replace(
        finding,
        explanation=f"{finding.explanation} It was {how}.",
        evidence=(*finding.evidence, Evidence(f"exitcode={code}: {how}", "panic message")),
    )


def _user(ctx: Context, report: Report, finding: Finding) -> Finding:
    task = f" by task {report.task.pid} ({report.task.comm})" if report.task else ""
    return replace(
        finding, explanation=f"The crash was requested with sysrq c{task}: no failure of its own."
    )


def _root(ctx: Context, report: Report, finding: Finding) -> Finding:
    wanted = next(
        (
            word.removeprefix("root=")
            for word in (ctx.system.command_line or "").split()
            if word.startswith("root=")
        ),
        None,
    )
    if wanted is None:
        return finding
    return replace(
        finding,
        explanation=f"{finding.explanation} The command line asks for root={wanted}.",
        evidence=(*finding.evidence, Evidence(f"root={wanted}", "kernel command line")),
    )


_STORIES = {
    Kind.PANIC: _panic,
    Kind.INIT_KILLED: _init,
    Kind.USER_REQUESTED: _user,
    Kind.ROOT_MOUNT: _root,
}
