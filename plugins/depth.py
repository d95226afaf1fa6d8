"""How deep the kernel's stacks are: now, and ever."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.model.findings import Column, Table, Unit
from postmortem.plugin import Context, plugin

_SHOWN = 40


@plugin("depth")
def stack_depth(ctx: Context) -> Iterator[Table]:
    """List tasks by the depth of their kernel stacks, the deepest first.

    Both what is in use now and the deepest point that was ever written to, and whether the word at
    the end of the stack is whole. What the stack tracer found is `trace --file stack_trace`.
    """
    prog = ctx.prog
    if not ctx.named or prog is None or not ctx.has_types:
        return
    from postmortem.kernel.tasks.depth import depths

    found = ctx.attempt("stacks", lambda: list(depths(prog))) or []
    found.sort(key=lambda one: (one.whole is not False, -(one.deepest or one.now or 0)))
    words = {True: "whole", False: "overwritten", None: None}
    columns = (
        Column("pid", Unit.ID), Column("task"), Column("now", Unit.BYTES),
        Column("deepest", Unit.BYTES), Column("never used", Unit.BYTES), Column("end"),
    )  # fmt: skip
    rows = [
        (one.task.pid, one.task.comm, one.now, one.deepest, one.left, words[one.whole])
        for one in found[:_SHOWN]
    ]
    more = f"the deepest {_SHOWN} of {len(found)} tasks" if len(found) > _SHOWN else ""
    yield Table("Depth of the kernel stacks", columns, tuple(rows), more)
