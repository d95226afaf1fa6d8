"""Reports and contexts made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from postmortem.judge.reports import finding_of
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Finding
from postmortem.model.report import Report
from postmortem.model.result import Input
from postmortem.plugin import Context


def log(*lines: str, start: float = 100.0) -> bytes:
    """Lines with a printk time, a millisecond apart, unless they bring a prefix of their own."""
    return "".join(
        line + "\n" if line.startswith("[") else f"[{start + n / 1000:12.6f}] {line}\n"
        for n, line in enumerate(lines)
    ).encode()


def context(data: bytes) -> Context:
    """A log, as an analysis opens it."""
    scan = scan_bytes(data)
    ctx = Context.given(Input("x", "log", "text", len(data), True), reports=scan.reports)
    ctx.case._boots, ctx.case._log_end = tuple(scan.boots), scan.end
    return ctx


def first(data: bytes) -> tuple[Context, Report, Finding]:
    """The first report of a log and its plain finding."""
    ctx = context(data)
    return ctx, ctx.reports[0], finding_of(ctx, ctx.reports[0])


def oops(*, pid: int = 700, kdump: str = "", end: bool = True, irq: bool = False) -> Sequence[str]:
    """An oops in a module's function."""
    stack = [" <TASK>", " zorb_read+0x2b/0x70 [zorb]", " vfs_read+0x9c/0x190", " </TASK>"]
    if irq:
        stack = [" <IRQ>", " zorb_irq+0x2b/0x70 [zorb]", " </IRQ>", *stack]
    return [
        "BUG: kernel NULL pointer dereference, address: 0000000000000018",
        "#PF: supervisor read access in kernel mode",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        f"CPU: 5 PID: {pid} Comm: zorbd {kdump}Not tainted 6.9.0 #1",
        "RIP: 0010:zorb_peek+0x17/0x40 [zorb]",
        "Call Trace:",
        *stack,
        "Modules linked in: zorb(OE)",
        "CR2: 0000000000000018",
        *(["---[ end trace 0000000000000000 ]---"] if end else []),
    ]
