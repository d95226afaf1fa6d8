"""Tables and remarks about CPUs: what each does, what is under way, which interrupts come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import (
    Cell,
    Column,
    Confidence,
    Evidence,
    Finding,
    Kind,
    Severity,
    Table,
    Unit,
)
from postmortem.plugin import Context

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.cpu.lockups import Lockups

_MAX_POOLS = 20


def cpu_table(facts: Lockups) -> Table:
    from postmortem.judge.stuck import INTERRUPTS_OFF_NS, NO_SWITCH_NS, STARVED_NS
    from postmortem.kernel.cpu.clock import NSEC

    return Table(
        title="CPUs",
        columns=(
            Column("CPU", Unit.ID),
            Column("task"),
            Column("policy", extra=2),
            Column("for", Unit.NS),
            Column("context"),
            Column("IRQs"),
            Column("preempt_count", extra=3),
            Column("timer late", Unit.NS, extra=1),
            Column("watchdog", Unit.NS, extra=2),
            Column("runnable", Unit.COUNT),
            Column("waits longest", Unit.NS, extra=1),
            Column("at"),
        ),
        rows=tuple(
            (
                state.number,
                f"{state.cpu.task.comm} {state.cpu.task.pid}",
                None if state.cpu.idle else state.policy,
                state.running_ns,
                "idle" if state.idle else state.context,
                None if state.interrupts_on is None else "on" if state.interrupts_on else "off",
                None if state.preempt_count is None else str(state.preempt_count),
                state.silent_ns,
                state.watchdog_ns,
                state.runnable,
                state.waiting[0].wait_ns if state.waiting else None,
                " < ".join(state.functions[:3]) or None,
            )
            for state in facts.cpus
        ),
        note="times are up to the panic, or to the dump; - where the kernel does not record it."
        f" Stuck is: interrupts off and the timer late by {INTERRUPTS_OFF_NS / NSEC:.0f} s; one"
        f" task in the kernel for {NO_SWITCH_NS / NSEC:.0f} s while another waits; a task that"
        f" waits for {STARVED_NS / NSEC:.0f} s behind a real-time one",
    )


def under_way(ctx: Context, prog: drgn.Program, facts: Lockups) -> Iterator[Table]:
    """The grace period, the worker pools and the calls that were under way, stuck or not."""
    from postmortem.kernel.cpu.csd import pending_calls
    from postmortem.kernel.cpu.rcu import grace_period
    from postmortem.kernel.cpu.workqueues import waiting_pools

    rows: list[tuple[Cell, ...]] = []
    period = ctx.attempt("RCU", lambda: grace_period(prog, facts.clock))
    if period is not None:
        who = [f"CPU {cpu}" for cpu in period.cpus] + [task.comm for task in period.tasks]
        rows.append(("RCU grace period", period.age_seconds, ", ".join(who) or "nobody"))
    pools = ctx.attempt("worker pools", lambda: waiting_pools(prog, facts.clock))
    for pool in pools.pools if pools is not None else ():
        where = "unbound" if pool.cpu is None else f"CPU {pool.cpu}"
        rows.append(
            (
                f"worker pool {pool.id} ({where})",
                pool.stalled_seconds,
                f"{pool.pending} items: {', '.join(pool.waiting)}",
            )
        )
    calls = ctx.attempt(
        "cross-CPU calls", lambda: pending_calls(prog, [state.number for state in facts.cpus])
    )
    for call in calls or ():
        if call.function is not None:
            rows.append((f"call to CPU {call.target}", None, f"{call.function}()"))
    if rows:
        columns = (Column("what"), Column("for", Unit.SECONDS), Column("waits for"))
        yield Table("Under way", columns, tuple(rows))


def interrupt_lines(ctx: Context, prog: drgn.Program, facts: Lockups) -> Iterator[Finding | Table]:
    from postmortem.kernel.cpu.interrupts import interrupts

    seconds = facts.clock.now_ns / 1e9
    found = ctx.attempt("interrupts", lambda: interrupts(prog, seconds))
    if not found:
        return
    for line in found:
        if line.stormy:
            yield Finding(
                id=f"irq{line.number}-storm",
                kind=Kind.NONE,
                severity=Severity.INFO,
                confidence=Confidence.POSSIBLE,
                title=f"interrupt {line.number} ({line.name}) comes far too often",
                explanation=(
                    f"{line.total} interrupts since boot, {line.per_second:.0f} a second on "
                    f"average; {line.unhandled} of the last 100,000 that nobody claimed."
                ),
                evidence=(Evidence(f"irqs_unhandled {line.unhandled}", f"irq_desc {line.number}"),),
            )
    yield Table(
        "Interrupts since boot",
        (
            Column("IRQ", Unit.ID),
            Column("device"),
            Column("total", Unit.COUNT),
            Column("a second", Unit.COUNT),
            Column("not claimed", Unit.COUNT),
        ),
        tuple(
            (line.number, line.name, line.total, line.per_second, line.unhandled) for line in found
        ),
    )
