"""What a latency tracer knew of a CPU that does not let go: since when, and by whom."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.model.findings import Evidence, Finding, Strength

if TYPE_CHECKING:
    import drgn

    from postmortem.plugin import Context


def with_open_section(ctx: Context, finding: Finding, cpu: int | None) -> Finding:
    """The finding with the section of its CPU that was traced and had not ended."""
    prog = ctx.prog
    if cpu is None or prog is None or not ctx.has_types:
        return finding
    found = ctx.attempt("sections with interrupts off", lambda: _evidence(prog, cpu)) or []
    new = tuple(one for one in found if one not in finding.evidence)
    return replace(finding, evidence=(*finding.evidence, *new)) if new else finding


def _evidence(prog: drgn.Program, cpu: int) -> list[Evidence]:
    from postmortem.dump.damage import readable
    from postmortem.kernel.cpu.percpu import number

    # Asked first, and cheap: nobody has it without CONFIG_IRQSOFF_TRACER or PREEMPT_TRACER.
    if readable(lambda: prog.symbol("tracing_cpu")) is None:
        return []
    if not number(prog, "tracing_cpu", cpu, "int"):
        return []
    from postmortem.kernel.tasks.trace import Names
    from postmortem.trace.sections import open_sections

    names = Names(prog)
    return [
        Evidence(
            one.sentence(names), f"tracer {one.tracer}, trace_array_cpu.critical_start",
            Strength.SHOWN,
        )
        for one in open_sections(prog)
        if one.cpu == cpu
    ]  # fmt: skip
